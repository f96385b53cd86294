"""A step, declared in one object: what it reads and needs, what it does for all pairs, and for each partition."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from typing import Any, Generic, Self, TypeVar, cast

import pyarrow as pa

from evenly.curation.encoder_name import EncoderName
from evenly.curation.errors import RuleError
from evenly.curation.step import ByLedger, Given, Judgement, Reads, gives
from evenly.curation.steps import STEPS
from evenly.storage.errors import DamagedError
from evenly.storage.ledger import StepOutput, StepRecord, StepSpec
from evenly.storage.records import stored_fields
from evenly.storage.tables.exchange import RowExchange
from evenly.tasks.engine import InProcess
from evenly.tasks.row_reuse import EarlierRun
from evenly.tasks.run import Each, EachLedger, EncoderChoice, ItemT, Records, ResultT, Run, with_model

WORRYING_SHARE = 0.2
"""A step that fails on more of its rows is logged as a warning."""
RuleT = TypeVar("RuleT")


class NothingLeftError(RuntimeError):
    """A step kept no pair, so there is nothing to go on with."""


@with_model
def run_for(run: Run, rule: object) -> Run:
    """The run of a step by its rule: with the encoder that this names, where it has a `model` of its own."""
    named = getattr(rule, "model", None)
    if not isinstance(named, EncoderName):
        return run
    choice = EncoderChoice(**vars(named), device=run.encoder.device, threads=run.encoder.threads)
    return replace(run, encoder=choice, encoder_identity=None, stores_cells=False)


@dataclass(frozen=True, kw_only=True)
class EachFor:
    """Work on partitions by runs that `change` makes of theirs: such as with another encoder."""

    engine: Each
    change: Callable[[Run], Run]

    @property
    def n_workers(self) -> int:
        """See evenly.tasks.run.Each."""
        return self.engine.n_workers

    def partitions(self, title: str, function: Callable[[Run], ResultT]) -> list[ResultT]:
        """See evenly.tasks.run.Each."""
        return self.engine.partitions(title, partial(_in_changed, self.change, function))

    def items(self, title: str, function: Callable[[Run, ItemT], ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See evenly.tasks.run.Each."""
        return self.engine.items(title, partial(_in_changed, self.change, function), items)


def _in_changed(change: Callable[[Run], Run], function: Callable[..., ResultT], run: Run, *items: object) -> ResultT:
    return function(change(run), *items)


def each_for(engine: Each, rule: object) -> Each:
    """What works on partitions for a step by its rule."""
    is_named = isinstance(getattr(rule, "model", None), EncoderName)
    return EachFor(engine=engine, change=partial(run_for, rule=rule)) if is_named else engine


def plain_rule(rule: object) -> dict[str, Any]:
    """All fields of a rule as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(rule)))  # type: ignore[call-overload]
    return plain


def nothing(*_: object) -> None:
    """The part of a step that has nothing to do there."""


def note_counts(note: str, *given: Any) -> StepOutput:  # noqa: ANN401 - the arguments of `finish`
    """Notes, for `finish` of a step: sums of the counts [value, count] of all partitions, under a name, by value."""
    counts = Counter[str]()
    for part in given[-1]:
        counts.update(dict(zip(*part.to_pydict().values(), strict=True)))
    return StepOutput(notes={note: dict(sorted(counts.items()))})


def _no_entries(*_: object) -> dict[str, Any]:
    return {}


def _never(*_: object) -> bool:
    return False


class Exchanged:
    """Rows that were exchanged, in its fields: used in a `with`, or released at the end, as the facts of a step are."""

    def release(self) -> None:
        """Remove them."""
        for rows in vars(self).values():
            if isinstance(rows, Exchanged | RowExchange):
                rows.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _release(facts: object) -> None:
    if isinstance(facts, Exchanged):
        facts.release()


def _no_output(*_: object) -> StepOutput:
    return StepOutput()


@cache
def rule_reader(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a class
    """A function that reads stored rules of a dataclass, and refuses fields that it does not have."""
    from pydantic import ConfigDict, create_model

    holder = create_model("Stored", __config__=ConfigDict(extra="forbid"), rule=(kind, ...))
    return lambda stored: holder.model_validate({"rule": stored}).rule  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Step(Generic[RuleT]):
    """A step: its name and version, the class of its rule, and what it does.

    A run in one partition is run as one in several: what is known of all pairs is resolved, and each partition is
    judged by it.

    judge: decides the pairs of one partition, from the run, the records before it and its rule; and by the facts about
        all pairs, where it resolves any.
    resolve: these facts (sums, thresholds, where rows were exchanged to). release: gives up what they hold, however the
        step ended; by default rows that were exchanged.
    resume: the same facts, given an earlier run and the columns that they depend on, of which it takes over what still
        holds. work: by these facts, how many rows of a partition were computed and how many taken over.
    shared: tables and notes that do not depend on what is judged. finish: those made of the `partial` of each
        partition's output.
    stored: the rule as the ledger stores it; the step's key hangs on it.
    load: the rule out of what is stored; None: its fields are those of the rule.
    observe: records what can only be observed (downloads), before the key is made; the result is a pure function of
        what was recorded. is_due: whether something of that is due to be observed again, though it was before.
    inputs: content hashes of what it reads besides the steps before it (files, observations).
    model: identity of the model that it uses.
    ready: raises where files or packages that it needs are not there; asked before the first step runs.
    review: says what a person should know of its record, new or stored; raises where they must mend something.
    seeded: True where it draws.
    version: raise it whenever the same inputs would now give another result.
    """

    name: str
    rule: type[RuleT]
    judge: Callable[..., StepOutput]
    resolve: Callable[[Run, Records, RuleT, Each], Any] = nothing
    resume: Callable[[Run, Records, RuleT, Each, EarlierRun, Sequence[str]], Any] | None = None
    work: Callable[[Run, Any], dict[str, int]] = _no_entries
    shared: Callable[[Run, Records, RuleT, Any], StepOutput] = _no_output
    finish: Callable[[Run, Records, RuleT, Any, Sequence[pa.Table]], StepOutput] = _no_output
    release: Callable[[Any], None] = _release
    stored: Callable[[RuleT], dict[str, Any]] = stored_fields
    load: Callable[[Mapping[str, Any]], RuleT] | None = None
    version: int = 1
    observe: Callable[[Run, Records, RuleT, Each], None] = nothing
    is_due: Callable[[Run, Records], bool] = _never
    inputs: Callable[[Run, Records, RuleT], dict[str, str]] = _no_entries
    model: Callable[[Run, RuleT], str | None] = nothing
    ready: Callable[[Run, RuleT], None] = nothing
    review: Callable[[Run, StepRecord, RuleT], None] = nothing
    seeded: bool = False

    @property
    def has_facts(self) -> bool:
        """Whether a partition's result depends on all pairs."""
        return self.resolve is not nothing

    @property
    def reads(self) -> Reads | None:
        """The columns of a pair that its verdict depends on, as its judgement says."""
        judgement = STEPS.get(self.name)
        return None if judgement is None else judgement.reads

    @property
    def observes(self) -> bool:
        """Whether there is anything to be observed before the key is made."""
        return self.observe is not nothing

    def spec(self, run: Run, upstream: Records, rule: RuleT) -> StepSpec:
        """Everything that the result depends on."""
        run = run_for(run, rule)
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
        load = self.load or rule_reader(kind)
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
        step.ready(run_for(run, rule), rule)


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


