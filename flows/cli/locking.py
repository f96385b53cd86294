"""Which commands write in a workspace, in one place: for those nobody else removes anything from it meanwhile.

`evenly clean --yes` and the forget list, which remove, are alone in it: evenly.storage.removal. All others only read.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import typer

from evenly.flows.cli.paths import check_paths

Values = Mapping[str, Any]


def _always(_values: Values) -> bool:
    return True


def _given(name: str, values: Values) -> bool:
    return values.get(name) is not None


WRITES: Mapping[str, Callable[[Values], bool]] = {
    **dict.fromkeys(("demo", "rebuild", "promote", "report", "export", "describe", "extract", "concepts"), _always),
    **dict.fromkeys(("clusters", "link", "retrieve", "index", "leaderboard", "probe", "refine", "worth"), _always),
    **dict.fromkeys(("descriptions audit", "descriptions import", "batches cancel"), _always),
    **dict.fromkeys(("fit", "evaluate"), partial(_given, "recipe")),
    **dict.fromkeys(("match", "balance"), partial(_given, "root")),
}
"""Commands that write, and whether they do with the values that they are given."""
READS = frozenset(
    (
        *("init", "check", "plan", "builds", "batches", "search", "predict", "export-adapter", "encode", "encoders"),
        *("base-to-new", "sessions", "why", "diff", "card", "verify", "doctor", "clean", "serve", "deploy"),
        *("descriptions show", "descriptions compare", "descriptions export", "encoders tune", "encoders tokens"),
        *("metadata build", "metadata show"),
    )
)
"""Commands that write nothing in a workspace, or lock it themselves."""


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
    with sharing(name, values):
        yield


@contextmanager
def sharing(name: str, values: Values) -> Iterator[None]:
    """Share the workspace of a command, by its name and what it is given, while it writes there."""
    with ExitStack() as stack:
        if name not in READS and WRITES[name](values):
            from evenly.storage.stores.object_path import ObjectPath
            from evenly.storage.stores.workspace_lock import shared_use
            from evenly.storage.workspace import Workspace

            workspace = Workspace.at(values.get("root"))
            if isinstance(workspace.root, ObjectPath) or workspace.root.is_dir():  # else nothing could be removed
                stack.enter_context(shared_use(workspace, f"`evenly {name}`", wait_s=values.get("wait_s") or 0))
        yield
