"""The first screen of a report: what moved since the previous build of the recipe, and what to look at."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from evenly.audit.diff import diff_builds
from evenly.audit.errors import AuditError
from evenly.audit.published import PublishedBuild
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.records import read_if_there
from evenly.storage.run_records import PAGE, RunRecord, read_runs
from evenly.storage.workspace import Workspace

KINDS = ("entered", "left", "changed")
SHOWN = 5
"""Changes, the largest first, and steps of which more is lost."""
LEAST_GROWTH = 0.01
"""By so much of its rows a step must lose more than before to be looked at, and by GROWTH times."""
GROWTH = 1.5
FAILING = 0.1
"""The share of its rows on which a step must fail to be looked at in a first build."""
Losses = Mapping[str, float]
"""The shares of a step's rows that went by each reason; under "" that on which it failed."""


def standing_of(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Where a build stands among those of its recipe, as JSON values.

    previous: the build that was `latest` when it was made; where the journal does not say, and of part of the pool, the
    newest one before it of the same limit. latest: that which was promoted, and whether it is the "same", "older" or
    "newer" (`latest_is`). was_held: it was held back when made. hold: why promotions are. None where there is none.
    asked_again: URLs that the run which made it asked again, by the reason of their failure. failed: runs since its
    last one that failed. overdue: since when no rebuild ended with it, where people were told that it is too old.
    """
    builds, recipe = Builds(workspace), str(manifest["recipe_name"])
    created = {
        str(build["build"]): str(build["created"])
        for build in builds.manifests()
        if build["recipe_name"] == recipe and build["limit"] == manifest["limit"]
    }
    latest, failed, last = builds.latest_of(recipe), list[RunRecord](), None
    for run in read_runs(workspace, recipe):
        if run.build == manifest["build"]:
            last = run
            break
        failed += [run] if run.outcome == "failed" else []
    started = islice(read_runs(workspace, recipe, started_by=str(manifest["created"])), PAGE)
    made = next((run for run in started if run.build == manifest["build"]), None)
    earlier = [build for build, moment in created.items() if moment < manifest["created"]]
    if made is not None and made.previous in created:
        earlier = [made.previous]
    stale = workspace.runs / recipe / "stale" / f"{manifest['build']}.json"
    overdue = None if last is None else (read_if_there(stale) or {}).get("since")
    return {
        "previous": earlier[-1] if earlier else None,
        "latest": latest,
        "latest_is": _compared(created.get(latest or ""), str(manifest["created"])),
        "was_held": made is not None and made.outcome == "held",
        "hold": builds.holds().get(recipe),
        "asked_again": {} if made is None else dict(made.asked_again),
        "failed": [{"ended": run.ended, "error": run.error} for run in reversed(failed) if last is not None],
        "overdue": overdue if overdue and last is not None and last.ended <= overdue else None,
    }


def _compared(latest: str | None, created: str) -> str | None:
    if latest is None:
        return None
    return "same" if latest == created else "older" if latest < created else "newer"


def read_overview(build: PublishedBuild) -> dict[str, Any]:
    """`standing` of the build, its `moves` since the previous one, and the steps that are `grown` or `failing`.

    moves: None without a previous build, a text where the two cannot be compared. grown: steps that fail on more of
    their rows than in the previous build, or that more go by for a reason, with both shares. failing: those that fail
    on many, where there is nothing to compare them with.
    """
    standing = standing_of(build.workspace, build.manifest)
    if standing["previous"] is None:
        losses = _losses(build.manifest)
        failing = [{"name": name, "share": shares[""]} for name, shares in losses.items() if shares[""] >= FAILING]
        return {"standing": standing, "moves": None, "grown": [], "failing": failing}
    previous = Builds(build.workspace).read(standing["previous"])
    return {
        "standing": standing,
        "moves": _read_moves(build, previous),
        "grown": _grown(_losses(previous), _losses(build.manifest)),
        "failing": [],
    }


def _read_moves(build: PublishedBuild, previous: Mapping[str, Any]) -> dict[str, Any] | str:
    try:
        difference = diff_builds(build.workspace, previous, build.manifest, examples=0)
    except (AuditError, StorageError) as error:  # of the previous build: this one can be shown all the same
        return str(error)
    moves = [(kind, change) for kind in KINDS for change in getattr(difference, kind)]
    return {
        **{name: getattr(difference, name) for name in ("before", "kept_before", "kept_after", "unchanged", "causes")},
        **{kind: sum(change.count for its_kind, change in moves if its_kind == kind) for kind in KINDS},
        "created": previous["created"],
        "largest": sorted(moves, key=lambda move: -move[1].count)[:SHOWN],
    }


def _losses(manifest: Mapping[str, Any]) -> dict[str, Losses]:
    """The losses of each step that judges rows."""
    return {
        step["name"]: {
            name: count / max(step["rows_in"], 1)
            for name, count in {"": step["counts"]["failed"], **step["reasons"]}.items()
        }
        for step in manifest["steps"]
        if step["counts"]
    }


def _grown(previous: Mapping[str, Losses], losses: Mapping[str, Losses]) -> list[dict[str, Any]]:
    """The steps of both builds in which a share has grown, the largest growth first: name, failed and reasons."""
    steps = list[tuple[float, dict[str, Any]]]()
    for name in losses.keys() & previous.keys():
        shares = {reason: (share, previous[name].get(reason, 0.0)) for reason, share in losses[name].items()}
        grown = {
            reason: (share, earlier)
            for reason, (share, earlier) in shares.items()
            if share - earlier >= LEAST_GROWTH and share >= GROWTH * earlier
        }
        if grown:
            growth = max(share - earlier for share, earlier in grown.values())
            steps.append((growth, {"name": name, "failed": grown.pop("", None), "reasons": grown}))
    return [step for _, step in sorted(steps, key=lambda item: (-item[0], item[1]["name"]))[:SHOWN]]
