"""The lines of a journal that only grows: a file in a folder, one object for each line in an object store.

A file is added to under its lock, after all that is in it was read. An object is created under the number that follows
the last one read, where none is: of two processes that add at the same time, one succeeds, and the other has to read
first. So either way a line is added by somebody who knows all lines ahead of it.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from evenly.storage.errors import DamagedError
from evenly.storage.records import sync_folder
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath


class FileLines:
    """The lines of a file. `read`: bytes taken in so far; `appended`: lines added by this process."""

    says_when_behind = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = self.appended = self._durable = 0
        self._stream: IO[bytes] | None = None
        self._flushing = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the file alone; made where it is not there. For one thread at a time."""
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self.path.parent.parent)
        with self.path.open("a+b", buffering=0) as self._stream:
            fcntl.flock(self._stream, fcntl.LOCK_EX)
            yield

    def new_lines(self) -> Iterator[bytes]:
        """Lines appended since; a last line without an end was never acknowledged, and is cut off."""
        stream = self._held_stream()
        stream.seek(0, os.SEEK_END)
        if stream.tell() < self.read:
            raise DamagedError(
                f"journal `{self.path}` must only grow; it is shorter than it was. Restore it from a backup, or start "
                "again if the account should begin at 0."
            )
        stream.seek(self.read)
        lines = stream.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            torn = lines.pop()
            if b"}" in torn[:-1]:  # a whole line whose end has changed: no writer leaves that
                raise self.damaged(torn)
            stream.truncate(self.read + sum(map(len, lines)))
        for line in lines:
            yield line
            self.read += len(line)

    def append(self, line: bytes) -> bool:
        """Add a line; True. Durable once `flush` has returned."""
        if self._held_stream().write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if not self.read:
            sync_folder(self.path.parent)
        self.read += len(line)
        self.appended += 1
        return True

    def flush(self, number: int) -> None:
        """Return when the first `number` additions are on disk. One flush serves all who wait for it."""
        with self._flushing:
            if self._durable >= number:
                return
            newest = self.appended
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())
            self._durable = newest

    def damaged(self, line: bytes) -> DamagedError:
        """The error for a line that no writer has written."""
        return _damaged(self.path, line, f"at byte {self.read}")

    def _held_stream(self) -> IO[bytes]:
        if self._stream is None:
            raise ValueError("lines must be read and added while they are held; they are not")
        return self._stream


class ObjectLines:
    """The lines of a journal in an object store. `read`: lines taken in so far; `appended`: those of this process."""

    says_when_behind = True
    """A line is not added after lines that were not read: they need not be looked for ahead of each."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.read = self.appended = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing: whoever adds a line finds out whether another was faster."""
        yield

    def new_lines(self) -> Iterator[bytes]:
        """Lines appended since."""
        if not self.read:
            yield from self._all_lines()
        while True:
            try:
                line = self._place(self.read + 1).read_bytes()
            except FileNotFoundError:
                return
            yield line
            self.read += 1

    def append(self, line: bytes) -> bool:
        """Add a line, durably; False, and nothing changed, where another process has added one that was not read."""
        if not self._place(self.read + 1).create(line):
            return False
        self.read += 1
        self.appended += 1
        return True

    def flush(self, number: int) -> None:
        """Nothing: what a store has acknowledged is durable."""

    def damaged(self, line: bytes) -> DamagedError:
        """The error for a line that no writer has written."""
        return _damaged(self.path, line, f"in `{self._place(self.read + 1).name}`")

    def _all_lines(self) -> Iterator[bytes]:
        numbers = range(1, sum(name.endswith(".json") for name, _ in self.path.objects()) + 1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for line in pool.map(lambda number: self._place(number).read_bytes(), numbers):
                    yield line
                    self.read += 1
            except FileNotFoundError as error:
                raise DamagedError(
                    f"journal `{self.path}` must only grow; {error.filename} is gone. Restore it from a backup."
                ) from None

    def _place(self, number: int) -> ObjectPath:
        return self.path / f"{number:010}.json"


def lines_at(path: Path) -> FileLines | ObjectLines:
    """The lines of the journal at `path`."""
    return ObjectLines(path) if isinstance(path, ObjectPath) else FileLines(path)


def _damaged(path: Path, line: bytes, place: str) -> DamagedError:
    return DamagedError(
        f"journal `{path}` must hold one reservation or settlement a line, as it was written; got {line[:120]!r} "
        f"{place}. Restore it from a backup."
    )
