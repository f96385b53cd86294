"""A build as it would be by other rules: every step judged again on what was recorded, in order.

Nothing is downloaded, measured or written. Of a pair that an earlier step took out, a step that measures knows nothing:
the pair is unknown there, and goes no further. What is said of the others is exact, unless unknown pairs can move it:
`WhatIf.open` names the steps at which they can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import CannotTellError
from evenly.audit.overlay import Overlay
from evenly.audit.published import PublishedBuild
from evenly.audit.supposed import WhatIf
from evenly.curation.arrays import taken_rows
from evenly.curation.duplicates.merging import last_survivors
from evenly.curation.errors import MissingStepError
from evenly.curation.step import Given, Judged, Judgement, Reads, differing_fields
from evenly.curation.steps import STEPS
from evenly.curation.supposed import OpenStep
from evenly.curation.values.judgement import numbers
from evenly.curation.values.rule import NamedBounds
from evenly.keys import places_in
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.removal.forget import FORGOTTEN

_OF_A_RUN = {"observations", "tries", FORGOTTEN}  # inputs that other runs may have had otherwise


@dataclass(frozen=True, kw_only=True)
class SupposedStep:
    """A step that a recipe switches on: its name, its rule as the ledger stores it, and the seed that it would have."""

    name: str
    rule: Mapping[str, Any]
    seed: int


def suppose(build: PublishedBuild, steps: Sequence[SupposedStep]) -> WhatIf:
    """The build as it would be by these steps. Raises CannotTellError where a rule needs what was not recorded."""
    supposing = _Supposing(build)
    by_name = {step.name: step for step in steps}
    if unknown := [record.name for record in build.deciding if record.name not in STEPS]:
        raise CannotTellError(f"step `{unknown[0]}` must be one that this version of evenly has. Rebuild with it.")
    for name, judgement in STEPS.items():
        supposing.go_on(judgement, build.step(name), by_name.get(name))
    laid = (supposing.overlay, supposing.upstream)
    return WhatIf.of(build, laid, rules=supposing.rules, unknown=supposing.unknown, open_steps=supposing.open_steps)


def judged_alone(build: PublishedBuild, record: StepRecord, newer: StepRecord) -> pa.Table:
    """The verdicts [uid, verdict] of a step of the build by the rule and seed of another run of it, all else as it was.

    Raises CannotTellError where the rule needs what was not recorded.
    """
    judgement, supposing = STEPS[record.name], _Supposing(build)
    supposed = SupposedStep(name=record.name, rule=newer.rule, seed=int(newer.seed or 0))
    _check_fields(judgement, record.rule, supposed)
    if judgement.search is None and judgement.rejudge is None:
        raise CannotTellError(f"step `{record.name}` must be judged again by its rule; it observes. Rebuild with it.")
    supposing.judge_alone(judgement, replace(record, seed=newer.seed), supposed)
    return supposing.overlay.decisions(record, ["uid", "verdict"])


def recorded_deciles(build: PublishedBuild, field: str, bounds: Mapping[str, NamedBounds]) -> list[float]:
    """The deciles of the numbers that a field of `curate` bounds, values.NAME.min or align.min_score, as recorded.

    To four digits; none where the field is no such bound or nothing was recorded. bounds: of values, by name.
    """
    section, *names = field.split(".")
    bound = bounds.get(names[0]) if section == "values" and names[1:] in (["min"], ["max"]) else None
    if bound is not None:
        column, record = bound.column, build.giver(bound.column)
    elif names == ["min_score"]:
        steps = [name for name, step in STEPS.items() if step.section == section]
        column, record = "value", next((step for step in build.deciding if step.name in steps), None)
    else:
        return []
    if record is None:
        return []
    values = build.ledger.decisions(record, [column])[column].combine_chunks()
    values = values if bound is None else numbers(values, bound)
    values = values.filter(pc.invert(pc.is_nan(values))).drop_null()
    deciles = pc.quantile(values, [tenth / 10 for tenth in range(1, 10)]).to_pylist() if len(values) else []
    return sorted({float(f"{decile:.4g}") for decile in deciles})


class _Supposing:
    """The steps that were judged again so far.

    upstream: their records as they would be. rules: the fields of each step's rule that differ. unknown: the pairs of
    which a step knows nothing. laid: the names of steps that are not as stored.
    """

    def __init__(self, build: PublishedBuild) -> None:
        self.build = build
        self.overlay = Overlay(build.ledger)
        self.upstream = list[StepRecord]()
        self.rules = dict[str, Sequence[str]]()
        self.unknown = dict[str, pa.Array]()
        self.open_steps = list[OpenStep]()
        self.laid = set[str]()
        self.is_changed = False

    def go_on(self, judgement: Judgement, record: StepRecord | None, supposed: SupposedStep | None) -> None:
        """The next step: as it is stored as long as nothing has changed, else judged again."""
        if supposed is None:
            if record is not None:
                self.rules[judgement.name], self.is_changed = ["left out"], True
            return
        stored = {} if record is None else record.rule
        is_other = record is None or stored != supposed.rule
        if not is_other and not self.is_changed and record is not None:
            self.upstream.append(record)
            return
        if is_other:
            self.rules[judgement.name] = differing_fields(stored, supposed.rule) or ["switched on"]
            _check_fields(judgement, stored, supposed)
        self.is_changed = True
        blank = replace(
            self.build.records[0], name=judgement.name, columns=(), hashes={}, layout={}, notes={}, seed=None
        )
        self._judge(judgement, record or blank, supposed, is_other=is_other)

    def judge_alone(self, judgement: Judgement, record: StepRecord, supposed: SupposedStep) -> None:
        """One step judged again after those before it as they are stored."""
        self.upstream = list(self._stored_before(record))
        self._judge(judgement, record, supposed, is_other=True)

    def _stored_before(self, record: StepRecord) -> Sequence[StepRecord]:
        names = [step.name for step in self.build.records]
        return self.build.records[: names.index(record.name)]

    def _judge(self, judgement: Judgement, record: StepRecord, supposed: SupposedStep, *, is_other: bool) -> None:
        rule, name = judgement.stored_rule(supposed.rule), record.name
        uids = self.overlay.alive(self.upstream, [])["uid"].combine_chunks()
        if judgement.measures(self.upstream, rule):
            uids = self._measured(judgement, record, supposed, uids, rule)
        elif not is_other and self._stands(judgement, record, rule, uids):
            self.upstream.append(record)
            return
        self.laid.add(name)
        inputs = Given(
            record=record,
            upstream=self.upstream,
            rule=rule,
            seed=supposed.seed if record.seed is None else int(record.seed),
            notes=record.notes,
            reads=() if judgement.reads is None else judgement.reads(self.upstream, rule),
            tables=self.overlay,
            each=lambda _, function: [function(self.overlay)],
            features=partial(self._features, record.model),
        )
        open_step = judgement.search or judgement.rejudge
        if open_step is None:  # what was observed stands
            self._note_open(judgement, supposed, rule, None)
            self.upstream.append(record)
            return
        try:
            with open_step(inputs) as rejudging:
                judged = rejudging.judge(self.overlay)
                partials = [] if judged.partial is None else [judged.partial]
                totals = {} if rejudging.totals is None else rejudging.totals(partials)
        except (MissingStepError, KeyError) as error:
            raise CannotTellError(f"step `{name}` must have been recorded with what it needs; {error}.") from None
        self._note_open(judgement, supposed, rule, judged)
        self.upstream.append(self.overlay.lay_judged(record, judged, totals))

    def _measured(
        self,
        judgement: Judgement,
        record: StepRecord,
        supposed: SupposedStep,
        uids: pa.Array,
        rule: Any,  # noqa: ANN401 - of its own class
    ) -> pa.Array:
        """The pairs of which the step's values are recorded, which are laid; of the others nothing more is known."""
        runs = self._runs(judgement, record, supposed)
        if not runs:
            raise CannotTellError(
                f"step `{record.name}` must have been run in this workspace, since its values are measured; it "
                "was not. Rebuild with it."
            )
        measured = uids
        if record.hashes and judgement.grouped(supposed.rule):
            measured = measured.filter(pc.invert(pc.is_in(measured, self._regrouped(record))))
        reads = judgement.measured_of or judgement.reads
        alike = None if reads is None else partial(self._come_alike, reads, rule)
        rows = self.overlay.stored_rows(runs, measured, alike)
        self.overlay.lay(record, rows)
        judged = rows["decisions"]["uid"].combine_chunks()
        if len(judged) < len(uids):
            self.unknown[record.name] = uids.filter(places_in(uids, judged).is_null())
            self.overlay.only = judged
        return judged

    def _runs(self, judgement: Judgement, record: StepRecord, supposed: SupposedStep) -> list[StepRecord]:
        """The runs whose values are those that the step would measure: the build's own first, then the newest."""
        recorded = [record] if record.hashes else []
        if judgement.grouped(supposed.rule) or judgement.fitted(supposed.rule):
            return recorded

        def measured_alike(run: StepRecord) -> bool:
            if judgement.fixed(run.rule, supposed.rule) or "decisions" not in run.hashes:
                return False
            if not recorded:
                return True
            alike = all(getattr(run, name) == getattr(record, name) for name in ("version", "model", "seed"))
            return alike and self._own_inputs(run) == self._own_inputs(record)

        further = [run for run in self.overlay.records(record.name) if run.key != record.key and measured_alike(run)]
        return recorded + sorted(further, key=lambda run: run.ended, reverse=True)

    def _own_inputs(self, record: StepRecord) -> dict[str, str]:
        """Inputs of a step besides the steps before it, and those that depend on the pairs."""
        outside = {*STEPS, *(step.name for step in self.build.records), *_OF_A_RUN}
        return {name: value for name, value in record.inputs.items() if name not in outside}

    def _stands(self, judgement: Judgement, record: StepRecord, rule: Any, uids: pa.Array) -> bool:  # noqa: ANN401 - of its own class
        """Whether what the step has stored holds, by the same rule, for the pairs that now come.

        Of a step that judges each row by itself also where it judged more; the rows of these are then laid.
        """
        if judgement.search is not None:
            return bool(self.overlay.decisions(record, ["uid"])["uid"].combine_chunks().equals(uids))
        if judgement.reads is None or judgement.of_all(rule):
            return False
        givers = [self._giver(column) for column in judgement.reads(self.upstream, rule)]
        rows = self.overlay.stored_rows([record], uids) if self.laid.isdisjoint(givers) else {}
        if not rows or len(rows["decisions"]) < len(uids):
            return False
        self.overlay.lay(record, rows)
        self.laid.add(record.name)
        return True

    def _giver(self, column: str) -> str:
        return next((record.name for record in reversed(self.upstream) if column in record.columns), "")

    def _come_alike(self, reads: Reads, rule: Any, run: StepRecord, uids: pa.Array) -> pa.BooleanArray:  # noqa: ANN401 - of its own class
        """Whether each pair comes with the values that it had in a run of the step, in the columns that this reads."""
        stored = self._before(run)
        if stored is None:
            return pa.repeat(pa.scalar(False), len(uids))
        outputs = {record.name: record.output_hash for record in stored}
        shared = {record.name for record in self.upstream if outputs.get(record.name) == record.output_hash} - self.laid
        alike = pa.repeat(pa.scalar(True), len(uids))
        for name, stored_name in zip(reads(self.upstream, rule), reads(stored, rule), strict=True):
            if name == stored_name and self._giver(name) in shared:
                continue
            values = [
                taken_rows(ledger.alive(upstream, [column]), uids)[column].combine_chunks()
                for ledger, upstream, column in (
                    (self.overlay, self.upstream, name),
                    (self.build.ledger, stored, stored_name),
                )
            ]
            equal = pc.or_(pc.fill_null(pc.equal(*values), False), pc.and_(*map(pc.is_null, values)))
            alike = pc.and_(alike, equal)
        return alike

    def _before(self, run: StepRecord) -> Sequence[StepRecord] | None:
        """The steps before a run of a step; None where one is not stored any more."""
        records = [self._outputs.get(of_step) for of_step in run.inputs.items() if of_step[0] in STEPS]
        return None if None in records else [record for record in records if record is not None]

    @cached_property
    def _outputs(self) -> Mapping[tuple[str, str], StepRecord]:
        """A run of each step by each of its outputs: the build's own, else the newest."""
        runs = sorted(self.overlay.records(), key=lambda run: run.ended)
        return {(run.name, run.output_hash): run for run in (*runs, *self.build.records)}

    def _regrouped(self, record: StepRecord) -> pa.Array:
        """The pairs into which other pairs are merged than were in the build."""
        names = {name for name, step in STEPS.items() if step.search is not None}
        stored = self._stored_before(record)
        groups, stored_groups = (
            _merged(ledger, [merging for merging in records if merging.name in names])
            for ledger, records in ((self.overlay, self.upstream), (self.build.ledger, stored))
        )
        return pa.array(sorted({survivor for _, survivor in groups ^ stored_groups}), pa.string())

    def _features(self, model: str | None, kind: Literal["images", "texts"], names: pa.Array) -> np.ndarray:
        model = model or next(record.model for record in self.upstream if record.model is not None)
        store, different = FeatureStore(self.build.workspace, model, kind), names.unique()
        ids = different if kind == "images" else [text_id(text) for text in different.to_pylist()]
        rows: np.ndarray = store.read(ids)[0][pc.index_in(names, different).to_numpy()]
        return rows

    def _note_open(self, judgement: Judgement, supposed: SupposedStep, rule: Any, judged: Judged | None) -> None:  # noqa: ANN401 - of its own class
        """Note where unknown pairs can move what was judged, or what the step fits to all pairs would be another."""
        unknown = sum(map(len, self.unknown.values()))
        if judged is not None and unknown and judgement.of_all(rule):
            moved = None if judgement.moved is None else judgement.moved(rule, judged, unknown)
            self.open_steps.append(OpenStep(step=judgement.name, pairs=unknown, moved=moved))
        if self.rules.keys() - {judgement.name} and (fitted := judgement.fitted(supposed.rule)):
            self.open_steps.append(OpenStep(step=judgement.name, pairs=unknown, fitted=fitted))


def _check_fields(judgement: Judgement, stored: Mapping[str, Any], supposed: SupposedStep) -> None:
    if fixed := judgement.fixed(stored, supposed.rule):
        raise CannotTellError(
            f"`{judgement.section or judgement.name}` must keep {', '.join(sorted(fixed))}, since the recorded values "
            f"of step `{judgement.name}` were measured by that; it differs from the build. Rebuild to see what that "
            "changes."
        )


def _merged(ledger: Ledger, records: Sequence[StepRecord]) -> set[tuple[str, str]]:
    """Each merged pair, and the one in which it ended."""
    is_merged = pc.field("verdict") == "merged"
    tables = [ledger.decisions(record, ["uid", "into"], is_merged) for record in records]
    empty = pa.table({name: pa.array([], pa.string()) for name in ("uid", "into")})
    merged = pa.concat_tables([empty, *tables])
    return set(zip(merged["uid"].to_pylist(), last_survivors(merged).to_pylist(), strict=True))
