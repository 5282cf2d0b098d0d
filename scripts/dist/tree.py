"""What is handed out beside the programs: configs, pipelines, schemas, man pages, completions, licences."""

import pathlib
import subprocess

# What is started by which names. `podium` starts without libtorch, and `podium-torch` where a stage needs it.
PROGRAMS = {
    "podium": [
        "convert-weights", "finetune-group", "hill-climb", "hit-density", "predict", "prepare-data", "run-pipeline", "score",
        "simulate-data", "train-model",
    ],
    "podium-torch": [],
}

# What may lie in a checkout's `configs` or `pipelines` without being part of it.
LEFT_OUT = {"outputs", ".choice", ".podium", ".dvc", "__pycache__"}


def files(root, below):
    """All files of a folder of the repository, as paths relative to `root`, sorted. Where git knows them, no others."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--", below], cwd=root, capture_output=True, check=True).stdout
        paths = [pathlib.Path(name) for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path.relative_to(root) for path in (root / below).rglob("*") if path.suffix != ".pyc"]
    # Links lead to the size in force here; `run-pipeline` makes them anew where the files are copied to.
    kept = (path for path in paths if not LEFT_OUT.intersection(path.parts) and not (root / path).is_symlink())
    return sorted(path for path in kept if (root / path).is_file())


def shared(root):
    """`(path below share/podium, file)` of what commands look for by name."""
    found = [(str(path), root / path) for folder in ("configs", "pipelines") for path in files(root, folder)]
    return found + [(name, root / name) for name in ("params.yaml",) if (root / name).is_file()]


def system(root):
    """`(path below share, file)` of what the shell and `man` look for."""
    reference = root / "docs" / "reference"
    found = [(f"man/man1/{path.name}", path) for path in sorted((reference / "man").rglob("*.1"))]
    for path in sorted((reference / "completions").iterdir()):
        name, kind = path.stem.lstrip("_"), path.suffix
        if kind == ".bash":
            found.append((f"bash-completion/completions/{name}", path))
        elif kind == ".fish":
            found.append((f"fish/vendor_completions.d/{name}.fish", path))
        else:
            found.append((f"zsh/site-functions/_{name}", path))
    return found


def papers(root):
    """What must come along, and what one reads first."""
    return [root / name for name in ("README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "CITATION.cff", "SECURITY.md")]
