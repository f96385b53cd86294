"""What a step gives, without a ledger: of all pairs of a run in one partition."""

from typing import Any

from evenly.storage.ledger import StepOutput
from evenly.tasks.engine import InProcess
from evenly.tasks.run import Records, Run
from evenly.tasks.stage import together
from evenly.tasks.step import Step


def output_of(step: Step[Any], run: Run, upstream: Records, rule: object) -> StepOutput:
    """What a step that needs no partition of its own to be stored gives."""
    facts = step.resolve(run, upstream, rule, InProcess(run=run))
    try:
        output = step.judge(run, upstream, rule, *([facts] if step.has_facts else []))
        partials = [] if output.partial is None else [output.partial]
        finished = step.finish(run, upstream, rule, facts, partials)
        return together(output, step.shared(run, upstream, rule, facts), finished)
    finally:
        step.release(facts)
