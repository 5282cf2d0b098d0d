#!/usr/bin/env python3
"""Fetch the wheels of wheels.lock and unpack what a build of Podium needs into one folder.

Only the standard library is used, and no Python package is imported from the wheels: they serve as archives of C++
headers and shared libraries. The one rule: a file that is published (in the cache or in the target folder) is
complete and has the right checksum; everything else has a name that says otherwise (`*.part`, `*.tmp-PID`).

Where files come from follows pip's configuration (index, find-links, certificate, proxy), so that whoever can run
`pip download` can run this. A broken download continues where it stopped.
"""

import argparse
import ast
import base64
import contextlib
import errno
import fcntl
import hashlib
import html.parser
import json
import netrc
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
STAMP = "versions.json"
ATTEMPTS = 5
BLOCK = 1 << 20


class Failure(Exception):
    """What went wrong, and what the user can do about it."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------------- the lock file


class Wheel:
    def __init__(self, name, version, file, sha256, url=None):
        self.name, self.version, self.file, self.sha256, self.url = name, version, file, sha256, url


def read_lock(path):
    wheels = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != 4 or not re.fullmatch(r"[0-9a-f]{64}", fields[3]):
            raise Failure(f"{path}:{number}: expected `name version file sha256`")
        wheels.append(Wheel(*fields))
    return wheels


# ---------------------------------------------------------------------------------------------- pip's configuration


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but tell a name and password only to the server that they are for."""

    def redirect_request(self, request, *rest):
        following = super().redirect_request(request, *rest)
        if following is not None and server_of(following.full_url) != server_of(request.full_url):
            for headers in (following.headers, following.unredirected_hdrs):
                headers.pop("Authorization", None)
        return following


def server_of(url):
    """What has to be the same for a password to be for it: scheme, host and port."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class PipConfig:
    """The part of pip's configuration that decides where a file comes from."""

    def __init__(self):
        found = {}
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            # Without pip, or with one that is too old, the variables below still hold.
            listed = subprocess.run(
                [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60, check=True
            ).stdout
            for line in listed.splitlines():
                key, _, value = line.partition("=")
                section, _, name = key.rpartition(".")
                if section in ("global", "download"):
                    with contextlib.suppress(ValueError, SyntaxError):
                        found[name] = str(ast.literal_eval(value))
        for name in ("index-url", "extra-index-url", "find-links", "cert", "proxy", "trusted-host", "no-index"):
            variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
            if variable:
                found[name] = variable
        no_index = found.get("no-index", "").lower() in ("1", "true", "yes", "on")
        self.indexes = [] if no_index else [found.get("index-url") or "https://pypi.org/simple"]
        self.indexes += [] if no_index else found.get("extra-index-url", "").split()
        self.find_links = found.get("find-links", "").split()
        certificate = found.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self.trusted = set(found.get("trusted-host", "").split())
        self.context = ssl.create_default_context(cafile=certificate if certificate and os.path.isfile(certificate) else None)
        self.unverified = ssl.create_default_context()
        self.unverified.check_hostname = False
        self.unverified.verify_mode = ssl.CERT_NONE
        self.proxy = found.get("proxy")
        places = [urllib.parse.urlsplit(place) for place in [*self.indexes, *self.find_links] if "://" in place]
        self.passwords = {server_of(p.geturl()): (p.username, p.password) for p in places if p.username is not None}

    def pair(self, url):
        """Name and password for a URL: its own, those of an index on the same server, those of ~/.netrc."""
        parts = urllib.parse.urlsplit(url)
        pair = (parts.username, parts.password) if parts.username is not None else self.passwords.get(server_of(url))
        if pair is not None:
            return [urllib.parse.unquote(text or "") for text in pair]
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            known = netrc.netrc(os.environ.get("NETRC")).hosts.get(parts.hostname or "")
            return [known[0], known[2]] if known else None
        return None

    def open(self, url, headers=None, timeout=60):
        """Open `url` as pip would; a name and password inside the URL become a basic authorization."""
        parts = urllib.parse.urlsplit(url)
        headers = {"User-Agent": "podium-setup", **(headers or {})}
        pair = self.pair(url)
        if pair is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(pair).encode()).decode()
        url = without_password(url)
        host = parts.hostname or ""
        with_port = f"{host}:{parts.port}" if parts.port else host
        trusted = host in self.trusted or with_port in self.trusted
        handlers = [Redirects(), urllib.request.HTTPSHandler(context=self.unverified if trusted else self.context)]
        if self.proxy:
            handlers.append(urllib.request.ProxyHandler({"http": self.proxy, "https": self.proxy}))
        opener = urllib.request.build_opener(*handlers)
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found += [value for key, value in attributes if key == "href" and value]


