"""The plan of a rebuild: for each step whether it would be reused or computed, why, and what it would take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from evenly.curation.collecting import DOWNLOAD
from evenly.flows.cli.classes.class_list import estimate_listing
from evenly.flows.cli.datasets.asked_again import asked_again
from evenly.flows.cli.datasets.estimates import (
    TYPICAL,
    Figures,
    best_figures,
    estimate_step,
    figures_of,
    sum_estimates,
)
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import ListContext
from evenly.flows.recipe.files import read_listing
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import run_in
from evenly.signatures import Place
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepRecord
from evenly.storage.web.shards import count_unrecorded
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.estimate import (
    AskingPart,
    Pairs,
    asking_captioners,
    estimate_captions,
    estimate_captions_at_most,
)
from evenly.tasks.captions.recaption import RecaptionRule
from evenly.tasks.engine import InProcess
from evenly.tasks.partitioning import Cut, PoolSize, cut_run
from evenly.tasks.pictures.pointing import ASKING, PictureRegionRule, pointing
from evenly.tasks.rebuild.download import each_urls
from evenly.tasks.rebuild.scorers import read_scorers
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.run import Run
from evenly.tasks.step import Step, summarise_record

_NEVER = "never computed in this workspace"
_SAMPLE = 4  # files of a table that are weighed: its partitions are nearly equal


def plan_recipe(
    recipe: Place,
    *,
    root: Place | None = None,
    limit: int | None = None,
    workers: int | None = None,
    memory: str | None = None,
) -> dict[str, Any]:
    """The sum of what would run as `run`, as `steps` one row per step: action, why, rows, and estimates; `captions`.

    measures: a row for each measure of the build that its report shows; what these take is beside the sum.
    captions: for each captioner that asks a chat model, and the endpoint of regions, what it would ask and cost, where
    its step would run.
    asked_again: failed downloads; None where the recipe asks none, or it is not known which pairs come there.

    A step after one that must be computed may turn out to be reusable, if that one gives what it gave before: the plan
    then says `unknown`, and estimates what it would take for the rows that it would have at most. Raises InputError for
    a memory that is too small.
    """
    chosen = read_recipe(recipe)
    opened = run_in(chosen, root=root, workers=workers, quiet=True)
    opened = replace(opened, scorers=read_scorers(opened, chosen.curate.values or {}))
    size = PoolSize.of(opened.sources, limit)
    cut = cut_run(opened, pictured=chosen.has_pictures, memory=memory or chosen.memory, limit=limit)
    run = replace(opened, bits=cut.bits, pairs=cut.rows)
    plan = _Plan(run=run, cut=cut, rows=size.rows, is_counted=size.is_counted, most=size)
    records: list[StepRecord] = []
    rows: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    retries: dict[str, Any] | None = None
    blocked: str | None = None
    expected: list[StepRecord] | None = None
    for step, rule in steps_of(chosen, limit=limit):
        if blocked is not None:
            captions += plan.captions_at_most(_asking(run, rule))
            expected = _with_stored(run, step, expected, rule)
            rows.append(plan.running(step, *_what_follows(run, step, blocked, expected)))
            continue
        record = run.ledger.find(step.spec(run, records, rule).key)
        if step.name == DOWNLOAD.name:
            retries = asked_again(chosen, root=root, urls=each_urls(run, records))
        is_asked = step.name == DOWNLOAD.name and retries is not None and bool(retries["now"])
        if record is None or is_asked:
            captions += estimate_captions(run, _asking(run, rule), records, InProcess(run=run))
            reason = "failed downloads are asked again" if record is not None else _why(run, step, records, rule)
            rows.append(plan.running(step, "compute", reason) | _to_fetch(run, step, records))
            blocked, expected = step.name, _with_latest(run, step, records)
        else:
            rows.append(plan.reused(step, record))
            records.append(record)
    if blocked is not None:
        rows.append(plan.published(blocked))
    measures = plan.measures(chosen.measured_pairs, None if blocked is not None else records)
    summed = sum_estimates(cut, rows, is_counted=size.is_counted)
    return {"run": summed, "steps": rows, "captions": captions, "asked_again": retries, "measures": measures}


def plan_descriptions(recipe: Place, *, root: Place | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """The requests and cost of describing the recipe's class lists, a row per list and method (estimate.Estimate).

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


