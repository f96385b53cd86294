"""Feature rows in batches of one shape, each run by one thread: a row has the same bits whatever it is encoded with."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.features.device import device_errors
from evenly.features.encoders.stages import COMPUTING, DECODING, PREPROCESSING, count_batches, timed
from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.decoded import Opened, Resizer
from evenly.features.pictures.pixels import Pixels
from evenly.features.torch_session import torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int], None]
Positions = npt.NDArray[np.int64]
Batch = TypeVar("Batch")
FileOrPixels = bytes | Opened
"""A picture: the bytes of its file, or what was decoded of it."""
BATCH_SIZE, BATCH_SIZE_OF_CONVOLUTIONS = 32, 16


def default_batch_size(tower: "torch.nn.Module", device: str) -> int:
    """Rows at a time where nobody says how many: 32, and 16 for a convolutional image tower on a processor.

    There each picture is megabytes in each of many layers: 32 take more memory, and more time for a picture.
    """
    from torch.nn import Conv2d

    convolutions = sum(isinstance(module, Conv2d) for module in tower.modules())
    is_convolutional = convolutions > 1  # transformers have one, which cuts the picture up
    return BATCH_SIZE_OF_CONVOLUTIONS if is_convolutional and device.startswith("cpu") else BATCH_SIZE


def batched_rows(
    batches: Iterable[tuple[Positions, Batch]],
    run: Callable[[tuple[Positions, Batch]], "torch.Tensor"],
    *,
    dimension: int,
    threads: int,
    compute: Callable[["torch.Tensor"], "torch.Tensor"] | None = None,
    fetch: Callable[["torch.Tensor", int], Single] | None = None,
    progress: Progress | None = None,
) -> Single:
    """Rows (n, dimension), float32: those that `run` makes of each batch, at the batch's positions, of 0 to n - 1.

    A batch that was filled up gives more rows than it has positions; those are dropped. `threads` batches are under way
    at once. With `compute`, `run` only prepares: this thread alone makes rows of that, a batch behind, so that a device
    computes one while the next is handed to it. `fetch` in place of `fetched` takes rows from there. `progress`
    is called with the number of rows just finished.
    """
    take = fetch or fetched

    def prepared(batch: tuple[Positions, Batch]) -> tuple[Positions, "torch.Tensor | Single"]:
        output = run(batch)
        return batch[0], output if compute else take(output, len(batch[0]))

    parts: list[tuple[Positions, Single]] = []
    waiting: deque[tuple[Positions, torch.Tensor]] = deque()

    def store(positions: Positions, batch_rows: Single) -> None:
        parts.append((positions, batch_rows))
        if progress is not None:
            progress(len(positions))

    with torch_session(threads) as pool:
        for positions, output in ahead(pool, prepared, batches, 2 * threads):
            if compute is None:
                store(positions, np.asarray(output))
                continue
            waiting.append((positions, compute(cast("torch.Tensor", output))))
            if len(waiting) > 1:
                first, computed = waiting.popleft()
                store(first, take(computed, len(first)))
        for first, computed in waiting:
            store(first, take(computed, len(first)))
    rows = np.empty((sum(len(positions) for positions, _ in parts), dimension), np.float32)
    for positions, batch_rows in parts:
        rows[positions] = batch_rows
    return rows


def fetched(output: "torch.Tensor", count: int) -> Single:
    """The first `count` rows, on this side of a device."""
    return np.asarray(output[:count].float().cpu().numpy())


def _fetched(output: "torch.Tensor", count: int) -> Single:
    """The same, as part of computing: a device is waited for here."""
    with timed(COMPUTING):
        return fetched(output, count)


@dataclass(frozen=True, kw_only=True)
class ImageTower:
    """An image tower: `run` maps pixels (batch_size, 3, height, width) to rows (batch_size, dimension).

    `preprocess` makes pixels of a picture in RGB. The last batch is filled up with zeros. On the processor each thread
    does all of a batch; for another device threads prepare batches, which are handed to it one after another.
    """

    run: Callable[["torch.Tensor"], "torch.Tensor"]
    preprocess: Callable[[Image.Image], "torch.Tensor"]
    dimension: int
    batch_size: int
    threads: int
    device: str
    dtype: "torch.dtype"
    layout: Any  # torch.memory_format, which has no type
    resize: Resizer = "pillow"

    @property
    def shared(self) -> bool:
        """Whether the threads that prepare batches compute their rows as well."""
        return self.device == "cpu"

    def rows(self, images: Iterable[FileOrPixels], progress: Progress | None = None) -> Single:
        """Rows (n, d) of files or decoded pictures, taken as they are needed; UnreadableImageError names a bad file."""
        with device_errors(self.device, self.batch_size):
            return batched_rows(
                self._batches(images),
                self._run if self.shared else self._prepared,
                dimension=self.dimension,
                threads=self.threads,
                compute=None if self.shared else self.compute,
                fetch=_fetched,
                progress=progress,
            )

    def _batches(self, images: Iterable[FileOrPixels]) -> Iterator[tuple[Positions, list[FileOrPixels]]]:
        remaining, start = iter(images), 0
        while batch := list(islice(remaining, self.batch_size)):
            count_batches(len(batch), threads=self.threads, shared=self.shared)
            yield np.arange(start, start + len(batch)), batch
            start += len(batch)

    def prepare(self, images: Sequence[FileOrPixels], positions: Sequence[int] | None = None) -> "torch.Tensor":
        """Pixels of pictures, as `compute` takes them; where a GPU can fetch them while it computes."""
        places = range(len(images)) if positions is None else positions
        with timed(DECODING):
            pictures = [self._opened(*image) for image in zip(places, images, strict=True)]
        with timed(PREPROCESSING):
            pixels = self.pixels.of(pictures)
        return pixels.pin_memory() if self.device.startswith("cuda") else pixels

    def compute(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Rows (batch_size, d) of the pixels of up to as many pictures, on the device."""
        import torch

        with timed(COMPUTING), torch.inference_mode():
            ready = self.pixels.normalised(pixels.to(self.device, non_blocking=True))
            return self.run(filled(ready, self.batch_size, 0).to(self.dtype, memory_format=self.layout))

    def _run(self, batch: tuple[Positions, Sequence[FileOrPixels]]) -> "torch.Tensor":
        return self.compute(self._prepared(batch))

    def _prepared(self, batch: tuple[Positions, Sequence[FileOrPixels]]) -> "torch.Tensor":
        positions, images = batch
        return self.prepare(images, positions.tolist())

    def _opened(self, position: int, image: FileOrPixels) -> Opened:
        if not isinstance(image, bytes):
            return image
        try:
            return self.pixels.opened(image)
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{error} Position in `images`: {position}.") from error

    @cached_property
    def pixels(self) -> Pixels:
        """Makers of pixels of pictures."""
        return Pixels(self.preprocess, self.resize)


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
