"""One step, run as a Prefect task: taken from the ledger where its result is there, else computed and committed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

import pyarrow as pa

from evenly.storage.errors import DamagedError
from evenly.storage.ledger import StepOutput, StepRecord, StepSpec
from evenly.tasks.row_reuse import Reusable, find_reusable, joined_output
from evenly.tasks.run import Run


class NothingLeftError(RuntimeError):
    """A step kept no pair, so there is nothing to go on with."""


Records = Sequence[StepRecord]
RuleT = TypeVar("RuleT")


@dataclass(frozen=True, kw_only=True)
class NoRule:
    """The rule of a step that has nothing to choose."""


def plain_rule(rule: object) -> dict[str, Any]:
    """The fields of a rule as JSON has them: what the ledger stores."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(rule)))  # type: ignore[call-overload]
    return plain


def without_defaults(*names: str) -> Callable[[Any], dict[str, Any]]:
    """`plain_rule`, of the fields `names` only those that are not as they are by default."""

    def stored(rule: Any) -> dict[str, Any]:  # noqa: ANN401 - a rule with these fields
        usual = {field.name: field.default for field in fields(rule) if field.name in names}
        plain = plain_rule(rule)
        return {name: value for name, value in plain.items() if name not in usual or getattr(rule, name) != usual[name]}

    return stored


def _no_inputs(_run: Run, _upstream: Records, _rule: object) -> dict[str, str]:
    return {}


def _no_model(_run: Run, _rule: object) -> str | None:
    return None


def _nothing_to_check(_run: Run, _rule: object) -> None:
    return None


def _nothing_to_observe(_run: Run, _upstream: Records, _rule: object) -> None:
    return None


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
    compute: from the run, the records before it and its rule, what it found.
    observe: records what can only be observed (downloads), before the key is made; the result is a pure function of
        what was recorded.
    inputs: content hashes of what it reads besides the steps before it (files, observations).
    model: identity of the model that it uses.
    ready: raises where files or packages that it needs are not there; asked before the first step runs.
    seeded: True where it draws.
    reads: the columns of a row that its verdict depends on, of the records before and the rule; None where rows depend
        on each other in a way that must be found anew. With it, rows that an earlier run judged are taken over.
    resume: computes all rows from what an earlier run found of those that are the same, where rows depend on each other
        and `reads` names what that depends on.
    version: raise it whenever the same inputs would now give another result.
    """

    name: str
    rule: type[RuleT]
    compute: Callable[[Run, Records, RuleT], StepOutput]
    stored: Callable[[RuleT], dict[str, Any]] = plain_rule
    load: Callable[[Mapping[str, Any]], RuleT] | None = None
    version: int = 1
    observe: Callable[[Run, Records, RuleT], None] = _nothing_to_observe
    inputs: Callable[[Run, Records, RuleT], dict[str, str]] = _no_inputs
    model: Callable[[Run, RuleT], str | None] = _no_model
    ready: Callable[[Run, RuleT], None] = _nothing_to_check
    seeded: bool = False
    reads: Callable[[Records, RuleT], Sequence[str]] | None = None
    resume: Callable[[Run, Records, RuleT, Reusable], StepOutput] | None = None

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


def record_step(run: Run, step: Step[RuleT], upstream: Records, rule: RuleT) -> StepRecord:
    """The record of a step: the stored one if its key is known, else a new one."""
    from prefect.runtime import flow_run

    started = datetime.now(UTC)
    step.observe(run, upstream, rule)
    spec = step.spec(run, upstream, rule)
    stored = run.ledger.find(spec.key)
    if stored is not None:
        run.progress.say(f"{step.name:<24} reused    {summarise_record(stored)}")
        return _some_left(stored)
    output, work = _computed(run, step, spec, upstream, rule)
    record = run.ledger.commit(
        spec, output, uids=_uids_before(run, upstream, output), started=started, flow_run_id=flow_run.id, work=work
    )
    seconds = (datetime.now(UTC) - started).total_seconds()
    reuse = f" [{work['computed']:,} rows computed, {work['reused']:,} reused]" if work else ""
    run.progress.say(f"{step.name:<24} {seconds:7.1f} s {summarise_record(record)}{reuse}")
    return _some_left(record)


def _computed(
    run: Run, step: Step[RuleT], spec: StepSpec, upstream: Records, rule: RuleT
) -> tuple[StepOutput, dict[str, int]]:
    """The output of a step for all its rows, and how many were computed and taken over, where some were."""
    reusable = None if step.reads is None else find_reusable(run.ledger, spec, upstream, step.reads(upstream, rule))
    if reusable is None:
        return step.compute(run, upstream, rule), {}
    if step.resume is not None:
        return step.resume(run, upstream, rule, reusable), reusable.work
    some_left = len(reusable.left) > 0
    fresh = step.compute(replace(run, only=reusable.left), upstream, rule) if some_left else None
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
        raise NothingLeftError(
            f"step `{record.name}` must keep at least one pair; it kept none of {record.rows_in:,}: "
            f"{summarise_record(record)}. Nothing was published. Look at its reasons and loosen its rule, or mend the "
            "pool."
        )
    return record


def _uids_before(run: Run, upstream: Records, output: StepOutput) -> pa.Array | None:
    """The rows that the step had to judge; None where it judges none, or is the first to give uids."""
    if not upstream or output.decisions is None:
        return None
    return run.ledger.alive(upstream, [])["uid"].combine_chunks()
