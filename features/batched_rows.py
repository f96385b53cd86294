"""Feature rows in batches of one shape, each run by one thread: a row has the same bits whatever it is encoded with."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.features.errors import UnreadableImageError
from evenly.features.rgb import open_rgb
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int], None]
Positions = npt.NDArray[np.int64]
Batch = TypeVar("Batch")


def batched_rows(
    batches: Iterable[tuple[Positions, Batch]],
    run: Callable[[tuple[Positions, Batch]], "torch.Tensor"],
    *,
    shape: tuple[int, int],
    threads: int,
    progress: Progress | None = None,
) -> Single:
    """Rows of the given shape (n, d), float32: those that `run` makes of each batch, at the batch's positions.

    A batch that was filled up gives more rows than it has positions; those are dropped. `threads` batches are under way
    at once. `progress` is called with the number of rows just finished.
    """

    def finished(batch: tuple[Positions, Batch]) -> tuple[Positions, Single]:
        output = run(batch)[: len(batch[0])]
        return batch[0], np.asarray(output.float().cpu().numpy())

    rows = np.empty(shape, np.float32)
    with torch_session(threads) as pool:
        for positions, batch_rows in ahead(pool, finished, batches, 2 * threads):
            rows[positions] = batch_rows
            if progress is not None:
                progress(len(positions))
    return rows


@dataclass(frozen=True, kw_only=True)
class ImageTower:
    """An image tower: `run` maps pixels (batch_size, 3, height, width) to rows (batch_size, dimension).

    `preprocess` makes pixels of a picture in RGB. The last batch is filled up with zeros.
    """

    run: Callable[["torch.Tensor"], "torch.Tensor"]
    preprocess: Callable[[Image.Image], "torch.Tensor"]
    dimension: int
    batch_size: int
    threads: int
    device: str
    dtype: "torch.dtype"
    layout: Any  # torch.memory_format, which has no type

    def rows(self, images: Sequence[bytes], progress: Progress | None = None) -> Single:
        """Rows (n, d) of pictures given as the bytes of their files; UnreadableImageError names the first bad one."""
        batches = (
            (np.arange(part.start, part.stop), images[part.start : part.stop])
            for part in cut(len(images), self.batch_size)
        )
        shape = (len(images), self.dimension)
        return batched_rows(batches, self._run, shape=shape, threads=self.threads, progress=progress)

    def _run(self, batch: tuple[Positions, Sequence[bytes]]) -> "torch.Tensor":
        import torch

        pixels = torch.stack([self._pixels(*image) for image in zip(*batch, strict=True)])
        pixels = filled(pixels, self.batch_size, 0).to(self.device, self.dtype, memory_format=self.layout)
        with torch.inference_mode():
            return self.run(pixels)

    def _pixels(self, position: int, image: bytes) -> "torch.Tensor":
        try:
            return self.preprocess(open_rgb(image))
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{error} Position in `images`: {position}.") from error


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
