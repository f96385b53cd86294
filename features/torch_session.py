"""The settings of torch under which numbers repeat, and the threads that run models under them."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from evenly.allocation import blocks_reused

_MOST_THREADS = 8
_RUNNING = threading.Lock()  # these are settings of the whole process


@contextmanager
def torch_session(workers: int = 1) -> Iterator[ThreadPoolExecutor]:
    """A pool of `workers` threads, each of which runs models on itself alone, in full single precision.

    No operation is split over threads: how many there are changes nothing in the numbers, and none waits for another.
    The settings are put back after. One session at a time runs in a process; a second thread waits for it.
    """
    import torch

    with _RUNNING, blocks_reused():
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        try:
            with exact, ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(n_threads)


def default_threads() -> int:
    """One thread per processor that this process may use, up to 8: each holds a batch in memory."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(ours, _MOST_THREADS)


def major_minor(version: str) -> str:
    """The first two numbers of a library's version, as far as numbers are taken to depend on it."""
    return ".".join(version.split(".")[:2])
