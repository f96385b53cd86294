"""Work on every partition, wherever workers are: functions of a run, of a ledger, and those that load a model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from evenly.storage.ledger import Ledger, StepRecord
from evenly.tasks.run import Run

Records = Sequence[StepRecord]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
WorkT = TypeVar("WorkT", bound=Callable[..., Any])


def with_model(function: WorkT) -> WorkT:
    """`function`, marked as one that loads an encoder: where workers have GPUs, it is given one."""
    function.uses_model = True  # type: ignore[attr-defined] # read by uses_model
    return function


def uses_model(function: object) -> bool:
    """Whether a function is marked by `with_model`, or is made by `partial` of one that is, or with one or several."""
    if isinstance(function, partial):
        return any(map(uses_model, (function.func, *function.args, *function.keywords.values())))
    if isinstance(function, list | tuple):
        return any(map(uses_model, function))
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
