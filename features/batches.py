"""Batches of one shape, cut by position, and the work that runs ahead of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def cut(n: int, size: int) -> Iterator[range]:
    """The positions 0 to n - 1 in ranges of `size`, the last one shorter where it must be."""
    return (range(start, min(start + size, n)) for start in range(0, n, size))


def filled(batch: "torch.Tensor", size: int, value: int) -> "torch.Tensor":
    """The batch with rows of `value` added up to `size` rows."""
    import torch

    missing = size - len(batch)
    return torch.cat([batch, batch.new_full((missing, *batch.shape[1:]), value)]) if missing else batch


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Results in the order of the items, with up to `count` calls under way or waiting to be fetched."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
