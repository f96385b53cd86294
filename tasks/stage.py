"""Stages: steps in a row that work on each partition alone, done for a partition by one task.

Each step of a stage writes its own tables of a partition and a record of these, so that a run which was stopped, or
whose pool has changed in part, takes over the partitions that are the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa

from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.records import content_hash
from evenly.storage.step_records import StoredPart, TableLayout
from evenly.storage.tables.partitions import Partition, key_of
from evenly.tasks.engine import InProcess
from evenly.tasks.moves import Each, Moves, Records, together, uses_model
from evenly.tasks.row_reuse import EarlierRun, earlier_runs, find_reusable, joined_output
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """A step of a stage: its moves, its rule and what it knows of all pairs.

    spec: without the inputs that are the tables of steps in the same stage. shared: what it gives beside partitions.
    reads: the columns that a verdict depends on, where rows may be taken over from `earlier` runs.
    """

    moves: Moves[Any]
    rule: Any
    facts: Any
    spec: StepSpec
    shared: StepOutput
    reads: Callable[[Records, Any], Sequence[str]] | None
    earlier: Sequence[EarlierRun]

    @property
    def name(self) -> str:
        """The step's name."""
        return self.spec.name

    def key(self, upstream: Records, partition: Partition) -> str:
        """What the step's result for a partition depends on; with facts about all pairs, all of these."""
        inputs = dict(self.spec.inputs)
        if not self.moves.has_facts:
            inputs |= {record.name: _hash_in(record, partition) for record in upstream}
        spec = replace(self.spec, inputs=inputs)
        return content_hash({"step": spec.key, "bits": partition.bits, "part": partition.number})

    def record_of(self, part: StoredPart, partition: Partition) -> StepRecord:
        """The part as a record, for the steps after it in the same partition."""
        digests = {name: table.digest for name, table in part.tables.items()}
        number = str(partition.number)
        return StepRecord(
            key="",
            **vars(self.spec),
            output_hash=part.output_hash,
            hashes=digests,
            layout={name: TableLayout(bits=partition.bits, parts={number: digests[name]}) for name in digests},
            **vars(part.tally),
            code={},
            started="",
            ended="",
            flow_run_id=None,
        )


def judged_output(run: Run, step: StageStep, upstream: Records) -> tuple[StepOutput, dict[str, int]]:
    """What a step gives for the rows of a run, and how many were computed and taken over, where some were."""
    reusable = None
    if step.reads is not None:
        reusable = find_reusable(run.ledger, step.earlier, upstream, step.reads(upstream, step.rule))
    if reusable is None:
        return step.moves.judge(run, upstream, step.rule, step.facts), step.moves.work(run, step.facts)
    fresh = None
    if len(reusable.left):
        fresh = step.moves.judge(replace(run, only=reusable.left), upstream, step.rule, step.facts)
    return _of_rows(joined_output(run.ledger, reusable, fresh)), reusable.work


def run_stage(
    run: Run, each: Each, steps: Sequence[StageStep], upstream: Records, *, started: datetime, flow_run_id: str | None
) -> list[tuple[StepRecord, float]]:
    """The records of the steps, when all partitions are done, and the seconds of work in them, over all workers."""
    title = ", ".join(step.name for step in steps)
    prepared_s = (datetime.now(UTC) - started).total_seconds() * each.n_workers
    done = each.partitions(
        title, JudgePartition(steps=[replace(step, shared=StepOutput()) for step in steps], upstream=upstream)
    )
    records, seconds = list[StepRecord](), list[float]()
    for number, step in enumerate(steps):
        parts = [of_partition[number] for of_partition in done]
        partials = run.ledger.partials(step.name, parts)
        finished = step.moves.finish(run, (*upstream, *records), step.rule, step.facts, partials)
        inputs = dict(step.spec.inputs) | {record.name: record.output_hash for record in (*upstream, *records)}
        record = run.ledger.commit_parts(
            replace(step.spec, inputs=inputs), parts, together(step.shared, finished),
            started=started, seconds=_seconds_of_all(parts, 0.0 if number else prepared_s), flow_run_id=flow_run_id,
        )  # fmt: skip
        records.append(record)
        seconds.append(sum(part.seconds for part in parts))
    return list(zip(records, seconds, strict=True))


