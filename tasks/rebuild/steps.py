"""The steps of a rebuild, one after the other: each whole, or in stages over partitions."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from evenly.storage.ledger import StepRecord
from evenly.tasks.moves import Each, Records
from evenly.tasks.rebuild.collect import COLLECT, check_labels
from evenly.tasks.run import Run
from evenly.tasks.stage import StageStep, run_stage, stage_step
from evenly.tasks.step import Step, announced, flow_run_id, run_step, stored_record

Steps = Sequence[tuple[Step[Any], Any]]


def run_steps(
    run: Run, steps: Steps, each: Each, record: Callable[[Run, Step[Any], Records, Any], StepRecord] = run_step
) -> tuple[StepRecord, ...]:
    """The records of the steps; `each` works on partitions where the run has several, `record` on whole steps."""
    records: tuple[StepRecord, ...] = ()
    while len(records) < len(steps):
        left = steps[len(records) :]
        step, rule = left[0]
        if run.bits and step.moves is not None:
            records = (*records, *_staged(run, left, records, each))
        else:
            records = (*records, record(run, step, records, rule))
        if step is COLLECT:
            check_labels(run, records[0], rule)
    return records


def _staged(run: Run, left: Steps, upstream: Records, each: Each) -> Sequence[StepRecord]:
    """The records of the first steps of those that are left: of one that is stored, or of a stage."""
    started, (step, rule) = datetime.now(UTC), left[0]
    spec = step.spec(run, upstream, rule)
    if step.observes and (run.retry_failed or run.ledger.find(spec.key) is None):
        step.observe(run, upstream, rule, each)
        spec = step.spec(run, upstream, rule)
    if (stored := stored_record(run, spec)) is not None:
        return [stored]
    names = [record.name for record in upstream]
    stage = [stage_step(run, step, rule, spec, upstream=upstream, names=names, each=each)]
    try:
        _extend(run, stage, left, upstream, each)
        before = (datetime.now(UTC) - started).total_seconds()
        done = run_stage(run, each, stage, upstream, started=started, flow_run_id=flow_run_id())
    finally:
        for member in stage:
            member.moves.release(member.facts)
    wall = (datetime.now(UTC) - started).total_seconds()
    title = ", ".join(member.name for member in stage)
    run.progress.say(f"{1 << run.bits} partitions in {wall:.1f} s of wall time: {title}; below, seconds of work")
    return [announced(run, record, seconds + (0 if n else before)) for n, (record, seconds) in enumerate(done)]


def _extend(run: Run, stage: list[StageStep], left: Steps, upstream: Records, each: Each) -> None:
    """Add the steps to a stage that need no facts about all pairs."""
    names = [*(record.name for record in upstream), stage[0].name]
    for further, further_rule in left[1:]:
        if further.moves is None or further.moves.has_facts:
            return
        spec = further.spec(run, upstream, further_rule)
        stage.append(stage_step(run, further, further_rule, spec, upstream=upstream, names=names, each=each))
        names.append(stage[-1].name)
