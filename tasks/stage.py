"""Running steps: each is taken from the ledger where its result is there, else computed and committed.

A step finds out what it must know of all pairs, judges every partition by it, and sums up what partitions give to the
whole. Of a run in one partition rows are exchanged in memory, and the step's record is the only one. In several, steps
in a row that need no facts about all pairs are a stage: a partition is judged by all of them in one task, and each
writes its own tables of a partition and a record of these, so that a run which was stopped, or whose pool has changed
in part, takes over the partitions that are the same.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from evenly.keys import one_array
from evenly.redaction import errors_without_secrets
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.lineage.emitter import stage_events
from evenly.storage.records import content_hash
from evenly.storage.step_records import StoredPart, TableLayout
from evenly.storage.tables.partitions import Partition, key_of
from evenly.tasks.engine import InProcess
from evenly.tasks.row_reuse import EarlierRun, Reusable, earlier_runs, find_reusable, joined_output
from evenly.tasks.run import Each, Records, Run, uses_model
from evenly.tasks.server.api import as_part, opaque, run_id
from evenly.tasks.step import RuleT, Step, announced, each_for, run_for, stored_record

Steps = Sequence[tuple[Step[Any], Any]]


def run_step(run: Run, step: Step[RuleT], upstream: Records, rule: RuleT) -> StepRecord:
    """The record of a step: the stored one if its key is known, else a new one."""
    return run_steps(run, [(step, rule)], InProcess(run=run), upstream)[-1]


def run_steps(run: Run, steps: Steps, engine: Each, upstream: Records = ()) -> tuple[StepRecord, ...]:
    """The records of `upstream`, and of the steps after these; `engine` works on the partitions.

    In a flow each stage is a task of Prefect's, with an edge from the one whose pairs it judges.
    """
    records, first, stages = tuple(upstream), len(upstream), list[list[StepRecord]]()
    while left := steps[len(records) - first :]:
        name, stage = left[0][0].name, opaque((run, engine, left, records))
        with stage_events(name, records) as completed:
            done = as_part("{name}", _run_stage)(name, stage, records[-1:])
            completed(done)
        stages.append(done)  # kept: Prefect knows results by their ids, which would else be given again: false edges
        for (step, rule), record in zip(left, done, strict=False):
            step.review(run, record, rule)
        records = (*records, *done)
    return records


@errors_without_secrets()
def _run_stage(name: str, stage: tuple[Run, Each, Steps, Records], previous: Records) -> list[StepRecord]:  # noqa: ARG001 - names the task, and gives it its edge
    """The records of the first steps of those that are left: of one that is stored, or of a stage."""
    run, engine, left, upstream = stage
    started, (step, rule) = datetime.now(UTC), left[0]
    spec = step.spec(run, upstream, rule)
    if step.observes and (run.ledger.find(spec.key) is None or step.is_due(run, upstream)):
        step.observe(run, upstream, rule, engine)
        spec = step.spec(run, upstream, rule)
    if (stored := stored_record(run, spec)) is not None:
        return [stored]
    members = list[StageStep]()
    with ExitStack() as stack:
        for step, rule in left:
            if members:
                if step.has_facts or not run.bits:
                    break
                spec = step.spec(run, upstream, rule)
            names = [*(record.name for record in upstream), *(member.spec.name for member in members)]
            earlier = [] if step.reads is None else earlier_runs(run.ledger, spec, names)
            if earlier and step.reads is not None and step.resume is not None:
                reads = step.reads(upstream, rule)
                facts = step.resume(run_for(run, rule), upstream, rule, each_for(engine, rule), earlier[0], reads)
            else:
                facts = step.resolve(run_for(run, rule), upstream, rule, each_for(engine, rule))
            stack.callback(step.release, facts)
            members.append(StageStep(step=step, rule=rule, facts=facts, spec=spec, earlier=earlier))
        if not run.bits:
            (member,) = members
            chosen, reusable = member.to_judge(run, upstream)
            fresh = None if chosen is None else member.step.judge(chosen, upstream, *member.judged_by)
            output, work = member.of_all(run, reusable, fresh)
            partials = [] if output.partial is None else [output.partial]
            arguments = (run_for(run, member.rule), upstream, member.rule, member.facts)
            combined = together(output, member.step.shared(*arguments), member.step.finish(*arguments, partials))
            uids = _uids_before(run.ledger, upstream, output)
            record = run.ledger.commit(spec, combined, uids=uids, started=started, flow_run_id=run_id(), work=work)
            return [announced(run, record, _seconds_since(started))]
        prepared_s = _seconds_since(started)
        done = _records_of_parts(run, engine, members, upstream, started)
    title = ", ".join(member.spec.name for member in members)
    wall = f"{1 << run.bits} partitions in {_seconds_since(started):.1f} s of wall time"
    run.progress.say(f"{wall}: {title}; below, seconds of work")
    return [announced(run, record, seconds + (0 if n else prepared_s)) for n, (record, seconds) in enumerate(done)]


def _seconds_since(started: datetime) -> float:
    return (datetime.now(UTC) - started).total_seconds()


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """A step with its rule, what it knows of all pairs, and what it may take over.

    spec: without the inputs that are the tables of steps in the same stage. earlier: runs by the same rule.
    """

    step: Step[Any]
    rule: Any
    facts: Any
    spec: StepSpec
    earlier: Sequence[EarlierRun]

    @property
    def uses_model(self) -> bool:
        """Whether an encoder is loaded to judge; others of a step with a model only read what it gave."""
        return uses_model(self.step.judge)

    def key(self, upstream: Records, partition: Partition) -> str:
        """What the step's result for a partition depends on; with facts about all pairs, all of these."""
        inputs = dict(self.spec.inputs)
        if not self.step.has_facts:
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

    @property
    def judged_by(self) -> tuple[Any, ...]:
        """The rule, and the facts about all pairs where there are any, as `judge` takes them."""
        return (self.rule, self.facts) if self.step.has_facts else (self.rule,)

    def to_judge(self, run: Run, upstream: Records) -> tuple[Run | None, Reusable | None]:
        """The run of the rows that are to be judged, None where there are none, and what is taken over of others."""
        run, reusable = run_for(run, self.rule), None
        if self.step.reads is not None and self.step.resume is None:
            reusable = find_reusable(run.ledger, self.earlier, upstream, self.step.reads(upstream, self.rule))
        if reusable is None:
            return run, None
        return (replace(run, only=reusable.left) if len(reusable.left) else None), reusable

    def of_all(
        self, run: Run, reusable: Reusable | None, fresh: StepOutput | None
    ) -> tuple[StepOutput, dict[str, int]]:
        """The output for all rows of a run, and how many were computed and taken over, where some were.

        Of rows that are taken over, without the tables that are the same for all rows.
        """
        if reusable is None:
            return fresh or StepOutput(), self.step.work(run, self.facts)
        output = joined_output(run.ledger, reusable, fresh)
        of_rows = {name: table for name, table in output.tables.items() if key_of(table.column_names) is not None}
        return replace(output, tables=of_rows), reusable.work


