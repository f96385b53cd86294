"""A take-down from the plan to the receipt: the list, successors of builds, tombstones, the purge and its proof.

Each part can be broken off and called again: what is finished is seen, and the rest is done.
"""

import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.exports.export import MANIFEST
from evenly.storage.journals import departures
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record
from evenly.storage.removal.clean import Wanted, clean_workspace
from evenly.storage.removal.decoded import UNREADABLE, holding, search
from evenly.storage.removal.forget import create_entries, read_forgotten
from evenly.storage.removal.leftovers import StoredFile, list_files
from evenly.storage.removal.purge import artifacts_of, purge, searched_files
from evenly.storage.removal.takedown import TakeDown, write_receipt
from evenly.storage.removal.things import PATTERN, Resolved, parse_things, resolve
from evenly.storage.removal.traces import ListedTraces, Traces
from evenly.storage.workspace import Workspace, exclusive_use
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.run import exchange_of
from evenly.tasks.server.api import has_api

_NEVER_S = 1e12
_BYTES_PER_S = 50e6
_REUSED = (DOWNLOAD.name, EMBED_IMAGES.name)  # what they stored is taken over pair by pair
NOT_REBUILT = "its recipe was not rebuilt, as was asked"
NOTHING_LEFT = "no pair of its pool is left"
WITH_LIMIT = "it held a part of the pool, by --limit"
PREFECT = "prefect"
_REASONS = {
    PREFECT: "Prefect's own: `prefect flow-run delete` removes a run with its logs",
    "class lists": "a class list that people wrote",
    "builds": "a recipe that names it",
    UNREADABLE: "it cannot be decoded",
}


@dataclass(frozen=True, kw_only=True)
class TakeDownPlan:
    """The places of pairs that are to be taken down.

    builds: those whose tables hold one, with their recipes. files: those that hold a trace, with counts by kind.
    recipes: of each such recipe its file, None where none is known. changed: its fields that are other ones now.
    """

    resolved: Resolved
    builds: Mapping[str, str]
    files: Mapping[str, Counter[str]]
    counts: Mapping[str, Mapping[str, int]]
    recipes: Mapping[str, str | None]
    changed: Mapping[str, Sequence[str]]
    exports: Sequence[Mapping[str, Any]]
    artifacts: Sequence[str]
    is_listed: bool
    seconds: float

    @property
    def is_done(self) -> bool:
        """Whether nothing is to be done: it is on the list, and nothing holds it."""
        return self.is_listed and not holding(self.files)

    def to_dict(self, workspace: Workspace) -> dict[str, Any]:
        """Facts to print."""
        manifests = Builds(workspace)
        return {
            "workspace": str(workspace.root),
            "done": False,
            "pairs": len(self.resolved.uids),
            "entries": len(self.resolved.entries),
            "listed": self.is_listed,
            "twins": [asdict(twin) for twin in self.resolved.twins],
            "held": [{"kind": kind, **counts} for kind, counts in self.counts.items()],
            "builds": [
                {
                    "build": build,
                    "recipe": recipe,
                    "file": self.recipes[recipe],
                    "latest": manifests.latest_of(recipe) == build,
                    "changed": list(self.changed.get(build, ())),
                }
                for build, recipe in self.builds.items()
            ],
            "exports": list(self.exports),
            "artifacts": list(self.artifacts),
            "seconds": self.seconds,
        }


RecipesOf = Callable[[Mapping[str, str]], tuple[Mapping[str, str | None], Mapping[str, Sequence[str]]]]
"""Of builds with their recipes: the file of each recipe, and of each build the fields that are other ones now."""


def plan_of(workspace: Workspace, things: Sequence[str], *, with_twins: bool, recipes_of: RecipesOf) -> TakeDownPlan:
    """The plan of a take-down."""
    begun = time.perf_counter()
    resolved = resolve(workspace, parse_things(things), with_twins=with_twins)
    stored = searched_files(workspace, exchange_of(workspace))
    hits = search(stored, resolved.traces) if resolved.traces else {}
    builds, seconds = _builds_with(workspace, holding(hits))
    recipes, changed = recipes_of(builds)
    size = sum(file.size for file in stored if file.name in hits)
    hashes = {build: str(Builds(workspace).read(build)["content_hash"]) for build in builds}
    forget = read_forgotten(workspace)
    is_listed = all(forget.hashes and forget.hash_of(*entry) in forget.hashes for entry in resolved.entries)
    return TakeDownPlan(
        resolved=resolved,
        builds=builds,
        files=hits,
        counts=_by_kind(stored, hits),
        recipes=recipes,
        changed=changed,
        exports=_exports(workspace, set(builds)),
        artifacts=[file.name for file, _ in artifacts_of(stored, holding(hits), hashes)],
        is_listed=is_listed,
        seconds=round(seconds + 2 * (time.perf_counter() - begun) + size / _BYTES_PER_S, 1),
    )


