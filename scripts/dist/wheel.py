"""The wheel: `pip install` brings the commands onto the PATH; tensors come from the torch of the same environment."""

import base64
import hashlib
import pathlib
import time as clock
import zipfile

import crates
import elf
import tree

TORCH = "torch==2.11.*"
# What a wheel may say that it runs on: PEP 600, by the glibc that its programs need.
OLDEST = (2, 17)


def write(out, version, programs, root, time):
    glibc = max(elf.highest(programs.values()).get("GLIBC", OLDEST), OLDEST)
    tag = f"py3-none-manylinux_{glibc[0]}_{glibc[1]}_x86_64"
    target = out / f"podium-{version}-{tag}.whl"
    temporary = out / f".tmp-{target.name}"
    info, data = f"podium-{version}.dist-info", f"podium-{version}.data/data"
    content = {f"podium/bin/{name}": (path.read_bytes(), 0o755) for name, path in programs.items()}
    package = pathlib.Path(root) / "scripts" / "dist" / "podium"
    content.update({f"podium/{path.name}": (path.read_bytes(), 0o644) for path in sorted(package.glob("*.py"))})
    content.update({f"podium/share/podium/{place}": (path.read_bytes(), 0o644) for place, path in tree.shared(root)})
    content.update({f"{data}/share/{place}": (path.read_bytes(), 0o644) for place, path in tree.system(root)})
    content.update({f"{info}/licenses/{path.name}": (path.read_bytes(), 0o644) for path in tree.papers(root) if path.name.startswith("LICENSE")})
    content[f"{info}/licenses/THIRD-PARTY.txt"] = (crates.notices(root), 0o644)
    content[f"{info}/METADATA"] = (metadata(version, root), 0o644)
    content[f"{info}/WHEEL"] = (f"Wheel-Version: 1.0\nGenerator: podium\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(), 0o644)
    content[f"{info}/entry_points.txt"] = (entry_points(), 0o644)
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={coded(value)},{len(value)}" for name, (value, _) in sorted(content.items())]
    content[record] = ("\n".join(lines + [f"{record},,"]) + "\n").encode(), 0o644
    # A zip cannot tell times before 1980.
    date = max(clock.gmtime(time)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, (value, mode) in sorted(content.items(), key=lambda entry: (entry[0].startswith(info), entry[0])):
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr, entry.compress_type, entry.create_system = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED, 3
            file.writestr(entry, value)
    temporary.replace(target)
    return target


def coded(value):
    return base64.urlsafe_b64encode(hashlib.sha256(value).digest()).rstrip(b"=").decode()


def entry_points():
    names = sorted(["podium"] + [name for names in tree.PROGRAMS.values() for name in names])
    return ("[console_scripts]\n" + "".join(f"{name} = podium:main\n" for name in names)).encode()


def metadata(version, root):
    head = [
        "Metadata-Version: 2.4",
        "Name: podium",
        f"Version: {version}",
        "Summary: Published competition pipelines as small binaries on libtorch",
        "License-Expression: MIT OR Apache-2.0",
        "License-File: LICENSE-APACHE",
        "License-File: LICENSE-MIT",
        "License-File: THIRD-PARTY.txt",
        "Requires-Python: >=3.8",
        f"Requires-Dist: {TORCH}",
        "Description-Content-Type: text/markdown",
    ]
    return ("\n".join(head) + "\n\n").encode() + (pathlib.Path(root) / "README.md").read_bytes()
