"""The plan of a rebuild: for each step whether it would be reused or computed, and why, without running it."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from evenly.flows.cli.classes.class_list import estimate_listing
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.describing import ListContext
from evenly.flows.recipe.files import read_listing
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import run_in
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepRecord
from evenly.storage.web import read_downloads
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run
from evenly.tasks.step import Step, summarise_record


def plan_recipe(recipe: Path, *, root: Path | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """One row per step: step, `reuse` or `compute`, why, rows in, and what is known to be missing.

    A step after one that must be computed may turn out to be reusable, if that one gives what it gave before: the plan
    then says `unknown`.
    """
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=root, quiet=True)
    records: list[StepRecord] = []
    rows: list[dict[str, Any]] = []
    blocked: str | None = None
    for step, rule in steps_of(chosen, limit=limit):
        if blocked is not None:
            rows.append(_row(step, "unknown", f"depends on what `{blocked}` gives"))
            continue
        record = run.ledger.find(step.spec(run, records, rule).key)
        if record is None:
            rows.append(_row(step, "compute", _why(run, step, records, rule), **_work(run, step, records)))
            blocked = step.name
        else:
            rows.append(_row(step, "reuse", summarise_record(record), rows=record.rows_in))
            records.append(record)
    return rows


def plan_descriptions(recipe: Path, *, root: Path | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """What describing the recipe's class lists would ask and cost, a row per list and method (estimate.Estimate).

    None for a trial: with a `limit`, nothing is described. Which pairs of classes are confused is taken from the latest
    build, or where there is none from the class texts; a rebuild takes them from the build that it makes.
    """
    chosen = read_recipe(recipe)
    builds, latest = Builds(Workspace.at(root)), f"{chosen.name}-latest"
    split = None if chosen.labels is None else chosen.labels.split
    return [
        row
        for listing in (() if limit else chosen.classes)
        for row in estimate_listing(
            read_listing(recipe, listing),
            methods=listing.methods,
            llm=chosen.llm,
            root=root,
            context=ListContext(build=builds.alias(latest), split=split, pairs=listing.pairs),
        )
    ]


def _row(step: Step[Any], action: str, reason: str, **facts: float | None) -> dict[str, Any]:
    return {"step": step.name, "action": action, "why": reason, "rows": None, "estimated_s": None} | facts


def _why(run: Run, step: Step[Any], records: list[StepRecord], rule: object) -> str:
    """What differs from the newest run of the step, or that there is none."""
    earlier = sorted(run.ledger.records(step.name), key=lambda record: record.ended)
    if not earlier:
        return "never computed in this workspace"
    spec, last = step.spec(run, records, rule), earlier[-1]
    changed = [name for name in ("version", "rule", "model", "seed") if getattr(spec, name) != getattr(last, name)]
    changed += [f"input `{name}`" for name, value in spec.inputs.items() if last.inputs.get(name) != value]
    changed += [f"input `{name}` (gone)" for name in last.inputs if name not in spec.inputs]
    return f"changed since the last run: {', '.join(changed)}" if changed else "its record is gone"


def _estimate(run: Run, step: Step[Any], rows: int) -> float | None:
    """Seconds that the step would take, by the time per row of its longest run here; None where it never ran."""
    rates = [
        (datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)).total_seconds() / record.rows_in
        for record in run.ledger.records(step.name)
        if record.rows_in
    ]
    return round(max(rates) * rows, 1) if rates else None


def _work(run: Run, step: Step[Any], records: list[StepRecord]) -> dict[str, float | None]:
    """Rows that the step would judge and how long that may take; for downloads, the URLs not observed yet."""
    if not records:
        return {"rows": None}
    rows = run.ledger.alive(records, ["url"])
    facts: dict[str, float | None] = {"rows": rows.num_rows, "estimated_s": _estimate(run, step, rows.num_rows)}
    if step.name == "download":
        urls = rows["url"].combine_chunks().unique()
        urls_seen = read_downloads(run.workspace.downloads, ["url"])["url"].combine_chunks()
        facts["to_fetch"] = len(urls) - (pc.sum(pc.is_in(urls, urls_seen)).as_py() or 0)
    return facts