@dataclass(frozen=True, kw_only=True)
class JudgePartition:
    """The work of one partition: every step of the stage, each taken over where it is stored."""

    steps: Sequence[StageStep]
    upstream: Records

    @property
    def uses_model(self) -> bool:
        """Whether an encoder is loaded for the work; others of a step with a model only read what it gave."""
        return any(uses_model(step.moves.judge) for step in self.steps)

    def __call__(self, run: Run) -> list[StoredPart]:
        """What each step gave for the partition of the run."""
        records, parts = list(self.upstream), []
        for step in self.steps:
            part = _judged_part(run, step, records)
            parts.append(part)
            records.append(step.record_of(part, run.part))
        return parts


def _judged_part(run: Run, step: StageStep, upstream: Records) -> StoredPart:
    ledger = run.ledger
    key = step.key(upstream, run.part)
    stored = ledger.find_part(key, step.name)
    if stored is not None:
        return replace(stored, seconds=0.0)
    started = datetime.now(UTC)
    output, work = judged_output(run, step, upstream)
    uids = uids_before(ledger, upstream, output)
    return ledger.store_part(key, step.name, output, uids=uids, started=started, work=work)


def uids_before(ledger: Ledger, upstream: Records, output: StepOutput) -> pa.Array | None:
    """The rows that a step had to judge; None where it judges none, or is the first to give uids."""
    if not upstream or output.decisions is None:
        return None
    return ledger.alive(upstream, [])["uid"].combine_chunks()


class StepInMoves(Protocol):
    """A step that works on partitions: see evenly.tasks.step.Step."""

    @property
    def moves(self) -> Moves[Any] | None:
        """What it does."""

    @property
    def reads(self) -> Callable[[Records, Any], Sequence[str]] | None:
        """The columns that a verdict depends on."""

    @property
    def resume(self) -> Callable[..., StepOutput] | None:
        """Set where rows depend on each other, so that none is taken over alone."""


def stage_step(
    run: Run,
    step: StepInMoves,
    rule: Any,  # noqa: ANN401 - of any step
    spec: StepSpec,
    *,
    upstream: Records,
    names: Sequence[str],
    each: Each,
) -> StageStep:
    """Find out what a step must know of all pairs before its partitions can be judged.

    names: of all steps before it, those of the same stage included, which are not in `upstream` yet.
    """
    if step.moves is None:
        raise TypeError(f"step `{spec.name}` must work in moves")
    earlier = [] if step.reads is None else earlier_runs(run.ledger, spec, names)
    if step.reads is not None and step.moves.resume is not None and earlier:
        facts = step.moves.resume(run, upstream, rule, each, earlier[0], step.reads(upstream, rule))
    else:
        facts = step.moves.resolve(run, upstream, rule, each)
    reads = None if step.resume is not None else step.reads
    return StageStep(
        moves=step.moves,
        rule=rule,
        facts=facts,
        spec=spec,
        shared=step.moves.shared(run, upstream, rule, facts),
        reads=reads,
        earlier=[] if reads is None else earlier,
    )


def compute_whole(moves: Moves[Any], run: Run, upstream: Records, rule: Any) -> StepOutput:  # noqa: ANN401 - of any step
    """What a step in moves gives for all pairs of a run in one partition."""
    facts = moves.resolve(run, upstream, rule, InProcess(run=run))
    try:
        output = moves.judge(run, upstream, rule, facts)
        partials = [] if output.partial is None else [output.partial]
        shared, finished = moves.shared(run, upstream, rule, facts), moves.finish(run, upstream, rule, facts, partials)
    finally:
        moves.release(facts)
    return together(output, shared, finished)


def _seconds_of_all(parts: Sequence[StoredPart], prepared_s: float) -> float | None:
    """Seconds of work on all partitions, by those that this run worked on and their rows; None where it did on none."""
    fresh = [part for part in parts if part.seconds]
    rows, fresh_rows = (sum(part.tally.rows_in for part in chosen) for chosen in (parts, fresh))
    share = fresh_rows / rows if rows else len(fresh) / len(parts)
    return sum(part.seconds for part in fresh) / share + prepared_s if share else None


def _of_rows(output: StepOutput) -> StepOutput:
    """The output without the tables that are the same for all rows."""
    tables: Mapping[str, pa.Table] = {
        name: table for name, table in output.tables.items() if key_of(table.column_names) is not None
    }
    return replace(output, tables=tables)


def _hash_in(record: StepRecord, partition: Partition) -> str:
    """The hash of what a step gave for a partition; of all pairs, where its tables are cut in another way."""
    if not record.key:
        return record.output_hash
    hashes = {}
    for name in record.hashes:
        layout = record.layout_of(name)
        is_cut = layout.bits == partition.bits and partition.bits > 0
        hashes[name] = layout.digest(partition.number) if is_cut else record.hashes[name]
    return content_hash({"tables": hashes})
