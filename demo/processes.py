"""Work spread over processes that do not outlive the one which started them."""

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

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
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent, initargs=(os.getpid(),))
    try:
        with _sigint_blocked():
            results = pool.map(function, items, chunksize=_CHUNK)  # starts the processes
        yield from _counted(results, progress)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes started here never see Ctrl-C: it is for this process to handle."""
    resource_tracker.ensure_running()  # where it must start first, it unblocks the signal in this thread
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _counted(results: Iterator[R], progress: Progress) -> Iterator[R]:
    for result in results:
        yield result
        progress(1)


def _end_with_parent(parent: int) -> None:
    """Leave when `parent` is gone: a pool's workers wait for ever on a parent that was killed with -9."""
    threading.Thread(target=functools.partial(_watch, parent), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
