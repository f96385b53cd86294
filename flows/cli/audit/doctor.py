"""The examination of a workspace and of this machine, for `evenly doctor`."""

from collections.abc import Sequence
from typing import Any

from evenly.flows.process.machine import check_machine, describe_machine, finding_of
from evenly.flows.recipe.needs import DEFAULTS, troubles
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.files.identities import altered, default_cache
from evenly.storage.removal.clean import Wanted, look_through, stored_in
from evenly.storage.removal.leftovers import KINDS, Leftover, StoredFile
from evenly.storage.removal.references import broken_builds, read_recorded
from evenly.storage.workspace import Workspace
from evenly.tasks.run import exchange_of

_CLEAN = "Free it: `evenly clean --yes`."
_WEIGHTS = "Install it anew, or keep it: it is another model, and the record is gone."


def examine(workspace: Workspace, *, older_than_s: float) -> dict[str, Any]:
    """The files of a workspace by kind, the state of the machine, and what needs attention; `ok` where nothing does."""
    machine = describe_machine(workspace.root)
    findings = check_machine(workspace.root, machine["free_bytes"])
    exchange = exchange_of(workspace)
    files, leftovers = list[StoredFile](), list[Leftover]()
    try:
        files = stored_in(workspace, exchange)
        leftovers += look_through(workspace, exchange, Wanted(older_than_s=older_than_s)).leftovers
        findings += _broken(workspace, files)
    except StorageError as error:
        findings.append(finding_of(str(workspace.root), *str(error).partition(". ")[::2]))
    for row in grouped([leftover for leftover in leftovers if leftover.is_wrong]):
        amount = f"{row['objects']:,} of {row['of']}, {row['bytes']:,} bytes"
        findings.append(finding_of(row["kind"], amount, _CLEAN))
    findings += [finding_of(needed_by, *trouble.partition(". ")[::2]) for needed_by, trouble in troubles(DEFAULTS)]
    for path, name in altered(default_cache()):
        findings.append(finding_of(path, f"its content is not the one that was recorded of {name}", _WEIGHTS))
    return {
        "workspace": str(workspace.root),
        "ok": not findings,
        "kinds": _kinds(files, leftovers),
        "machine": machine,
        "findings": findings,
    }


def grouped(leftovers: Sequence[Leftover]) -> list[dict[str, Any]]:
    """A row for each kind and reason: objects and bytes."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for leftover in leftovers:
        row = rows.setdefault(
            (leftover.kind, leftover.why), {"kind": leftover.kind, "of": leftover.why, "objects": 0, "bytes": 0}
        )
        row["objects"] += len(leftover.files)
        row["bytes"] += leftover.size
    return [rows[place] for place in sorted(rows)]


def _broken(workspace: Workspace, files: Sequence[StoredFile]) -> list[dict[str, str]]:
    """Builds that lack something, aliases of builds that are not there, and recipes whose promotions are held."""
    recorded = read_recorded(workspace, files)
    findings = [
        {"where": f"build {build}", "what": problem, "remedy": f"Run its rebuild again, then `evenly verify {build}`."}
        for build, problem in broken_builds(workspace, files, recorded)
    ]
    builds = Builds(workspace)
    for recipe in {str(manifest["recipe_name"]) for manifest in recorded.manifests}:
        latest = builds.latest_of(recipe)
        if latest is not None and latest not in builds.names():
            problem = f"its latest build `{latest}` is gone"
            findings.append(finding_of(f"recipe {recipe}", problem, "Choose another: `evenly promote BUILD`."))
    for recipe, reason in builds.holds().items():
        problem, remedy = f"rebuilds promote nothing, since {reason}", "Look, then `evenly promote BUILD`."
        findings.append(finding_of(f"recipe {recipe}", problem, remedy))
    return findings


def _kinds(files: Sequence[StoredFile], leftovers: Sequence[Leftover]) -> list[dict[str, Any]]:
    """A row for each kind: objects, bytes, and those of them that are of no use."""
    idle = {file.name: leftover.kind for leftover in leftovers for file in leftover.files}
    counts = {"objects": 0, "bytes": 0, "idle_objects": 0, "idle_bytes": 0}
    rows: dict[str, dict[str, Any]] = {kind: {"kind": kind, **counts} for kind in KINDS}
    for file in files:
        row = rows[idle.get(file.name, file.kind)]
        row["objects"] += 1
        row["bytes"] += file.size
        if file.name in idle:
            row["idle_objects"] += 1
            row["idle_bytes"] += file.size
    return [row for row in rows.values() if row["objects"]]