@dataclass(frozen=True, kw_only=True)
class _Unfinished:
    """The record of a step that runs, as its judgement is given it: it has stored nothing."""

    name: str
    columns: Sequence[str] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _OfLedger:
    """A judgement that runs by the ledger alone, as the functions of a `Step`."""

    name: str

    def given(self, run: Run, upstream: Records, rule: object, engine: Each | None = None) -> Given:
        """What the judgement is given; work on every part for its facts alone."""
        reads = STEPS[self.name].reads
        return Given(
            record=_Unfinished(name=self.name),
            upstream=upstream,
            rule=rule,
            seed=run.seed,
            notes={},
            reads=() if reads is None else reads(upstream, rule),
            tables=run.ledger,
            each=EachLedger(engine=engine or InProcess(run=run)),
        )

    @property
    def judgement(self) -> ByLedger:
        """How it judges."""
        return cast("ByLedger", STEPS[self.name].rejudge)

    def resolve(self, run: Run, upstream: Records, rule: object, engine: Each) -> Any:  # noqa: ANN401 - its facts
        """What it must know of all pairs."""
        return self.judgement.facts(self.given(run, upstream, rule, engine))

    def judge(self, run: Run, upstream: Records, rule: object, facts: object = None) -> StepOutput:
        """The pairs of a partition. Raises RuleError for a column that pairs have before the step gives it."""
        judged = self.judgement.judge(self.given(run, upstream, rule), facts, run.ledger)
        decisions = judged.decisions.to_table(judged.uids)
        for name, values in judged.columns.items():
            if gives(upstream, name):
                raise RuleError(
                    f"a column of the pool must not be called as one that step `{self.name}` gives; got {name!r}. "
                    "Rename it in the pool."
                )
            decisions = decisions.append_column(name, values)
        return StepOutput(decisions=decisions, tables=judged.tables)

    def shared(self, run: Run, upstream: Records, rule: object, facts: object) -> StepOutput:
        """Its tables and notes of all pairs."""
        inputs, judgement = self.given(run, upstream, rule), self.judgement
        tables = {} if judgement.totals is None else judgement.totals(inputs, facts)
        return StepOutput(tables=tables, notes=judgement.notes(inputs, facts))


def ledger_step(judgement: Judgement) -> Step[Any]:
    """The step of a judgement that runs by the ledger alone. Raises TypeError for another."""
    if not isinstance(judgement.rejudge, ByLedger):
        raise TypeError(f"step `{judgement.name}` must judge by the ledger alone, or have a Step in tasks/rebuild")
    of_ledger = _OfLedger(name=judgement.name)
    return Step(
        name=judgement.name,
        rule=judgement.rule,
        version=judgement.version,
        seeded=judgement.seeded,
        judge=of_ledger.judge,
        shared=of_ledger.shared,
        resolve=of_ledger.resolve if judgement.rejudge.has_facts else nothing,
    )
