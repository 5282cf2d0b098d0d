"""What the crates that are compiled in say of themselves: licences and their texts, which have to come along."""

import functools
import json
import os
import pathlib
import shlex
import subprocess

import elf

# Files of a crate that hold a licence or name who wrote it.
PAPERS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
# Licences of crates that bring a text and no name of it.
TEXT_ONLY = {"hdf5-metno-src": "BSD-3-Clause", "netcdf-src": "BSD-3-Clause"}
HEAD = """The programs of Podium hold the crates below, compiled. Each text stands once, with the names of those that it is for.
"""


@functools.lru_cache(maxsize=None)
def packages(root):
    """Every package of the lock file that this platform needs, as cargo describes it; an empty list where cargo cannot tell."""
    cargo = shlex.split(os.environ.get("PODIUM_CARGO") or "cargo")
    command = [*cargo, "metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    try:
        answer = subprocess.run(command, cwd=root, capture_output=True, text=True)
    except OSError:
        return []
    return json.loads(answer.stdout)["packages"] if answer.returncode == 0 else []


def licences(root):
    """The licence of each crate, by name and version."""
    # "MIT/Apache-2.0" is how SPDX's OR was once written.
    return {(p["name"], p["version"]): (p["license"] or TEXT_ONLY.get(p["name"], "")).replace("/", " OR ") for p in packages(root)}


def notices(root):
    """All texts in one, each with the crates that it came with."""
    told, texts, silent = licences(root), {}, []
    for package in packages(root):
        if package["source"] is None:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = {path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(PAPERS)}
        if package["license_file"]:
            files.add(folder / package["license_file"])
        name = f"{package['name']} {package['version']}"
        if not files:
            silent.append(f"{name}: {told[package['name'], package['version']]}")
        for path in files:
            text = path.read_text(errors="replace").strip()
            texts.setdefault(" ".join(text.split()), []).append((text, name))
    if not texts:
        raise elf.Unfit("cargo does not say which crates are in the programs, and their licences have to come along: run `cargo fetch` first")
    parts = [HEAD, "Without a text of their own:\n\n" + "\n".join(sorted(silent))]
    # Texts that differ in blanks alone are one: the first of them in order, whichever folder was listed first.
    for names, text in sorted((sorted({name for _, name in same}), min(text for text, _ in same)) for same in texts.values()):
        parts.append(", ".join(names) + "\n\n" + text)
    rule = "\n\n" + "-" * 80 + "\n\n"
    return (rule.join(parts) + "\n").encode()
