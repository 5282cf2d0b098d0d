"""What `make dist` makes: a wheel, an archive with everything inside, a list of parts (SBOM) and checksums.

    python3 scripts/dist [--binaries DIR] [--libtorch DIR] [--out DIR] [--only wheel|archive] [--level N]

Both hold the same two programs, `podium` (all programs without libtorch) and `podium-torch` (what `podium` starts for the work of networks); the
ten names are links to them, so that shared code is there once. Built twice from the same binaries, the files are the same bytes: entries
are sorted, times are those of the commit (SOURCE_DATE_EPOCH wins), owners are root. Only the standard library is used, with `strip` and `readelf`
of binutils, and `zstd`.
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import archive  # noqa: E402
import elf  # noqa: E402
import parts  # noqa: E402
import tree  # noqa: E402
import wheel  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def commit_time():
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    try:
        answer = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
        return int(answer.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        # A source archive without `.git`: the newest of its own files that every release changes.
        return int((ROOT / "CHANGELOG.md").stat().st_mtime)


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(prog="scripts/dist", description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=pathlib.Path, default=target / "release", help="folder of `podium` and `podium-torch`")
    parser.add_argument("--libtorch", type=pathlib.Path, default=ROOT / ".libtorch", help="what `make setup` unpacked")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "dist")
    parser.add_argument("--only", choices=["wheel", "archive"], help="make one of the two")
    parser.add_argument("--level", type=int, default=10, help="of zstd, 1 to 19 (default 10; 19 takes minutes)")
    options = parser.parse_args()
    try:
        made = build(options)
    except (OSError, subprocess.CalledProcessError, elf.Unfit) as error:
        detail = getattr(error, "stderr", None)
        sys.exit(f"error: {error}" + (f"\n{detail}" if detail else ""))
    for path in made:
        print(f"{path.stat().st_size / 1e6:8.1f} MB  {path}")


def build(options):
    version = re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text()).group(1)
    for tool in ["strip", "readelf"] + (["zstd"] if options.only != "wheel" else []):
        if shutil.which(tool) is None:
            raise OSError(f"`{tool}` is not on the PATH; on Debian: apt-get install binutils zstd")
    options.out.mkdir(parents=True, exist_ok=True)
    time = commit_time()
    made = []
    with tempfile.TemporaryDirectory(dir=options.out, prefix=".tmp-") as scratch:
        programs = elf.stripped(options.binaries, tree.PROGRAMS, pathlib.Path(scratch))
        if options.only != "archive":
            made.append(wheel.write(options.out, version, programs, ROOT, time))
        if options.only != "wheel":
            made.append(archive.write(options.out, version, programs, ROOT, options.libtorch, time, options.level))
        listing = options.out / f"podium-{version}.cdx.json"
        publish(listing, parts.listing(ROOT, version, time).encode())
        made.append(listing)
    sums = "".join(f"{digest(path)}  {path.name}\n" for path in sorted(made))
    publish(options.out / "SHA256SUMS", sums.encode())
    return made + [options.out / "SHA256SUMS"]


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def publish(path, content):
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    main()
