"""Features of pictures that are no part of a build, read ahead: folders of classes, and pictures to judge."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

import numpy as np

from evenly.adapters.features import Floats
from evenly.features import to_unit_rows
from evenly.features.encoders.stages import DECODING, READING, timed
from evenly.storage.files.image_folders import Picture
from evenly.tasks.decoding import PictureReader, ReadPicture
from evenly.tasks.encoders import open_encoder, open_second
from evenly.tasks.partitioning import machine_memory
from evenly.tasks.run import Run

_AT_ONCE = 256
"""Pictures whose pixels are kept for a second backbone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedPictures:
    """Unit rows (n, d) with their lengths (n,) and, with a second backbone, its rows (n, e), by `names`.

    `places` (n,): which of the pictures handed in each row is of, from 0, ascending. `failed`: (name, why) of those
    that could not be read or decoded, in order; theirs are the other places.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    image: Floats
    norms: Floats
    second: Floats | None
    failed: tuple[tuple[str, str], ...]


def encode_pictures(run: Run, pictures: Iterable[Picture], *, total: int | None = None) -> EncodedPictures:
    """Encode pictures, which are read and decoded ahead: while the encoder is opened, and while others are encoded."""
    names: list[tuple[int, str]] = []
    failed: list[tuple[str, str]] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    with (
        run.progress.bar("encoding pictures", total) as advance,
        PictureReader(run, run.encoder.resize) as reader,
        read_ahead(reader, pictures, threads=run.processes) as reads,
    ):

        def decoded() -> Iterator[np.ndarray]:
            for place, (name, picture) in enumerate(reads):
                if picture.pixels is None:
                    failed.append((name, picture.error))
                    advance(1)
                    continue
                names.append((place, name))
                yield picture.pixels

        encoder = open_encoder(run)
        if run.second is None:
            parts.append((*to_unit_rows(encoder.encode_images(decoded(), progress=advance)), None))
        else:
            waiting = decoded()
            while part := list(islice(waiting, _AT_ONCE)):
                rows, norms = to_unit_rows(encoder.encode_images(part, progress=advance))
                parts.append((rows, norms, to_unit_rows(open_second(run).encode_images(part))[0]))
    return EncodedPictures(
        names=tuple(name for _, name in names),
        places=tuple(place for place, _ in names),
        image=_joined([image for image, _, _ in parts]),
        norms=np.concatenate([norms for _, norms, _ in parts]) if parts else np.empty(0, np.float32),
        second=None if run.second is None else _joined([second for _, _, second in parts if second is not None]),
        failed=tuple(failed),
    )


def _single(rows: np.ndarray) -> np.ndarray:
    """Half-precision rows, as a build stores them, as unit rows in single precision."""
    single = rows.astype(np.float32)
    unit: np.ndarray = single / np.linalg.norm(single, axis=1, keepdims=True)
    return unit


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([_single(part) for part in parts]) if parts else np.empty((0, 0), np.float32)


MOST_BYTES = 192_000_000
"""Pixels that wait to be taken, at most: some 400 pictures of the web. Of a small machine's memory a sixteenth."""


@contextmanager
def read_ahead(
    reader: PictureReader, pictures: Iterable[Picture], *, threads: int, most_bytes: int | None = None
) -> Iterator[Iterator[tuple[str, ReadPicture]]]:
    """The names of pictures and what each gave, in order; they are read from now on, until the context is left.

    `threads` are read at a time, and no further one is begun while pixels of `most_bytes` wait to be taken.
    """
    most = min(MOST_BYTES, machine_memory() // 16) if most_bytes is None else most_bytes
    room = _Room(most_bytes=most, most_begun=2 * threads)
    results = SimpleQueue[Future[tuple[str, ReadPicture]] | None]()
    remaining = iter(pictures)

    def begin_all() -> None:
        try:
            while (picture := _next(remaining)) is not None and room.begin():
                results.put(pool.submit(_read, reader, picture, room))
        finally:
            results.put(None)

    def taken() -> Iterator[tuple[str, ReadPicture]]:
        while (future := results.get()) is not None:
            name, result = future.result()
            room.take(result)
            yield name, result
        beginning.result()  # raises what the pictures did

    with ThreadPoolExecutor(threads + 1) as pool:
        beginning = pool.submit(begin_all)
        try:
            yield taken()
        finally:
            room.close()


def _next(pictures: Iterator[Picture]) -> Picture | None:
    with timed(READING):
        return next(pictures, None)


def _read(reader: PictureReader, picture: Picture, room: "_Room") -> tuple[str, ReadPicture]:
    result = ReadPicture(error=picture.error)
    try:
        if not picture.error:
            with timed(DECODING):
                result = reader.read_one(picture.content)
    finally:
        room.finish(result)
    return picture.name, result


class _Room:
    """Says when a further picture may be begun."""

    def __init__(self, *, most_bytes: int, most_begun: int) -> None:
        self._most_bytes, self._most_begun = most_bytes, most_begun
        self._bytes = self._begun = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def begin(self) -> bool:
        """Wait until one may be begun; False where no more are wanted."""
        with self._changed:
            self._changed.wait_for(self._has_place)
            self._begun += 1
            return not self._is_closed

    def finish(self, result: ReadPicture) -> None:
        with self._changed:
            self._begun -= 1
            self._bytes += _size(result)
            self._changed.notify_all()

    def take(self, result: ReadPicture) -> None:
        with self._changed:
            self._bytes -= _size(result)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_place(self) -> bool:
        return self._is_closed or (self._bytes < self._most_bytes and self._begun < self._most_begun)


def _size(result: ReadPicture) -> int:
    return 0 if result.pixels is None else result.pixels.nbytes