def links_of(config, page):
    """All files that a page of a package index (HTML or JSON) names: {file name: (url, sha256 or None)}."""
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.9, */*;q=0.1"
    with config.open(page, {"Accept": accept}) as answer:
        base, kind, body = answer.geturl(), answer.headers.get_content_type(), answer.read()
    files = {}
    if kind.endswith("json"):
        for entry in json.loads(body).get("files", []):
            url = urllib.parse.urljoin(base, entry["url"])
            files[entry["filename"]] = (url, entry.get("hashes", {}).get("sha256"))
        return files
    links = Links()
    links.feed(body.decode("utf-8", "replace"))
    for href in links.found:
        url, _, fragment = urllib.parse.urljoin(base, href).partition("#")
        name = urllib.parse.unquote(url.rpartition("/")[2])
        hash_text = re.search(r"sha256=([0-9a-f]{64})", fragment)
        files[name] = (url, hash_text.group(1) if hash_text else None)
    return files


def candidates(config, name):
    """Every file known for a package: those of find-links, then those of the indexes. The first mention wins."""
    files, problems = {}, []
    for place in config.find_links:
        path = pathlib.Path(urllib.request.url2pathname(place[5:]) if place.startswith("file:") else place).expanduser()
        if path.is_dir():
            for file in sorted(path.glob("*.whl")):
                files.setdefault(file.name, (file.absolute().as_uri(), None))
        elif "://" in place:
            with contextlib.suppress(OSError):
                for file, found in links_of(config, place).items():
                    files.setdefault(file, found)
    normal = re.sub(r"[-_.]+", "-", name).lower()
    for index in config.indexes:
        page = f"{index.rstrip('/')}/{normal}/"
        try:
            for file, found in links_of(config, page).items():
                files.setdefault(file, found)
        except (OSError, ValueError) as error:
            problems.append(f"{without_password(page)}: {error}")
    return files, problems


def without_password(url):
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


# ------------------------------------------------------------------------------------------------------ downloading


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


class Progress:
    """A line that rewrites itself on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, label, total):
        self.label, self.total, self.last = label, total, time.monotonic()
        self.live = sys.stderr.isatty()

    def at(self, done):
        now = time.monotonic()
        if now - self.last < (0.2 if self.live else 10):
            return
        self.last = now
        text = f"  {self.label}: {done / 1e6:.0f} of {self.total / 1e6:.0f} MB" if self.total else f"  {done / 1e6:.0f} MB"
        print("\r" + text if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def close(self):
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def download(config, url, part):
    """Append what is missing to `part`. A server without ranges makes it start again from nothing."""
    attempt = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            headers = {"Range": f"bytes={have}-"} if have else {}
            with config.open(url, headers) as answer:
                resumed = have and answer.status == 206
                if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                    raise OSError(f"the server continued at {answer.headers.get('Content-Range')}, asked for byte {have}")
                if resumed:
                    say(f"  continuing at {have / 1e6:.1f} MB")
                length = answer.headers.get("Content-Length")
                total = int(length) + (have if resumed else 0) if length else None
                progress = Progress(part.name[: -len(".part")], total)
                with open(part, "ab" if resumed else "wb") as file:
                    done = have if resumed else 0
                    while block := answer.read(BLOCK):
                        file.write(block)
                        done += len(block)
                        progress.at(done)
                progress.close()
                if total is not None and done < total:
                    raise OSError(f"the connection ended after {done} of {total} bytes")
                return
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:
                # Nothing is left to send: either all is there, which the checksum will tell, or it is another file.
                return
            if error.code < 500 and error.code not in (408, 429):
                raise
            problem = error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            problem = error
        except Exception as error:  # http.client raises its own kinds for a cut connection
            problem = error
        grown = part.stat().st_size if part.exists() else 0
        attempt = 0 if grown > have else attempt + 1
        if attempt >= ATTEMPTS:
            raise OSError(f"{problem}")
        say(f"  interrupted: {problem}; trying again")
        time.sleep(min(2**attempt, 20) * float(os.environ.get("PODIUM_RETRY_SECONDS", "1")))


def pip_download(wheel, folder):
    """The way round: pip itself, which knows more kinds of authentication than this script."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "none"]
    for tag in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_24", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{tag}_x86_64"]
    command += ["--platform", "any", "--dest", str(folder), f"{wheel.name}=={wheel.version}"]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError):
        return None
    path = folder / wheel.file
    return path if path.exists() else next(folder.glob("*.whl"), None)


def fetch(config, wheel, cache):
    """The path of the verified wheel in the cache."""
    path, part = cache / wheel.file, cache / (wheel.file + ".part")
    if path.exists():
        if sha256_of(path) == wheel.sha256:
            return path
        say(f"{wheel.file}: the copy in the cache has changed since it was fetched; it is fetched again")
        path.unlink()
    say(f"fetching {wheel.name} {wheel.version}")
    problem = None
    url = wheel.url
    if url is None:
        files, problems = candidates(config, wheel.name)
        url = files.get(wheel.file, (None, None))[0]
        problem = "; ".join(problems) or (None if url else f"no index or find-links place has {wheel.file}")
    if url is not None:
        try:
            download(config, url, part)
        except urllib.error.URLError as error:
            problem = f"{without_password(url)}: {error}"
        except OSError as error:
            if error.errno is not None:
                raise
            problem = f"{without_password(url)}: {error}"
        else:
            found = sha256_of(part)
            if found == wheel.sha256:
                part.rename(path)
                return path
            part.unlink()
            raise Failure(
                f"{wheel.file}: checksum is {found}, expected {wheel.sha256}; the download was deleted",
                "run it again; if it happens twice, the index or a proxy on the way serves another file",
            )
    say(f"  {problem}; trying `pip download`")
    folder = cache / f"pip.tmp-{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        found = pip_download(wheel, folder)
        if found is None:
            raise Failure(
                f"cannot fetch {wheel.file}: {problem}",
                f"run it again to continue, or put the file into {cache} yourself",
            )
        checksum = sha256_of(found)
        if checksum != wheel.sha256:
            raise Failure(f"{found.name}: checksum is {checksum}, expected {wheel.sha256}; the download was deleted")
        found.rename(path)
        return path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------ what CUDA needs (make setup CUDA=1)


def marker_holds(marker, extras):
    """A requirement's marker on Linux x86-64 with CPython 3.12: comparisons of names and texts, `and`, `or`."""
    names = {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix",
             "python_version": "3.12", "platform_python_implementation": "CPython"}  # fmt: skip

    def value(node, extra):
        if isinstance(node, ast.BoolOp):
            parts = [value(part, extra) for part in node.values]
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = value(node.left, extra), value(node.comparators[0], extra)
            operators = {ast.Eq: lambda: left == right, ast.NotEq: lambda: left != right, ast.In: lambda: left in right,
                         ast.NotIn: lambda: left not in right, ast.Lt: lambda: number(left) < number(right),
                         ast.LtE: lambda: number(left) <= number(right), ast.Gt: lambda: number(left) > number(right),
                         ast.GtE: lambda: number(left) >= number(right)}  # fmt: skip
            if type(node.ops[0]) in operators:
                return operators[type(node.ops[0])]()
        if isinstance(node, ast.Name):
            return extra if node.id == "extra" else names[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise ValueError(marker)

    tree = ast.parse(marker.strip(), mode="eval").body
    return any(value(tree, extra) for extra in (extras or {""}))


def number(version):
    return [int(digits) for digits in re.findall(r"\d+", version)]


def matches(version, wanted):
    """PEP 440's `==`: `13.0.96.*` also takes `13.0.96`, and missing numbers count as zero."""
    have, want = number(version), number(wanted)
    if not wanted.endswith("*"):
        length = max(len(have), len(want))
        return have + [0] * (length - len(have)) == want + [0] * (length - len(want))
    return (have + [0] * len(want))[: len(want)] == want


def requirements(path, extras):
    """The pinned nvidia packages that a wheel asks for: (name, extras, version or prefix ending in `.*`)."""
    with zipfile.ZipFile(path) as archive:
        metadata = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    for line in lines:
        if not line.startswith("Requires-Dist:"):
            continue
        text, _, marker = line.partition(":")[2].partition(";")
        match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?\s*\(?(.*?)\)?", text.strip())
        if not match or not match[1].startswith(("nvidia-", "cuda-toolkit")):
            continue
        pinned = re.search(r"==\s*([0-9][0-9.]*(?:\.\*|\*)?)", match[3])
        if pinned and (not marker or marker_holds(marker, extras)):
            yield match[1], {e.strip() for e in (match[2] or "").split(",") if e.strip()}, pinned[1]


def choose(config, name, wanted):
    """The newest wheel for Linux x86-64 of a pinned version, as the index names it, with the hash of the index."""
    files, problems = candidates(config, name)
    stem = re.sub(r"[-_.]+", "_", name).lower()
    best = None
    for file, (url, sha256) in files.items():
        parts = (file[:-4] if file.endswith(".whl") else file).split("-")
        if not file.endswith(".whl") or len(parts) < 5 or re.sub(r"[-_.]+", "_", parts[0]).lower() != stem:
            continue
        version, platform = parts[1], parts[-1]
        linux = platform == "any" or ("manylinux" in platform and "x86_64" in platform)
        if matches(version, wanted) and linux and sha256 and (best is None or number(version) > number(best.version)):
            best = Wheel(name, version, file, sha256, url)
    if best is None:
        raise Failure(f"no wheel of {name} {wanted} for Linux x86-64: {'; '.join(problems) or 'none on the index'}")
    return best


def cuda_wheels(config, torch, locked, cache):
    """All nvidia packages that torch's METADATA asks for, through the cuda-toolkit package that only lists others."""
    known = {wheel.name: wheel for wheel in locked}
    chosen, waiting = {}, list(requirements(cache / torch.file, set()))
    while waiting:
        name, extras, wanted = waiting.pop(0)
        if name in chosen:
            continue
        wheel = known.get(name)
        chosen[name] = wheel if wheel and matches(wheel.version, wanted) else choose(config, name, wanted)
        path = fetch(config, chosen[name], cache)
        waiting += list(requirements(path, extras))
    return list(chosen.values())


# -------------------------------------------------------------------------------------------------------- unpacking

CPU_LIBRARIES = ("libc10.so", "libtorch.so", "libtorch_cpu.so")


def wanted_member(wheel, name, cuda):
    """Which files of a wheel a build needs: 540 MB of torch's 1.1 GB on a machine without a GPU."""
    if name.endswith("/") or "__pycache__" in name or name.endswith((".a", ".py", ".pyi")):
        return False
    if wheel.name == "torch":
        base = name.rpartition("/")[2]
        if name.startswith("torch/lib/"):
            if cuda:
                return ".so" in base and base != "libtorch_python.so"
            return base in CPU_LIBRARIES or base.startswith("libgomp")
        return name.startswith("torch/include/")
    if wheel.name == "cmake":
        return name == "cmake/data/bin/cmake" or name.startswith("cmake/data/share/cmake-")
    if name.startswith("nvidia/"):
        return cuda or "/lib/" in name
    return False


def unpack(wheels, cache, target, cuda):
    """Unpack into a folder beside `target`, write its stamp last, then put it in place with one rename."""
    fresh = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    files = {}
    try:
        for wheel in wheels:
            say(f"unpacking {wheel.name} {wheel.version}")
            with zipfile.ZipFile(cache / wheel.file) as archive:
                for member in archive.infolist():
                    if not wanted_member(wheel, member.filename, cuda):
                        continue
                    if ".." in pathlib.PurePosixPath(member.filename).parts or member.filename.startswith("/"):
                        raise Failure(f"{wheel.file}: member `{member.filename}` leaves the folder")
                    path = fresh / member.filename
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as source, open(path, "wb") as sink:
                        shutil.copyfileobj(source, sink, BLOCK)
                    path.chmod(0o755 if (member.external_attr >> 16) & 0o111 else 0o644)
                    files[member.filename] = member.file_size
        stamp = {"cuda": cuda, "wheels": {w.name: {"version": w.version, "sha256": w.sha256} for w in wheels}, "files": files}
        fresh.mkdir(parents=True, exist_ok=True)
        (fresh / STAMP).write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n")
        os.sync()
        old = target.with_name(f"{target.name}.old-{os.getpid()}")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def is_complete(target, locked, cuda):
    """Whether `target` holds these wheels already, every file with its size. More (CUDA) than asked for is fine."""
    try:
        stamp = json.loads((target / STAMP).read_text())
        if cuda and not stamp["cuda"]:
            return False
        if any(stamp["wheels"].get(w.name, {}).get("sha256") != w.sha256 for w in locked):
            return False
        return all((target / name).stat().st_size == size for name, size in stamp["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove_leftovers(folder, pattern):
    """Temporary folders of runs that were killed: their process no longer exists."""
    for path in folder.glob(pattern):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(path, ignore_errors=True)


def check_space(folder, needed):
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Failure(f"{folder} has {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB are needed",
                      "free some space, or name other folders with XDG_CACHE_HOME and PODIUM_LIBTORCH")  # fmt: skip


def run(arguments):
    locked = read_lock(arguments.lock)
    target = pathlib.Path(os.path.abspath(arguments.into))
    if is_complete(target, locked, arguments.cuda):
        say(f"{target} is complete, nothing to fetch")
        return
    if arguments.check:
        raise Failure(f"{target} is missing or incomplete", "run `make setup`")
    cache = arguments.cache
    cache.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                say(f"warning: {cache}: the file system has no locks ({error}); do not run two setups at once")
            elif error.errno in (errno.EAGAIN, errno.EACCES):
                say("another setup is running, waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            else:
                raise
        if is_complete(target, locked, arguments.cuda):
            say(f"{target} is complete, nothing to fetch")
            return
        remove_leftovers(target.parent, f"{target.name}.tmp-*")
        remove_leftovers(target.parent, f"{target.name}.old-*")
        remove_leftovers(cache, "pip.tmp-*")
        missing = [w for w in locked if not (cache / w.file).exists()]
        if any(w.name == "torch" for w in missing):
            check_space(cache, 7e9 if arguments.cuda else 0.8e9)
        if any(w.name == "torch" for w in locked):
            check_space(target.parent, 6e9 if arguments.cuda else 0.7e9)
        config = PipConfig()
        for wheel in locked:
            fetch(config, wheel, cache)
        wheels = list(locked)
        if arguments.cuda:
            torch = next(w for w in locked if w.name == "torch")
            wheels += [w for w in cuda_wheels(config, torch, locked, cache) if w.name not in {l.name for l in locked}]
        unpack(wheels, cache, target, arguments.cuda)
    say(f"{target} is ready")


def main():
    default_cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "podium" / "wheels"
    parser = argparse.ArgumentParser(description="Fetch and unpack the libraries that a build of Podium needs.")
    parser.add_argument("--into", type=pathlib.Path, default=HERE.parent / ".libtorch", help="folder to fill")
    parser.add_argument("--cache", type=pathlib.Path, default=default_cache, help="where downloads are kept")
    parser.add_argument("--lock", type=pathlib.Path, default=HERE / "wheels.lock", help="names and hashes of the wheels")
    parser.add_argument("--cuda", action="store_true", help="all of torch and the nvidia packages it needs")
    parser.add_argument("--check", action="store_true", help="fetch nothing, only tell whether the folder is complete")
    try:
        run(parser.parse_args())
    except Failure as failure:
        say(f"error: {failure}" + (f"\n\nhint: {failure.hint}" if failure.hint else ""))
        return 1
    except OSError as error:
        say(f"error: {error}")
        return 4
    except KeyboardInterrupt:
        say("interrupted; run it again to continue")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
