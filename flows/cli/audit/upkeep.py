"""Commands that look after a workspace: doctor, clean."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING, UsageError
from evenly.flows.cli.output import print_facts, print_rows, print_text
from evenly.signatures import InWorkspace, Named, Place, Root, taking

if TYPE_CHECKING:
    from evenly.storage.removal.clean import WorkspaceContents
    from evenly.storage.workspace import Workspace

OlderThan = Annotated[
    str, Named("--older-than"), "The age of what no build refers to: 7d, 12h, 30m; 0d takes all of it."
]


def doctor_command(root: Root = None, older_than: OlderThan = "7d") -> dict[str, Any]:
    """Look through a workspace and this machine: what lies there, what is of no use, what is wrong. Then exit status 1.

    Example: evenly doctor
    """
    from evenly.flows.cli.audit.doctor import examine

    return examine(_workspace(root), older_than_s=seconds_of(older_than))


def _print_examined(result: dict[str, Any]) -> None:
    print_rows(f"workspace {result['workspace']}", result["kinds"])
    print_text("this machine")
    print_facts(dict(_lines(result["machine"])))
    for finding in result["findings"]:
        print_text(f"{finding['where']}: {finding['what']}. {finding['remedy']}")
    print_text("nothing is wrong" if result["ok"] else f"{len(result['findings'])} findings")


@dataclass(frozen=True, kw_only=True)
class CleanOptions(InWorkspace):
    """Options of `evenly clean`."""

    older_than: OlderThan = "7d"
    downloads: Annotated[bool, Named("--downloads"), "Also shards of which no build shows a URL."] = False
    features: Annotated[bool, Named("--features"), "Also features of pictures no build shows."] = False
    yes: Annotated[bool, Named("--yes"), "Free it; without, only show what would be freed."] = False
    wait: Annotated[int, Ge(0), "Seconds to wait for commands that write there."] = 0


@taking(CleanOptions)
def clean_command(options: CleanOptions) -> dict[str, Any]:
    """Free what was broken off, and what no build refers to and is older than --older-than. Builds stay as they are.

    Replies stay, and downloads and features unless they are named. Example: evenly clean --older-than 30d --yes
    """
    from evenly.storage.removal.clean import Wanted, clean_workspace, look_through
    from evenly.tasks.run import exchange_of

    workspace = _workspace(options.root)
    wanted = Wanted(older_than_s=seconds_of(options.older_than), downloads=options.downloads, features=options.features)
    exchange = exchange_of(workspace)
    contents = (
        clean_workspace(workspace, exchange, wanted, wait_s=options.wait)
        if options.yes
        else look_through(workspace, exchange, wanted)
    )
    return _freed(workspace, contents, yes=options.yes)


def _print_freed(result: dict[str, Any]) -> None:
    title = "freed" if result["done"] else "to be freed"
    if result["freed"]:
        print_rows(f"{title} in {result['workspace']}", result["freed"])
    if result["rows"]:
        print_rows("rows of pictures that no build shows; their bytes go with the version before", result["rows"])
    for row in result["in_use"]:
        print_text(f"left, since a process holds it: {row['kind']} of {row['of']}")
    print_text(f"{title}: {result['bytes']:,} bytes in {result['objects']:,} objects")
    if not result["done"] and (result["freed"] or result["rows"]):
        print_text("nothing was changed; run it with --yes to free this")


def seconds_of(age: str) -> float:
    """The seconds of an age such as `7d`, `12h` or `30m`. Raises UsageError."""
    from evenly.bounds import duration_s

    try:
        return duration_s(age)
    except ValueError as error:
        raise UsageError(f"`--older-than` {error}. Correct it.") from None


def _freed(workspace: "Workspace", contents: "WorkspaceContents", *, yes: bool) -> dict[str, Any]:
    from evenly.flows.cli.audit.doctor import grouped

    rows = grouped(contents.leftovers)
    return {
        "workspace": str(workspace.root),
        "done": yes,
        "freed": rows,
        "objects": sum(row["objects"] for row in rows),
        "bytes": sum(row["bytes"] for row in rows),
        "in_use": grouped(contents.in_use),
        "rows": [
            {"features": str(idle.path.relative_to(workspace.root)), "rows": idle.rows, "bytes": idle.size}
            for idle in contents.rows
        ],
    }


def _workspace(root: Place | None) -> "Workspace":
    from evenly.storage.workspace import Workspace

    return Workspace.at(root)


def _lines(machine: dict[str, Any]) -> list[tuple[str, Any]]:
    """The facts of a machine in one level."""
    lines: list[tuple[str, Any]] = []
    for name, value in machine.items():
        if isinstance(value, dict):
            prefix = f"{name.replace('_', ' ')}: " if name != "packages" else ""
            lines += [(f"{prefix}{inner}", "not installed" if fact is None else fact) for inner, fact in value.items()]
        else:
            lines.append((name, value))
    return lines


COMMANDS = {
    "doctor": typed(doctor_command, _print_examined, status=lambda result: 0 if result["ok"] else FINDING),
    "clean": typed(clean_command, _print_freed),
}
