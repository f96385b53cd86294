"""What is seen to before a command runs: that paths are of this machine, and whether it writes in a workspace.

While a command writes in one nobody else removes anything from it.

`evenly clean --yes` and the forget list, which remove, are alone in it: evenly.storage.removal. All others only read.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import typer

from evenly.flows.cli.errors import UsageError
from evenly.flows.process.environment import spare_pandas

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


Values = Mapping[str, Any]


def _always(_values: Values) -> bool:
    return True


def _given(name: str, values: Values) -> bool:
    return values.get(name) is not None


WRITES: Mapping[str, Callable[[Values], bool]] = {
    **dict.fromkeys(("demo", "rebuild", "promote", "report", "export", "describe", "extract", "concepts"), _always),
    **dict.fromkeys(
        ("clusters", "link", "retrieve", "index", "leaderboard", "probe", "refine", "worth", "tune"), _always
    ),
    **dict.fromkeys(("descriptions audit", "descriptions import", "batches cancel"), _always),
    **dict.fromkeys(("fit", "evaluate"), partial(_given, "recipe")),
    **dict.fromkeys(("match", "balance"), partial(_given, "root")),
}
"""Commands that write, and whether they do with the values that they are given."""
READS = frozenset(
    (
        *("init", "check", "plan", "builds", "batches", "search", "predict", "export-adapter", "encode", "encoders"),
        *("base-to-new", "sessions", "why", "what-if", "diff", "card", "verify", "doctor", "clean", "serve"),
        "deploy",
        *("descriptions show", "descriptions compare", "descriptions export", "encoders tune", "encoders tokens"),
        *("metadata build", "metadata show"),
    )
)
"""Commands that write nothing in a workspace, or lock it themselves."""
WITHOUT_FRAMES = frozenset(("builds", "card", "check", "diff", "doctor", "plan", "search", "verify", "why"))
"""Commands that make no data frames."""


def guard_commands(app: typer.Typer, group: str = "") -> None:
    """Have every command of `app`, those of groups included, refuse URLs where it takes a path, and lock as it must."""
    for command in app.registered_commands:
        function: Any = command.callback
        function.guard = partial(_guarded, f"{group}{command.name}", inspect.signature(function).parameters)
    for commands in app.registered_groups:
        if commands.typer_instance is not None:
            guard_commands(commands.typer_instance, f"{commands.name} ")


@contextmanager
def _guarded(name: str, parameters: Mapping[str, inspect.Parameter], values: Values) -> Iterator[None]:
    check_paths(values, parameters)
    if name in WITHOUT_FRAMES:
        spare_pandas()
    with sharing(name, values):
        yield


@contextmanager
def sharing(name: str, values: Values) -> Iterator[None]:
    """Share the workspace of a command, by its name and what it is given, while it writes there."""
    with ExitStack() as stack:
        if name not in READS and WRITES[name](values):
            from evenly.storage.stores.object_path import ObjectPath
            from evenly.storage.workspace import Workspace, shared_use

            workspace = Workspace.at(values.get("root"))
            if isinstance(workspace.root, ObjectPath) or workspace.root.is_dir():  # else nothing could be removed
                stack.enter_context(shared_use(workspace, f"`evenly {name}`", wait_s=values.get("wait_s") or 0))
        yield
