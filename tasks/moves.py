"""The moves of a step over partitions: what it does for all pairs at once, and what for each partition alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from evenly.storage.ledger import Ledger, StepOutput, StepRecord
from evenly.tasks.row_reuse import EarlierRun
from evenly.tasks.run import Run

Records = Sequence[StepRecord]
RuleT = TypeVar("RuleT")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
WorkT = TypeVar("WorkT", bound=Callable[..., Any])


def with_model(function: WorkT) -> WorkT:
    """`function`, marked as one that loads an encoder: where workers have GPUs, it is given one."""
    function.uses_model = True  # type: ignore[attr-defined] # read by uses_model
    return function


def uses_model(function: object) -> bool:
    """Whether a function is marked by `with_model`, or is made by `partial` of one that is, or with one."""
    if isinstance(function, partial):
        return any(map(uses_model, (function.func, *function.args, *function.keywords.values())))
    return bool(getattr(function, "uses_model", False))


class Each(Protocol):
    """Runs a function for every partition, where workers are."""

    @property
    def n_workers(self) -> int:
        """The number of workers at a time."""

    def partitions(self, title: str, function: Callable[[Run], ResultT]) -> list[ResultT]:
        """The result of `function` for the run of each partition, in their order."""

    def items(self, title: str, function: Callable[[Run, ItemT], ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """What `function` gives for each of `items`, with the run of all pairs, in their order."""


@dataclass(frozen=True, kw_only=True)
class EachLedger:
    """Runs a function of ledgers for every partition, where workers are."""

    each: Each

    def __call__(self, title: str, function: Callable[[Ledger], ResultT]) -> list[ResultT]:
        """What `function` gives of the ledger of each partition, in their order."""
        return self.each.partitions(title, partial(_of_ledger, function))


def _of_ledger(function: Callable[[Ledger], ResultT], run: Run) -> ResultT:
    return function(run.ledger)


def _no_facts(_run: Run, _upstream: Records, _rule: object, _each: Each) -> None:
    return None


def _nothing_shared(_run: Run, _upstream: Records, _rule: object, _facts: object) -> StepOutput:
    return StepOutput()


def _nothing_summed(
    _run: Run, _upstream: Records, _rule: object, _facts: object, _partials: Sequence[pa.Table]
) -> StepOutput:
    return StepOutput()


def _nothing_held(_facts: object) -> None:
    return None


def _nothing_taken_over(_run: Run, _facts: object) -> dict[str, int]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Moves(Generic[RuleT]):
    """A step in moves.

    resolve: facts about all pairs that each partition is judged by (sums, thresholds, where rows were exchanged to).
    resume: the same facts, given an earlier run and the columns that they depend on, of which it takes over what still
    holds. work: by these facts, how many rows of a partition were computed and how many taken over.
    judge: decides the pairs of one partition, by these facts. shared: tables and notes that do not depend on what is
    judged. finish: tables and notes made of the `partial` of each partition's output. release: gives up what the facts
    hold, however the step ended.
    """

    judge: Callable[[Run, Records, RuleT, Any], StepOutput]
    resolve: Callable[[Run, Records, RuleT, Each], Any] = _no_facts
    resume: Callable[[Run, Records, RuleT, Each, EarlierRun, Sequence[str]], Any] | None = None
    work: Callable[[Run, Any], dict[str, int]] = _nothing_taken_over
    shared: Callable[[Run, Records, RuleT, Any], StepOutput] = _nothing_shared
    finish: Callable[[Run, Records, RuleT, Any, Sequence[pa.Table]], StepOutput] = _nothing_summed
    release: Callable[[Any], None] = _nothing_held

    @property
    def has_facts(self) -> bool:
        """Whether a partition's result depends on all pairs."""
        return self.resolve is not _no_facts


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
