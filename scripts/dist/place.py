"""What `make install` copies, by the same list as the archive: scripts/install has checked that everything is there.

    place.py BUILT PREFIX LIBTORCH
    place.py --remove PREFIX

PREFIX/share/podium/installed lists the files, and with a slash at their end the folders that were made for them. What an earlier
version put there and this one lacks is removed after the new files are in place.
"""

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
LIST = "share/podium/installed"


def main(arguments):
    if arguments[0] == "--remove":
        prefix = pathlib.Path(arguments[1])
        placed = listed(prefix)
        remove(prefix, placed)
        return f"removed {sum(not place.endswith('/') for place in placed)} files from {prefix}"
    built, prefix, libtorch = (pathlib.Path(argument) for argument in arguments)
    programs = {name: built / name for name in tree.PROGRAMS}
    before = listed(prefix) if (prefix / LIST).is_file() else []
    placed = []
    # Root, who may only copy, has not fetched the wheels: their licences are not demanded.
    for place, what, mode in archive.entries(programs, archive.libraries(programs, libtorch), ROOT, handed_on=False):
        # Libraries of ours must not meet those of the system in PREFIX/lib.
        place = place.replace("lib/", "lib/podium/", 1) if place.startswith("lib/") else place
        placed += folders(prefix, place)
        target = prefix / place
        temporary = target.with_name(f".tmp-{target.name}")
        put(what, temporary, mode)
        os.replace(temporary, target)
        placed.append(place)
    placed.append(LIST)
    # Folders that an earlier version made are still ours.
    placed += [place for place in before if place.endswith("/") and place not in placed and (prefix / place).is_dir()]
    temporary = prefix / f"{LIST}.tmp"
    temporary.write_text("".join(f"{place}\n" for place in sorted(placed)))
    os.replace(temporary, prefix / LIST)
    remove(prefix, [place for place in before if place not in placed])
    return f"{sum(not place.endswith('/') for place in placed)} files below {prefix}; `make uninstall` with the same PREFIX removes them"


def folders(prefix, place):
    """Makes the folders of a file; gives those that were not there, the outer ones first."""
    missing = [folder for folder in pathlib.PurePath(place).parents if folder.name and not (prefix / folder).is_dir()]
    for folder in reversed(missing):
        (prefix / folder).mkdir()
    return [f"{folder}/" for folder in reversed(missing)]


def listed(prefix):
    return (prefix / LIST).read_text().splitlines()


def remove(prefix, places):
    """Removes files, then folders of ours where nothing else lies in them."""
    for place in places:
        if not place.endswith("/"):
            (prefix / place).unlink(missing_ok=True)
    for place in sorted((place for place in places if place.endswith("/")), reverse=True):
        try:
            (prefix / place).rmdir()
        except OSError:
            pass  # somebody else's files are there


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
    try:
        print(main(sys.argv[1:]), file=sys.stderr)
    except (OSError, subprocess.CalledProcessError, elf.Unfit) as problem:
        sys.exit(f"error: {problem}")
