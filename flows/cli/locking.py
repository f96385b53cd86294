"""Which commands write in a workspace, in one place: for those nobody else removes anything from it meanwhile.

`evenly clean --yes` and the forget list, which remove, are alone in it: evenly.storage.removal. All others only read.
"""

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import typer

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
    [
        "init",
        "check",
        "plan",
        "builds",
        "search",
        "predict",
        "export-adapter",
        "encode",
        "base-to-new",
        "sessions",
        "why",
        "diff",
        "card",
        "verify",
        "doctor",
        "clean",
        "serve",
        "deploy",
    ]
) | {
    *("descriptions show", "descriptions compare", "descriptions export", "encoders tune", "encoders tokens"),
    *("metadata build", "metadata show"),
}
"""Commands that write nothing in a workspace, or lock it themselves."""


def lock_workspaces(app: typer.Typer, group: str = "") -> None:
    """Have every command of `app` that writes, those of groups included, share the workspace with others that do."""
    for command in app.registered_commands:
        name = f"{group}{command.name}"
        if command.callback is not None:
            command.callback = sharing(command.callback, name)
    for one in app.registered_groups:
        if one.typer_instance is not None:
            lock_workspaces(one.typer_instance, f"{one.name} ")


def sharing(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A command that shares its workspace while it writes there; it takes its values by name."""
    if name in READS:
        return command

    @wraps(command)
    def sharing(**values: Any) -> Any:  # noqa: ANN401 - whatever the command takes and gives
        from evenly.storage.stores.object_path import ObjectPath
        from evenly.storage.stores.workspace_lock import shared_use
        from evenly.storage.workspace import Workspace

        workspace = Workspace.at(values.get("root"))
        is_there = isinstance(workspace.root, ObjectPath) or workspace.root.is_dir()
        if not is_there or not WRITES[name](values):  # there is nothing yet that could be removed
            return command(**values)
        with shared_use(workspace, f"`evenly {name}`", wait_s=values.get("wait_s") or 0):
            return command(**values)

    return sharing