@dataclass(kw_only=True)
class _Plan:
    """Rows of a plan, step after step; rows: those that the next step has, estimated where they are not counted.

    most: how many it has at most, of which the last step that is there, or the pool, says whether they are counted.
    """

    run: Run
    cut: Cut
    rows: int
    is_counted: bool
    most: PoolSize

    def reused(self, step: Step[Any], record: StepRecord) -> dict[str, Any]:
        """The row of a step that is there."""
        if record.counts:
            self.rows, self.is_counted = record.counts["kept"], True
            self.most = PoolSize(rows=self.rows, is_counted=True)
        nothing = estimate_step(None, 0, self.cut, is_cut=False)
        row = {"step": step.name, "action": "reuse", "why": summarise_record(record), "rows": record.rows_in}
        return row | {"rows_are": "counted"} | nothing

    def running(self, step: Step[Any], action: str, reason: str) -> dict[str, Any]:
        """The row of a step that would run, or may."""
        earlier = [figures_of(record, _size_of(self.run, record)) for record in self.run.ledger.records(step.name)]
        figures = best_figures(step.name, earlier)
        row = self._row(step.name, action, reason) | self._estimate(figures, is_cut=True)
        if figures is not None and figures.kept < 1:
            self.rows, self.is_counted = round(self.rows * figures.kept), False
        return row

    def captions_at_most(self, asking: Sequence[AskingPart]) -> list[dict[str, Any]]:
        """The requests to chat models where it is not known which pairs will be left."""
        pairs_are: Pairs = "at most" if self.most.is_counted else "about"
        return estimate_captions_at_most(self.run, asking, self.most.rows, pairs_are=pairs_are)

    def measures(self, pairs: int, records: Sequence[StepRecord] | None) -> list[dict[str, Any]]:
        """The measures of the build that its report shows: step, action, pairs, estimated_s and basis.

        `records`: of all steps, where none of them would run, so that the build may be there already.
        """
        if not pairs:
            return []
        from evenly.tasks.adapters.probes import pair_measures

        keys = None if records is None else [record.key for record in records]
        manifests = Builds(self.run.workspace).manifests()
        builds = [str(build["build"]) for build in manifests if [step["key"] for step in build["steps"]] == keys]
        rows = []
        for step, rule in pair_measures(builds[-1] if builds else "", pairs=pairs):
            is_there = bool(builds) and self.run.ledger.find(step.spec(self.run, (), rule).key) is not None
            records_of_step = self.run.ledger.records(step.name)
            earlier = [replace(figures_of(record, 0), rows=record.notes.get("pairs", 0)) for record in records_of_step]
            figures = None if is_there else best_figures(step.name, earlier)
            estimate = estimate_step(figures, pairs, self.cut, is_cut=False)
            action = "reuse" if is_there else "compute"
            row = {"step": step.name, "action": action, "pairs": min(pairs, self.rows)}
            rows.append(row | {name: estimate[name] for name in ("estimated_s", "basis")})
        return rows

    def published(self, blocked: str) -> dict[str, Any]:
        """The row of publishing what the steps give."""
        row = self._row("publish", "unknown", f"depends on what `{blocked}` gives")
        return row | self._estimate(TYPICAL["publish"], is_cut=True)

    def _row(self, step: str, action: str, reason: str) -> dict[str, Any]:
        rows_are = "counted" if self.is_counted else "estimated"
        return {"step": step, "action": action, "why": reason, "rows": self.rows, "rows_are": rows_are}

    def _estimate(self, figures: Figures | None, *, is_cut: bool) -> dict[str, Any]:
        return estimate_step(figures, self.rows, self.cut, is_cut=is_cut)


def _asking(run: Run, rule: object) -> list[AskingPart]:
    """The parts of a step that ask a chat model, by its rule."""
    if isinstance(rule, RecaptionRule):
        return asking_captioners(rule.captioners)
    if isinstance(rule, PictureRegionRule) and rule.endpoint is not None:
        captioner = pointing(RegionSearch.of(run, rule).names)
        return [AskingPart(name=ASKING, rule=rule.endpoint, captioner=captioner)]
    return []


def _with_latest(run: Run, step: Step[Any], records: Sequence[StepRecord]) -> list[StepRecord] | None:
    """The records, and the newest of a step that is to be computed: what it may give again; None where it has none."""
    earlier = sorted(run.ledger.records(step.name), key=lambda record: record.ended)
    return [*records, earlier[-1]] if earlier else None


def _with_stored(
    run: Run, step: Step[Any], expected: Sequence[StepRecord] | None, rule: object
) -> list[StepRecord] | None:
    """The records that are expected, and the one that a step would then reuse; None where it would have none."""
    if expected is None:
        return None
    record = run.ledger.find(step.spec(run, expected, rule).key)
    return None if record is None else [*expected, record]


def _what_follows(run: Run, step: Step[Any], blocked: str, expected: Sequence[StepRecord] | None) -> tuple[str, str]:
    """Action and why of a step after one that is to be computed: what was never computed has nothing to reuse."""
    if not any(True for _ in run.ledger.records(step.name)):
        return "compute", _NEVER
    reason = f"depends on what `{blocked}` gives"
    reusable = "" if expected is None else f"; reused if that is what it gave last: {summarise_record(expected[-1])}"
    return "unknown", reason + reusable


def _why(run: Run, step: Step[Any], records: list[StepRecord], rule: object) -> str:
    """The difference from the newest run of the step, or that there is none."""
    earlier = sorted(run.ledger.records(step.name), key=lambda record: record.ended)
    if not earlier:
        return _NEVER
    spec, last = step.spec(run, records, rule), earlier[-1]
    changed = [name for name in ("version", "rule", "model", "seed") if getattr(spec, name) != getattr(last, name)]
    changed += [f"input `{name}`" for name, value in spec.inputs.items() if last.inputs.get(name) != value]
    changed += [f"input `{name}` (gone)" for name in last.inputs if name not in spec.inputs]
    return f"changed since the last run: {', '.join(changed)}" if changed else "its record is gone"


def _size_of(run: Run, record: StepRecord) -> float:
    """About how many bytes the tables of a step take on disk: a few files of each table, and how many it has."""
    files = iter(run.ledger.files(record))
    size = 0.0
    for name in record.hashes:
        of_table = list(islice(files, len(record.layout[name].parts)))
        sample = of_table[:_SAMPLE]
        size += sum(file.stat().st_size for file in sample) / max(len(sample), 1) * len(of_table)
    return size


def _to_fetch(run: Run, step: Step[Any], records: Sequence[StepRecord]) -> dict[str, int]:
    """For downloads, how many URLs were not observed yet."""
    if step.name != DOWNLOAD.name:
        return {}
    urls, workspace = each_urls(run, records), run.workspace
    return {"to_fetch": count_unrecorded(urls, workspace.downloads, workspace.exchange, bits=run.bits)}