def begin(
    workspace: Workspace, plan: TakeDownPlan, request: Mapping[str, Any], *, without_successors: bool
) -> TakeDown:
    """Put it on the forget list, and record what is to be done. The caller uses the workspace alone.

    So every build that a rebuild publishes meanwhile is in the plan, or made by the list. Raises InputError where a
    recipe's file is not known.
    """
    unknown = [name for name, file in plan.recipes.items() if file is None]
    if unknown and not without_successors:
        raise InputError(
            f"`--recipe` must name the file of each recipe whose builds hold it; that of `{unknown[0]}` is not known. "
            "Name it, or let these builds end without a successor: --without-successors."
        )
    begun = datetime.now(UTC)
    create_entries(workspace, plan.resolved.entries)
    take = TakeDown(
        receipt=f"{begun:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}",
        begun=begun.isoformat(timespec="seconds"),
        request=request,
        traces=plan.resolved.traces,
        entries=plan.resolved.entries,
        pairs=len(plan.resolved.uids),
        builds=plan.builds,
        recipes={} if without_successors else {name: file for name, file in plan.recipes.items() if file is not None},
        counts=plan.counts,
        exports=plan.exports,
    )
    take.write(workspace)
    return take


def finish(workspace: Workspace, take: TakeDown, rebuild: Callable[[str], str], *, wait_s: float) -> dict[str, Any]:
    """Do what is left of a take-down; its receipt. rebuild: rebuilds by the file of a recipe, and gives the build."""
    take = _with_successors(workspace, take, rebuild)
    exchange = exchange_of(workspace)
    clean_workspace(workspace, exchange, Wanted(older_than_s=_NEVER_S), wait_s=wait_s)
    with exclusive_use(workspace, "forget", wait_s=wait_s):
        buried = _bury(workspace, take)
        purge(workspace, exchange, take.traces, buried, of_classes=_steps_of_classes())
        files = [*searched_files(workspace, exchange), *_prefect_files()]
        left = _left_of(files, search(files, take.traces) if take.traces else {})
        receipt = write_receipt(workspace, take.receipt, _facts(workspace, take, left))
        take.remove(workspace)
    return receipt | {"done": True, "workspace": str(workspace.root)}


def _steps_of_classes() -> list[str]:
    """The names of steps whose tables hold texts about classes alone."""
    from evenly.tasks.classes.confusable import FIND_CONFUSABLE
    from evenly.tasks.classes.describe import COUNT_NAMES, DESCRIBE
    from evenly.tasks.classes.selection import SELECT_TEXTS

    return [step.name for step in (FIND_CONFUSABLE, COUNT_NAMES, DESCRIBE, SELECT_TEXTS)]


