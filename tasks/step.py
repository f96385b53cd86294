"""One step, run as a Prefect task: taken from the ledger where its result is there, else computed and committed."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Generic, TypeVar

from evenly.curation.step import Reads
from evenly.curation.steps import STEPS
from evenly.redaction import errors_without_secrets
from evenly.storage.errors import DamagedError
from evenly.storage.ledger import StepOutput, StepRecord, StepSpec
from evenly.storage.stored_fields import stored_fields
from evenly.tasks.engine import InProcess
from evenly.tasks.moves import Each, Moves, together
from evenly.tasks.row_reuse import Reusable, earlier_runs, find_reusable, joined_output
from evenly.tasks.run import Run
from evenly.tasks.stage import compute_whole, judged_output, stage_step, uids_before


class NothingLeftError(RuntimeError):
    """A step kept no pair, so there is nothing to go on with."""


WORRYING_SHARE = 0.2
"""A step that fails on more of its rows is logged as a warning."""
Records = Sequence[StepRecord]
RuleT = TypeVar("RuleT")


@dataclass(frozen=True, kw_only=True)
class NoRule:
    """The rule of a step that has nothing to choose."""


def plain_rule(rule: object) -> dict[str, Any]:
    """All fields of a rule as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(rule)))  # type: ignore[call-overload]
    return plain


def _no_inputs(_run: Run, _upstream: Records, _rule: object) -> dict[str, str]:
    return {}


def _no_model(_run: Run, _rule: object) -> str | None:
    return None


def _nothing_to_check(_run: Run, _rule: object) -> None:
    return None


def _nothing_to_observe(_run: Run, _upstream: Records, _rule: object, _each: Each) -> None:
    return None


def _nothing(_run: Run, _upstream: Records, _rule: object) -> StepOutput:
    return StepOutput()


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a class
    """A function that reads stored rules of a dataclass, and refuses fields that it does not have."""
    from pydantic import ConfigDict, create_model

    holder = create_model("Stored", __config__=ConfigDict(extra="forbid"), rule=(kind, ...))
    return lambda stored: holder.model_validate({"rule": stored}).rule  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Step(Generic[RuleT]):
    """A step of a rebuild: its name and version, the class of its rule, and how to compute it.

    stored: the rule as the ledger stores it; the step's key hangs on it.
    load: the rule out of what is stored; None: its fields are those of the rule.
    compute: from the run, the records before it and its rule, what it found, of all pairs at once.
    moves: in place of `compute`, for a step that works on each partition of the pairs alone; beside it, for a step that
        works on a single partition as `compute` says, with an equal result.
    observe: records what can only be observed (downloads), before the key is made; the result is a pure function of
        what was recorded.
    inputs: content hashes of what it reads besides the steps before it (files, observations).
    model: identity of the model that it uses.
    ready: raises where files or packages that it needs are not there; asked before the first step runs.
    seeded: True where it draws.
    resume: computes all rows from what an earlier run found of those that are the same, where rows depend on each other
        and `reads` names what that depends on.
    version: raise it whenever the same inputs would now give another result.
    """

    name: str
    rule: type[RuleT]
    compute: Callable[[Run, Records, RuleT], StepOutput] = _nothing
    moves: Moves[RuleT] | None = None
    stored: Callable[[RuleT], dict[str, Any]] = stored_fields
    load: Callable[[Mapping[str, Any]], RuleT] | None = None
    version: int = 1
    observe: Callable[[Run, Records, RuleT, Each], None] = _nothing_to_observe
    inputs: Callable[[Run, Records, RuleT], dict[str, str]] = _no_inputs
    model: Callable[[Run, RuleT], str | None] = _no_model
    ready: Callable[[Run, RuleT], None] = _nothing_to_check
    seeded: bool = False
    resume: Callable[[Run, Records, RuleT, Reusable], StepOutput] | None = None

    def __post_init__(self) -> None:
        if self.moves is not None and self.compute is _nothing:
            object.__setattr__(self, "compute", partial(compute_whole, self.moves))

    @property
    def single(self) -> Moves[RuleT] | None:
        """What it does with the pairs of a single partition: its moves, unless `compute` says how."""
        is_moved = isinstance(self.compute, partial) and self.compute.func is compute_whole
        return self.moves if is_moved else None

    @property
    def reads(self) -> Reads | None:
        """The columns of a pair that its verdict depends on, as its judgement says."""
        judgement = STEPS.get(self.name)
        return None if judgement is None else judgement.reads

    @property
    def observes(self) -> bool:
        """Whether there is anything to be observed before the key is made."""
        return self.observe is not _nothing_to_observe

    def spec(self, run: Run, upstream: Records, rule: RuleT) -> StepSpec:
        """Everything that the result depends on."""
        return StepSpec(
            name=self.name,
            version=self.version,
            rule=self.stored(rule),
            inputs={record.name: record.output_hash for record in upstream} | self.inputs(run, upstream, rule),
            model=self.model(run, rule),
            seed=run.seed if self.seeded else None,
        )

    def read(self, stored: Mapping[str, Any]) -> RuleT:
        """The rule that a record of this step stores. Raises DamagedError where this version knows no such rule."""
        kind: Any = self.rule
        load = self.load or _reader(kind)
        try:
            rule: RuleT = load(dict(stored))
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(
                f"the rule of step `{self.name}` must be one that this version knows; {error}. Run the step again."
            ) from None
        return rule


