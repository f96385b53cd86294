"""Where the time of encoding pictures goes: seconds of work in each stage, and which stage limits the rest."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

READING, DECODING, PREPROCESSING = "reading", "decoding", "preprocessing"
COMPUTING, WRITING = "computing", "writing"
STAGES = (READING, DECODING, PREPROCESSING, COMPUTING, WRITING)


class Profile:
    """Seconds of work in each stage, of all threads together, while a profile is taken.

    `at_once`: threads that work on a stage. `shared`: whether the same threads decode, preprocess and compute.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.at_once = dict.fromkeys(STAGES, 1)
        self.shared = False
        self.pictures = 0
        self._began, self._ended = float("inf"), 0.0
        self._lock = threading.Lock()

    @property
    def wall_s(self) -> float:
        """Seconds from the begin of the first work to the end of the last."""
        return max(0.0, self._ended - self._began)

    @property
    def limit(self) -> str:
        """The stage that takes the most of those who are the busiest: one reads, one writes, others do the rest."""
        preparing = [DECODING, PREPROCESSING]
        workers = [[READING], [WRITING]]
        workers += [[*preparing, COMPUTING]] if self.shared else [preparing, [COMPUTING]]
        busiest = max(workers, key=lambda stages: sum(map(self.busy, stages)))
        return max(busiest, key=lambda stage: self.seconds[stage])

    def busy(self, stage: str) -> float:
        """The share of the time in which all those who work on a stage were at work on it."""
        return self.seconds[stage] / self.at_once[stage] / self.wall_s if self.wall_s else 0.0

    def of_batches(self, pictures: int, *, threads: int, shared: bool) -> None:
        """Count pictures that are now encoded, by so many threads that prepare batches."""
        with self._lock:
            self.pictures += pictures
            self.shared = shared
            self.at_once |= dict.fromkeys((DECODING, PREPROCESSING), threads) | {COMPUTING: threads if shared else 1}

    def add(self, stage: str, began: float, ended: float) -> None:
        """Add the time between two readings of the clock."""
        with self._lock:
            self.seconds[stage] += ended - began
            self._began, self._ended = min(self._began, began), max(self._ended, ended)


_taken: list[Profile] = []  # of the whole process, since threads of pools work for whoever asked


@contextmanager
def profiled() -> Iterator[Profile]:
    """A profile of all encoding in this process meanwhile."""
    profile = Profile()
    _taken.append(profile)
    try:
        yield profile
    finally:
        _taken.remove(profile)


def timed(stage: str) -> AbstractContextManager[None]:
    """Count the time within to a stage, where a profile is taken."""
    return _timed(stage, list(_taken)) if _taken else nullcontext()


def count_batches(pictures: int, *, threads: int, shared: bool) -> None:
    """Tell the profiles that are taken of pictures that are encoded now."""
    for profile in _taken:
        profile.of_batches(pictures, threads=threads, shared=shared)


@contextmanager
def _timed(stage: str, profiles: list[Profile]) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        ended = time.perf_counter()
        for profile in profiles:
            profile.add(stage, began, ended)
