"""What `make install` copies, by the same list as the archive: scripts/install has checked that everything is there."""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import archive  # noqa: E402
import elf  # noqa: E402
import tree  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    built, prefix, libtorch = (pathlib.Path(argument) for argument in sys.argv[1:])
    programs = {name: built / name for name in tree.PROGRAMS}
    written = []
    for place, what, mode in archive.entries(programs, archive.libraries(programs, libtorch), ROOT):
        # Libraries of ours must not meet those of the system in PREFIX/lib.
        place = place.replace("lib/", "lib/podium/", 1) if place.startswith("lib/") else place
        target = prefix / place
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".tmp-{target.name}")
        put(what, temporary, mode)
        os.replace(temporary, target)
        written.append(place)
    listing = prefix / "share/podium/installed"
    listing.write_text("".join(f"{place}\n" for place in sorted(written + ["share/podium/installed"])))
    print(f"{len(written)} files below {prefix}; `make uninstall` with the same PREFIX removes them", file=sys.stderr)


def put(what, target, mode):
    if target.is_symlink() or target.exists():
        target.unlink()
    if isinstance(what, str):
        target.symlink_to(what[3:])
        return
    if isinstance(what, bytes):
        target.write_bytes(what)
    else:
        shutil.copyfile(what, target)
    if target.name in {f".tmp-{name}" for name in tree.PROGRAMS}:
        subprocess.run(["strip", "--strip-all", target], check=True)
        elf.forget_machine(target)
    target.chmod(mode)


if __name__ == "__main__":
    main()