def _records_of_parts(
    run: Run, engine: Each, stage: Sequence[StageStep], upstream: Records, started: datetime
) -> list[tuple[StepRecord, float]]:
    """The records of the steps, when all partitions are done, and the seconds of work in them, over all workers."""
    title = ", ".join(member.spec.name for member in stage)
    prepared_s = _seconds_since(started) * engine.n_workers
    done = engine.partitions(title, partial(_judge_partition, stage, upstream))
    records, seconds = list[StepRecord](), list[float]()
    for number, member in enumerate(stage):
        parts = [of_partition[number] for of_partition in done]
        partials, earlier = run.ledger.partials(member.spec.name, parts), (*upstream, *records)
        arguments = (run_for(run, member.rule), earlier, member.rule, member.facts)
        summed = together(member.step.shared(*arguments), member.step.finish(*arguments, partials))
        inputs = dict(member.spec.inputs) | {record.name: record.output_hash for record in earlier}
        record = run.ledger.commit_parts(
            replace(member.spec, inputs=inputs), parts, summed,
            started=started, seconds=_seconds_of_all(parts, 0.0 if number else prepared_s), flow_run_id=run_id(),
        )  # fmt: skip
        records.append(record)
        seconds.append(sum(part.seconds for part in parts))
    return list(zip(records, seconds, strict=True))


def _judge_partition(stage: Sequence[StageStep], upstream: Records, run: Run) -> list[StoredPart]:
    """What each step of a stage gave for the partition of a run, taken over where it is stored."""
    records, parts = list(upstream), []
    for member in stage:
        key, name = member.key(records, run.part), member.spec.name
        if (part := run.ledger.find_part(key, name)) is not None:
            part = replace(part, seconds=0.0)
        else:
            started = datetime.now(UTC)
            chosen, reusable = member.to_judge(run, records)
            fresh = None if chosen is None else member.step.judge(chosen, records, *member.judged_by)
            output, work = member.of_all(run, reusable, fresh)
            uids = _uids_before(run.ledger, records, output)
            part = run.ledger.store_part(key, name, output, uids=uids, started=started, work=work)
        parts.append(part)
        records.append(member.record_of(part, run.part))
    return parts


def _uids_before(ledger: Ledger, upstream: Records, output: StepOutput) -> pa.Array | None:
    """The rows that a step had to judge; None where it judges none, or is the first to give uids."""
    if not upstream or output.decisions is None:
        return None
    return one_array(ledger.alive(upstream, [])["uid"])


def together(*outputs: StepOutput) -> StepOutput:
    """One output of several that give different tables; later notes go over earlier ones."""
    tables, notes = dict[str, pa.Table](), dict[str, Any]()
    decisions = judged = None
    for output in outputs:
        tables |= dict(output.tables)
        notes |= dict(output.notes)
        decisions = output.decisions if decisions is None else decisions
        judged = output.judged if judged is None else judged
    return StepOutput(decisions=decisions, tables=tables, judged=judged, notes=notes)


def _seconds_of_all(parts: Sequence[StoredPart], prepared_s: float) -> float | None:
    """Seconds of work on all partitions, by those that this run worked on and their rows; None where it did on none."""
    fresh = [part for part in parts if part.seconds]
    rows, fresh_rows = (sum(part.tally.rows_in for part in chosen) for chosen in (parts, fresh))
    share = fresh_rows / rows if rows else len(fresh) / len(parts)
    return sum(part.seconds for part in fresh) / share + prepared_s if share else None


def _hash_in(record: StepRecord, partition: Partition) -> str:
    """The hash of what a step gave for a partition; of all pairs, where its tables are cut in another way."""
    if not record.key:
        return record.output_hash
    hashes = {}
    for name in record.hashes:
        layout = record.layout[name]
        is_cut = layout.bits == partition.bits and partition.bits > 0
        hashes[name] = layout.digest(partition.number) if is_cut else record.hashes[name]
    return content_hash({"tables": hashes})
