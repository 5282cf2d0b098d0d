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
# Where the programs read why there is no torch: they answer help and mistakes without it, and say this when they need it.
MISSING = "PODIUM_TORCH_MISSING"


def main():
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    environment = dict(os.environ)
    # Stages of a pipeline call each other by name.
    scripts = str(pathlib.Path(sys.argv[0]).absolute().parent)
    environment["PATH"] = os.pathsep.join([scripts, environment.get("PATH", os.defpath)])
    stage = arguments[0] if name == "podium" and arguments else name
    environment.pop(MISSING, None)
    if stage in WITH_TENSORS:
        try:
            paths = [torch_library(), environment.get("LD_LIBRARY_PATH")]
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
        except Missing as missing:
            environment[MISSING] = f"{missing}\n{missing.remedy}"
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


class Missing(Exception):
    """There is no torch that fits."""

    def __init__(self, problem, remedy=f"pip install 'torch=={TORCH}*'"):
        super().__init__(problem)
        self.remedy = remedy


def torch_library():
    """The folder of this environment's libtorch."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = None
    found = importlib.util.find_spec("torch")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise Missing("torch is not installed in this environment")
    if version is not None and not version.startswith(TORCH):
        raise Missing(f"torch is version {version} here, expected {TORCH}*")
    library = pathlib.Path(places[0]) / "lib"
    if not (library / "libtorch_cpu.so").is_file():
        raise Missing(f"no `libtorch_cpu.so` in `{library}`", f"pip install --force-reinstall 'torch=={TORCH}*'")
    return str(library)


def fail(problem, remedy):
    sys.stderr.write(f"error: {problem}\n\nhint: {remedy}\n")
    sys.exit(5)
