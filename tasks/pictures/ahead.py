"""Pictures of folders and files read ahead of those who take them, up to a size in memory."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from evenly.features.encoders.stages import DECODING, READING, timed
from evenly.storage.files.image_folders import Picture
from evenly.tasks.decoding import PictureReader, ReadPicture
from evenly.tasks.partitioning import machine_memory

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
