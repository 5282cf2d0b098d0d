"""What a program asks of the machine that it runs on, read from the program itself."""

import pathlib
import re
import subprocess


class Unfit(Exception):
    """A program that cannot be handed out, and why."""


def stripped(folder, names, into):
    """Copies of programs without symbols that only a debugger reads; the paths by name."""
    copies = {}
    for name in names:
        source = folder / name
        if not source.is_file():
            raise Unfit(f"`{source}` is missing: run `cargo build --release --bins` first")
        copies[name] = into / name
        subprocess.run(["strip", "--strip-all", "-o", copies[name], source], check=True, capture_output=True, text=True)
        copies[name].chmod(0o755)
        forget_machine(copies[name])
    return copies


def forget_machine(path):
    """Keeps of a program's run path what starts at its own place: the rest is where libraries lay when it was built."""
    before = run_path(path)
    after = [place for place in before if place.startswith("$ORIGIN")]
    if before == after:
        return
    if not after:
        raise Unfit(f"`{path.name}` looks for libraries in `{before[0]}` alone, which only this machine has")
    old, new = (":".join(places).encode() for places in (before, after))
    content = path.read_bytes()
    # The text stands once, in the table of names that the loader reads; a shorter one ends earlier.
    if content.count(old + b"\0") != 1:
        raise Unfit(f"the run path of `{path.name}` stands {content.count(old)} times in it, expected once")
    path.write_bytes(content.replace(old + b"\0", new + b"\0" * (len(old) - len(new) + 1)))
    if run_path(path) != after:
        raise Unfit(f"the run path of `{path.name}` could not be changed")


def dynamic(path):
    return subprocess.run(["readelf", "--dynamic", "--wide", path], check=True, capture_output=True, text=True).stdout


def needed(path):
    """Names of the shared libraries that a program or library is linked with."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic(path))


def run_path(path):
    """Folders in which the loader looks for them."""
    found = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", dynamic(path))
    return [place for entry in found for place in entry.split(":") if place]


def versions(path):
    """The highest version of each versioned interface (GLIBC, GLIBCXX, ..) that a program needs, as tuples."""
    text = subprocess.run(["readelf", "--version-info", "--wide", path], check=True, capture_output=True, text=True).stdout
    _, _, needs = text.partition("Version needs section")
    highest = {}
    for name, number in re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([0-9.]+)", needs):
        highest[name] = max(highest.get(name, (0,)), tuple(int(part) for part in number.split(".")))
    return highest


def highest(paths):
    """[`versions`] over several programs."""
    merged = {}
    for path in paths:
        for name, version in versions(path).items():
            merged[name] = max(merged.get(name, (0,)), version)
    return merged


def closure(program, folders):
    """The shared libraries out of `folders` that a program loads, also through each other; paths by name."""
    found, waiting = {}, [program]
    while waiting:
        for name in needed(waiting.pop()):
            place = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if place is not None and name not in found:
                found[name] = pathlib.Path(place).resolve()
                waiting.append(place)
    return found
