"""Starts the programs of Podium that lie beside this file, with the libtorch of this environment.

Nothing is imported from torch: its folder is looked up and handed to the loader, so a command starts as quickly as Python does.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
TORCH = "2.11."
WITH_TENSORS = {"convert-weights", "finetune-group", "predict", "train-model"}
# What is answered without torch.
ASKS = {"-h", "--help", "-V", "--version", "--generate", "--print-config"}


def main():
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    environment = dict(os.environ)
    # Stages of a pipeline call each other by name.
    scripts = str(pathlib.Path(sys.argv[0]).absolute().parent)
    environment["PATH"] = os.pathsep.join([scripts, environment.get("PATH", os.defpath)])
    stage = arguments[0] if name == "podium" and arguments else name
    if stage in WITH_TENSORS and not ASKS.intersection(arguments):
        library = torch_library()
        paths = [library, environment.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
    run("podium", [name] + arguments, environment)


def run(program, arguments, environment):
    path = HERE / "bin" / program
    try:
        os.execve(path, arguments, environment)
    except PermissionError:
        # Some installers drop the permission; a folder of root's stays as it is.
        try:
            path.chmod(path.stat().st_mode | 0o111)
            os.execve(path, arguments, environment)
        except OSError as error:
            fail(f"`{path}` cannot be started: {error.strerror}", "install the wheel again with pip")
    except OSError as error:
        fail(f"`{path}` cannot be started: {error.strerror}", "install the wheel again with pip")


def torch_library():
    """The folder of this environment's libtorch."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = None
    found = importlib.util.find_spec("torch")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        fail("torch is not installed in this environment", f"pip install 'torch=={TORCH}*'")
    if version is not None and not version.startswith(TORCH):
        fail(f"torch is version {version} here, expected {TORCH}*", f"pip install 'torch=={TORCH}*'")
    library = pathlib.Path(places[0]) / "lib"
    if not (library / "libtorch_cpu.so").is_file():
        fail(f"no `libtorch_cpu.so` in `{library}`", f"pip install --force-reinstall 'torch=={TORCH}*'")
    return str(library)


def fail(problem, remedy):
    sys.stderr.write(f"error: {problem}\n\nhint: {remedy}\n")
    sys.exit(5)
