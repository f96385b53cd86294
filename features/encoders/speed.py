"""The speed of an encoder on this machine and its limit: decoding or preprocessing pictures, or computing rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from evenly.features.batched_rows import ahead, cut, fetched
from evenly.features.encoder import OpenClipEncoder
from evenly.features.encoders.stages import COMPUTING, DECODING, PREPROCESSING, profiled
from evenly.features.torch_session import torch_session

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Pictures per second of preparing alone (decoding, preprocessing), computing alone, and both, as they are used.

    `decoding` is the share of preparing that is decoding. `shared` tells whether the same processors do both, so that
    neither can be had at its own speed.
    """

    batch_size: int
    preparing: float
    computing: float
    encoding: float
    decoding: float
    shared: bool

    @property
    def limit(self) -> str:
        """The costliest part: `computing`, or where preparing is slower `decoding` or `preprocessing`."""
        if self.preparing >= self.computing:
            return COMPUTING
        return DECODING if self.decoding > 0.5 else PREPROCESSING

    @property
    def share(self) -> float:
        """Encoding as a share of the slower of both alone."""
        return self.encoding / min(self.preparing, self.computing)


def measure_speed(encoder: OpenClipEncoder, pictures: Sequence[bytes], *, rounds: int = 3) -> Speed:
    """The median speeds over `rounds`, in each of which all three are measured, on full batches of `pictures`.

    Raises ValueError for fewer pictures than a batch for each thread, UnreadableImageError for a broken one.
    """
    tower = encoder.images
    batches = [pictures[part.start : part.stop] for part in cut(len(pictures), tower.batch_size)]
    batches = [batch for batch in batches if len(batch) == tower.batch_size]
    if len(batches) < tower.threads:
        raise ValueError(
            f"`pictures` must fill a batch of {tower.batch_size} for each of {tower.threads} threads; got "
            f"{len(pictures)}. Give more, or a smaller batch."
        )
    count = len(batches) * tower.batch_size
    used = [picture for batch in batches for picture in batch]
    pixels = tower.prepare(batches[0])
    seconds: dict[str, list[float]] = {"preparing": [], "computing": [], "encoding": []}
    tower.rows(used[: tower.batch_size * tower.threads])  # what is done once, is done
    work = dict.fromkeys((DECODING, PREPROCESSING), 0.0)
    for _ in range(rounds):
        with profiled() as profile:
            seconds["preparing"].append(_seconds(tower.threads, tower.prepare, batches))
        work = {stage: so_far + profile.seconds[stage] for stage, so_far in work.items()}
        at_once = tower.threads if tower.shared else 1
        seconds["computing"].append(
            _seconds(at_once, lambda batch: fetched(tower.compute(batch), 1), [pixels] * len(batches))
        )
        start = time.perf_counter()
        tower.rows(used)
        seconds["encoding"].append(time.perf_counter() - start)
    speeds = {name: count / median(values) for name, values in seconds.items()}
    decoding = work[DECODING] / sum(work.values())
    return Speed(batch_size=tower.batch_size, decoding=decoding, shared=tower.shared, **speeds)


def _seconds(threads: int, function: Callable[[Item], object], items: Sequence[Item]) -> float:
    with torch_session(threads) as pool:
        start = time.perf_counter()
        for _ in ahead(pool, function, items, 2 * threads):
            pass
        return time.perf_counter() - start