def _facts(workspace: Workspace, take: TakeDown, left: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of a take-down that is done, for its receipt."""
    stones = [stone for stone in Builds(workspace).tombstones() if stone["build"] in take.builds]
    forget = read_forgotten(workspace)
    return {
        "begun": take.begun,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "kinds": sorted({naming for naming, _ in take.entries}),
        "pattern": any(str(thing).startswith(PATTERN) for thing in take.request["things"]),
        "pairs": take.pairs,
        "held": [{"kind": kind, **counts} for kind, counts in take.counts.items()],
        "builds": {stone["build"]: stone["successor"] for stone in stones},
        "without_successor": {stone["build"]: stone["why"] for stone in stones if stone["successor"] is None},
        "exports": list(take.exports),
        "left": list(left),
        "entries": sorted(forget.hash_of(*entry) for entry in take.entries),
        "list": forget.digest,
    }


def _with_successors(workspace: Workspace, take: TakeDown, rebuild: Callable[[str], str]) -> TakeDown:
    """Rebuild each recipe of which a build is still to be taken down."""
    names = set(Builds(workspace).names())
    for recipe, file in take.recipes.items():
        is_due = any(name == recipe and build in names for build, name in take.builds.items())
        if is_due and recipe not in take.successors:
            take = replace(take, successors={**take.successors, recipe: rebuild(file)})
            take.write(workspace)
    return take


def _bury(workspace: Workspace, take: TakeDown) -> dict[str, str]:
    """Put a tombstone in the place of each build that held it; their content hashes."""
    builds = Builds(workspace)
    for build, recipe in take.builds.items():
        if build in builds.names():
            manifest = builds.read(build)
            successor = take.successors.get(recipe) if manifest["limit"] is None else None
            reason = NOT_REBUILT if successor is None else NOTHING_LEFT
            reason = WITH_LIMIT if manifest["limit"] is not None else reason
            builds.bury(
                {
                    "build": build,
                    "recipe_name": recipe,
                    "content_hash": manifest["content_hash"],
                    "created": manifest["created"],
                    "taken_down": datetime.now(UTC).isoformat(timespec="seconds"),
                    "receipt": take.receipt,
                    "successor": successor or None,
                    "why": "" if successor else reason,
                }
            )
    return {stone["build"]: stone["content_hash"] for stone in builds.tombstones() if stone["build"] in take.builds}


def prove(workspace: Workspace, things: Sequence[str]) -> dict[str, Any]:
    """Where decoded content still holds what is named, or, with nothing named, anything that is on the forget list."""
    files = [*searched_files(workspace, exchange_of(workspace)), *_prefect_files()]
    if things:
        named = parse_things(things)
        traces: Traces = resolve(workspace, named, with_twins=False).traces
        traces = replace(
            traces, uids=traces.uids | named.uids, urls=traces.urls | named.urls, domains=named.domains,
            pictures=traces.pictures | named.pictures,
        )  # fmt: skip
    else:
        traces = ListedTraces(forget=read_forgotten(workspace))
    hits = search(files, traces) if traces else {}
    return {
        "workspace": str(workspace.root),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "hits": sum((counts.total() for counts in hits.values()), 0),
        "left": _left_of(files, hits),
    }


def _left_of(files: Sequence[StoredFile], hits: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    kinds = {file.name: PREFECT if file.name.startswith(f"{PREFECT}/") else file.kind for file in files}
    return [
        {
            "file": name,
            "kind": kinds[name],
            "counts": dict(sorted(counts.items())),
            "why": _REASONS[UNREADABLE] if UNREADABLE in counts else _REASONS.get(kinds[name], "no rule takes it out"),
        }
        for name, counts in sorted(hits.items())
    ]


def _prefect_files() -> list[StoredFile]:
    """Prefect's database and results, where it has an API and they lie on this machine."""
    if not has_api():
        return []
    from prefect.settings import PREFECT_HOME

    home = Path(PREFECT_HOME.value())
    names = ("prefect.db", "storage/")
    return [file for file in list_files(home, f"{PREFECT}/") if file.name.removeprefix(f"{PREFECT}/").startswith(names)]


def _builds_with(workspace: Workspace, hits: set[str]) -> tuple[dict[str, str], float]:
    """The builds of which a table holds a trace, with their recipes; and the seconds that their steps took."""
    ledger, builds, seconds = Ledger(workspace), dict[str, str](), dict[str, float]()
    for manifest in Builds(workspace).manifests():
        records = [record for record in ledger.find_all([step["key"] for step in manifest["steps"]]) if record]
        names = {path.relative_to(workspace.root).as_posix() for record in records for path in ledger.files(record)}
        if names & hits:
            builds[str(manifest["build"])] = str(manifest["recipe_name"])
            repeated = (record.seconds or 0 for record in records if record.name not in _REUSED)
            seconds[str(manifest["recipe_name"])] = sum(repeated)
    return builds, sum(seconds.values())


def _by_kind(files: Sequence[StoredFile], hits: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        if file.name in hits:
            counts[file.kind] += Counter(files=1) + hits[file.name]
    return {kind: dict(counted) for kind, counted in sorted(counts.items())}


def _exports(workspace: Workspace, builds: set[str]) -> list[dict[str, Any]]:
    """The exports and reports of these builds by their receipts, and exports in the workspace that have none.

    Those in the workspace go; of others the place is known, and no more.
    """
    rows = [asdict(item) for item in departures(workspace) if item.build in builds]
    places = {row["place"] for row in rows}
    for file in list_files(workspace.exports, "exports/"):
        place = file.name.rpartition("/")[0]
        if file.path.name == MANIFEST and place not in places and (record := read_record(file.path))["build"] in builds:
            rows.append(
                {"kind": record["format"], "build": record["build"], "place": place, "content": record["content_hash"]}
            )
    return rows
