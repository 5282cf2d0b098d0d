"""The archive: unpack and run, without Python, root or a network; the folder may be moved."""

import io
import os
import pathlib
import subprocess
import tarfile
import zipfile

import crates
import elf
import tree

# What libtorch_cpu.so of the wheel is linked with lies beside it, or in wheels of its own.
LIBRARIES = ("torch/lib", "nvidia/cu13/lib")


def write(out, version, programs, root, libtorch, time, level):
    name = f"podium-{version}-linux-x86_64"
    target = out / f"{name}.tar.zst"
    temporary = out / f".tmp-{target.name}"
    found = libraries(programs, libtorch)
    with open(temporary, "wb") as file:
        # One thread more or less does not change what zstd writes with -T.
        packer = subprocess.Popen(["zstd", "-q", f"-{level}", "--long=27", "-T0", "-c"], stdin=subprocess.PIPE, stdout=file)
        with tarfile.open(fileobj=packer.stdin, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for entry in sorted([*entries(programs, found, root), notices(root)], key=lambda entry: entry[0]):
                add(tar, name, time, *entry)
        packer.stdin.close()
        if packer.wait() != 0:
            raise elf.Unfit("zstd failed; is the disk full?")
    temporary.replace(target)
    return target


def libraries(programs, libtorch):
    """The shared libraries of libtorch that the programs load, by name."""
    found = elf.closure(programs["podium-torch"], [libtorch / below for below in LIBRARIES])
    if "libtorch_cpu.so" not in found:
        raise elf.Unfit(f"no libtorch below `{libtorch}`: run `make setup` first")
    return found


def entries(programs, libraries, root, handed_on=True):
    """`(path in the archive, file or target of a link or text, mode)`."""
    for program, names in tree.PROGRAMS.items():
        yield f"bin/{program}", programs[program], 0o755
        for name in names:
            yield f"bin/{name}", f"-> {program}", 0o777
    for name, path in libraries.items():
        yield f"lib/{name}", path, 0o755
    # What `podium doctor` says of the library.
    yield "lib/torch-version", f"{pinned(root)['torch'][1]}\n".encode(), 0o644
    for place, path in tree.shared(root):
        yield f"share/podium/{place}", path, 0o644
    for place, path in tree.system(root):
        yield f"share/{place}", path, 0o644
    for path in tree.papers(root):
        yield f"share/doc/podium/{path.name}", path, 0o644
    for name, text in licences(root, handed_on):
        yield f"share/doc/podium/{name}", text, 0o644


def notices(root):
    return "share/doc/podium/THIRD-PARTY.txt", crates.notices(root), 0o644


def pinned(root):
    """The wheels of scripts/wheels.lock by name: name, version, file, hash."""
    lines = (pathlib.Path(root) / "scripts" / "wheels.lock").read_text().splitlines()
    entries = [line.split("#")[0].split() for line in lines]
    return {fields[0]: fields for fields in entries if len(fields) == 4}


def licences(root, demanded):
    """What the wheels of the libraries say of their licences: it has to come along where they are handed on."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "podium" / "wheels"
    for name, _, file, _ in pinned(root).values():
        if name == "cmake":
            continue
        path = cache / file
        if not path.is_file() and not demanded:
            continue
        if not path.is_file():
            raise elf.Unfit(f"`{path}` is gone, and with it the licence of {name}: run `make setup` again")
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                below = member.partition(".dist-info/licenses/")[2]
                if below and not below.endswith("/"):
                    yield f"{name}-{below.replace('/', '-')}", wheel.read(member)


def add(tar, folder, time, place, what, mode):
    entry = tarfile.TarInfo(f"{folder}/{place}")
    entry.mtime, entry.mode, entry.uname, entry.gname = time, mode, "root", "root"
    if isinstance(what, str):
        entry.type, entry.linkname = tarfile.SYMTYPE, what[3:]
        tar.addfile(entry)
        return
    with io.BytesIO(what) if isinstance(what, bytes) else open(what, "rb") as file:
        entry.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        tar.addfile(entry, file)
