"""Work spread over processes that do not outlive the one which started them."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from evenly.storage.worker_pool import worker_pool

A = TypeVar("A")
R = TypeVar("R")

Progress = Callable[[int], None]
"""Called with the number of pieces just done."""

_FEW = 300  # two new processes take about 0.5 s to start: fewer items than this are done sooner without them
_CHUNK = 32


def no_progress(_done: int) -> None:
    """Show nothing."""


def run_all(function: Callable[[A], R], items: Sequence[A], *, progress: Progress = no_progress) -> Iterator[R]:
    """The results of `function` for each item, in order; both must be picklable.

    Processes are spawned, not forked, since the caller may have threads.
    """
    workers = len(os.sched_getaffinity(0))
    if workers < 2 or len(items) < _FEW:
        yield from _counted(map(function, items), progress)
        return
    with worker_pool(workers) as pool:
        yield from _counted(pool.map(function, items, chunksize=_CHUNK), progress)


def _counted(results: Iterator[R], progress: Progress) -> Iterator[R]:
    for result in results:
        yield result
        progress(1)