def check_ready(run: Run, steps: Sequence[tuple[Step[Any], Any]]) -> None:
    """Raise where something is not there that a step will need: sooner than after hours of downloads."""
    for step, rule in steps:
        step.ready(run, rule)


def run_step(run: Run, step: Step[RuleT], upstream: Records, rule: RuleT) -> StepRecord:
    """`record_step` as a Prefect task."""
    return _prefect_task()(run, step, upstream, rule)


@cache
def _prefect_task() -> Callable[[Run, Step[Any], Records, Any], StepRecord]:
    """The task; made when a step runs, so that commands which run none load no Prefect."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    named = task(name="run_step", task_run_name="{step.name}", cache_policy=NO_CACHE, persist_result=False)
    return named(record_step)


@errors_without_secrets()
def record_step(run: Run, step: Step[RuleT], upstream: Records, rule: RuleT) -> StepRecord:
    """The record of a step: the stored one if its key is known, else a new one."""
    started = datetime.now(UTC)
    step.observe(run, upstream, rule, InProcess(run=run))
    spec = step.spec(run, upstream, rule)
    if (stored := stored_record(run, spec)) is not None:
        return stored
    output, work = _computed(run, step, spec, upstream, rule)
    uids = uids_before(run.ledger, upstream, output)
    record = run.ledger.commit(
        spec, output, uids=uids, bits=run.bits, started=started, flow_run_id=flow_run_id(), work=work
    )
    return announced(run, record, (datetime.now(UTC) - started).total_seconds())


def stored_record(run: Run, spec: StepSpec) -> StepRecord | None:
    """The record of a step that need not run, when it has been reported."""
    stored = run.ledger.find(spec.key)
    if stored is None:
        return None
    run.progress.say(f"{spec.name:<24} reused    {summarise_record(stored)}", _level(stored))
    return _some_left(stored)


def announced(run: Run, record: StepRecord, seconds: float) -> StepRecord:
    """The record of a step that has just run, when it has been reported with its seconds of work."""
    work = record.work
    reuse = f" [{work['computed']:,} rows computed, {work['reused']:,} reused]" if work else ""
    run.progress.say(f"{record.name:<24} {seconds:7.1f} s {summarise_record(record)}{reuse}", _level(record))
    return _some_left(record)


def _level(record: StepRecord) -> int:
    """How a step is logged: as a warning where it failed on many rows, as downloads do from a site that is away."""
    failed = record.counts.get("failed", 0)
    return logging.WARNING if failed > WORRYING_SHARE * record.rows_in else logging.INFO


def flow_run_id() -> str | None:
    """The id of the Prefect flow run that this runs in."""
    from prefect.runtime import flow_run

    identity: str | None = flow_run.id
    return identity


def _computed(
    run: Run, step: Step[RuleT], spec: StepSpec, upstream: Records, rule: RuleT
) -> tuple[StepOutput, dict[str, int]]:
    """The output of a step for all its rows, and how many were computed and taken over, where some were."""
    if step.single is not None:
        each = InProcess(run=run)
        names = [record.name for record in upstream]
        stage = stage_step(run, step, rule, spec, upstream=upstream, names=names, each=each)
        output, work = judged_output(run, stage, upstream)
        partials = [] if output.partial is None else [output.partial]
        finished = step.single.finish(run, upstream, rule, stage.facts, partials)
        return together(output, stage.shared, finished), work
    reusable = None
    if step.reads is not None:
        runs = earlier_runs(run.ledger, spec, [record.name for record in upstream])
        reusable = find_reusable(run.ledger, runs, upstream, step.reads(upstream, rule))
    if reusable is None:
        return step.compute(run, upstream, rule), {}
    if step.resume is not None:
        return step.resume(run, upstream, rule, reusable), reusable.work
    fresh = step.compute(replace(run, only=reusable.left), upstream, rule) if len(reusable.left) else None
    return joined_output(run.ledger, reusable, fresh), reusable.work


def summarise_record(record: StepRecord) -> str:
    """Counts and reasons of a step in one line."""
    if not record.counts:
        return ""
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in record.counts.items() if count or verdict == "kept")
    reasons = ", ".join(f"{name} {count:,}" for name, count in record.reasons.items())
    return f"{counts}" + (f" ({reasons})" if reasons else "")


def _some_left(record: StepRecord) -> StepRecord:
    """The record, unless it judged rows and kept none."""
    if record.counts and not record.counts["kept"]:
        blocked = " Hosts of your own network are reached where the recipe says `web: {connect: {HOST: ADDRESS}}`."
        raise NothingLeftError(
            f"step `{record.name}` must keep at least one pair; it kept none of {record.rows_in:,}: "
            f"{summarise_record(record)}. Nothing was published. Look at its reasons and loosen its rule, or mend the "
            f"pool.{blocked if 'blocked_address' in record.reasons else ''}"
        )
    return record
