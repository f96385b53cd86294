"""The settings of torch under which numbers repeat, and the threads that run models under them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_RUNNING = threading.Lock()  # these are settings of the whole process


@contextmanager
def torch_session(workers: int = 1) -> Iterator[ThreadPoolExecutor]:
    """A pool of `workers` threads, each of which runs models on itself alone, in full single precision.

    No operation is split over threads: how many there are changes nothing in the numbers, and none waits for another.
    The settings are put back after. One session at a time runs in a process; a second thread waits for it.
    """
    import torch

    with _RUNNING:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        try:
            with exact, ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)
