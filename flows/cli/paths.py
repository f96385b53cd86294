"""Paths on the command line: all but workspaces are of this machine, so a URL in the place of one is refused first."""

import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenly.flows.cli.errors import UsageError

WRITTEN = ("out", "sheet", "plot")
"""Parameters that name a file or folder to write."""
WORKSPACES = ("root", "replay_from")
"""Parameters that name a workspace, which may lie in an object store."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # as a Path shows it, which makes one slash of two


def check_out(out: Path) -> None:
    """Refuse to write to a file that is a folder, or by another name than features have."""
    if out.is_dir():
        raise UsageError(f"`--out` must be a file; got the folder `{out}`. Name an .npz file.")
    if out.suffix != ".npz":
        raise UsageError(f"`--out` must end in .npz; got `{out}`. Write `{out.with_suffix('.npz')}`.")


def check_paths(values: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Raise UsageError for a URL in the place of a path, and for a place where nothing can be written."""
    for name, value in values.items():
        for path in value if isinstance(value, list | tuple) else (value,):
            if name not in WORKSPACES and isinstance(path, Path) and _URL.match(str(path)):
                optional = parameters[name].default is not inspect.Parameter.empty
                shown = f"--{name.replace('_', '-')}" if optional else name
                url = str(path).replace(":/", "://", 1)
                raise UsageError(
                    f"`{shown}` must be a path of this machine; got `{url}`. Mount it, or copy it here: on the command "
                    "line only a workspace may be a URL."
                )
            if name in WRITTEN and isinstance(path, Path):
                _check_writable(path, f"--{name.replace('_', '-')}")


def _check_writable(path: Path, option: str) -> None:
    """Refuse what cannot be written, before anything is computed for it."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not place.is_dir() and place != path.absolute():
        raise UsageError(f"`{option}` must be in a folder; got `{path}`, where `{place}` is a file. Name another.")
    if not os.access(place, os.W_OK):
        raise UsageError(f"`{option}` must be writable; got `{path}`, and `{place}` is not. Name another place.")
