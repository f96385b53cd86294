"""Verify builds and write their reports."""

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evenly.audit.report import read_sources, render_report, report_code, standing_of
from evenly.audit.verify import new_seed, verify_one
from evenly.storage.builds import Builds, latest_made
from evenly.storage.errors import DamagedError
from evenly.storage.journals import REPORT, record_page
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import content_hash, read_record, replace_record
from evenly.storage.web.images import reader
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.server.api import part
from evenly.tasks.server.events import AuditFailed, emit


@part("verify latest builds")
def verify_latest_builds(workspace: Workspace, progress: Progress) -> dict[str, int]:
    """The number of faults of the latest build of each recipe."""
    builds = Builds(workspace)
    latest = {str(manifest["recipe_name"]): manifest for manifest in builds.manifests()}
    counts = {}
    for recipe in latest:
        name = builds.alias(f"{recipe}-latest")
        if name is not None:
            seed = new_seed()
            counts[name] = len(verify_one(workspace, builds.read(name), seed=seed, bar=progress.bar))
            level = logging.WARNING if counts[name] else logging.INFO
            progress.say(f"{'verify':<24} {name}: {counts[name]} findings; pictures drawn with seed {seed}", level)
            if counts[name]:
                emit(AuditFailed(build=name, recipe=recipe, findings=counts[name], root=str(workspace.root)))
    return counts


@part("hold promotion")
def hold_promotions(workspace: Workspace, progress: Progress, build: str, findings: int) -> str:
    """Hold promotions of the recipe of a build with findings, unless another is its latest by now; a line that says so.

    Rebuilds of the recipe then publish without moving `latest`, until a person promotes a build.
    """
    builds = Builds(workspace)
    manifest = builds.read(build)
    recipe, build = str(manifest["recipe_name"]), str(manifest["build"])
    latest = builds.latest_of(recipe)
    if latest != build:
        outcome, level = f"{recipe}: not held, since its latest is {latest} by now, not {build}", logging.INFO
    else:
        number = "1 finding" if findings == 1 else f"{findings:,} findings"
        builds.hold(recipe, f"`{build}` did not verify ({number})")
        outcome, level = f"{recipe}: promotions are held until `evenly promote BUILD`", logging.WARNING
    progress.say(f"{'hold':<24} {outcome}", level)
    return outcome


def report_of(
    workspace: Workspace, manifest: Mapping[str, Any], truth: Sequence[Mapping[str, Any]] = (), *, anew: bool = False
) -> tuple[Path, list[dict[str, Any]]]:
    """The path of a build's HTML report, with all that was made for the build; and its funnel (`read_source_funnel`).

    Both are made `anew`, or if anything that they show, the report's code or the page itself has changed: a rebuild
    that reuses all of its steps reads no pairs. `truth`, how well known faults were found, is kept beside the report,
    for the reports of this build that follow.
    """
    records, truth = _shown_records(workspace, manifest), _truth(workspace, manifest, truth)
    inputs = content_hash(
        {
            "manifest": dict(manifest),
            "records": {kind: [record.key for record in shown] for kind, shown in records.items()},
            "truth": list(truth),
            "standing": standing_of(workspace, manifest),
            "code": report_code(),
        }
    )
    path = workspace.reports / f"{manifest['build']}.html"
    kept = workspace.reports / f"{manifest['build']}-inputs.json"
    if not anew and kept.is_file() and path.is_file():
        with suppress(DamagedError):
            stored = read_record(kept)
            if stored["inputs"] == inputs and stored["page"] == hashlib.sha256(path.read_bytes()).hexdigest():
                return path, stored["sources"]
    page = render_report(workspace, manifest, **records, truth=truth, read_bytes=reader(workspace.downloads))
    record_page(workspace, path, page, kind=REPORT, build=str(manifest["build"]))
    sources = read_sources(workspace, manifest)
    replace_record(kept, {"inputs": inputs, "page": hashlib.sha256(page.encode()).hexdigest(), "sources": sources})
    return path, sources


def _shown_records(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, list[StepRecord]]:
    """The steps made for a build that its report shows, by kind."""
    ledger = Ledger(workspace)
    evaluations = latest_made(ledger, "evaluate_adapters", build=str(manifest["build"]))
    keys = {record.rule["describe"] for record in evaluations if record.rule.get("describe")}
    keys |= {record.rule["given"]["step"] for record in evaluations if record.rule.get("given")}
    return {
        "evaluations": evaluations,
        "descriptions": [record for key in sorted(keys) if (record := ledger.find(key)) is not None],
        "probes": _probes(ledger, str(manifest["build"])),
        "worth": _newest_of_build(ledger, "measure_worth", str(manifest["build"])),
    }


def _probes(ledger: Ledger, build: str) -> list[StepRecord]:
    """The newest diversity and retrieval of a build, and the newest corruptions per class list."""
    shown = [_newest_of_build(ledger, name, build) for name in ("measure_diversity", "measure_retrieval")]
    return [*itertools.chain.from_iterable(shown), *latest_made(ledger, "corrupt_pictures", build=build)]


def _newest_of_build(ledger: Ledger, name: str, build: str) -> list[StepRecord]:
    """The newest record of a step about a whole build; none where there is none."""
    of_build = [
        record for record in ledger.records(name) if record.rule.get("build") == build and not record.rule.get("part")
    ]
    return sorted(of_build, key=lambda record: (record.ended, record.key))[-1:]


def _truth(
    workspace: Workspace, manifest: Mapping[str, Any], truth: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Known faults of a build: `truth`, or without any the one that was kept earlier."""
    kept = workspace.reports / f"{manifest['build']}-faults.json"
    if truth:
        replace_record(kept, {"faults": [dict(row) for row in truth]})
    return read_record(kept)["faults"] if kept.is_file() else ()
