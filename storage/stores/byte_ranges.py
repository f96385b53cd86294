"""Bytes of a file or object by range, by one interface: what is read with checksums is read through it."""

import os
from pathlib import Path

from evenly.storage.stores.object_path import ObjectPath

_WHOLE = 8 << 20  # an object of at most this is fetched by one request; a request costs as much as some MB


class FileRanges:
    """A file of this machine, open for reading. `size`: its bytes."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size

    def pread(self, length: int, start: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end."""
        return os.pread(self._descriptor, length, start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class ObjectRanges:
    """An object: a small one is held whole, of a large one the end, where Arrow and Parquet say what they hold."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._held, self.size = path.read_end(_WHOLE)
        self._held_from = self.size - len(self._held)

    def pread(self, length: int, start: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end."""
        if start >= self._held_from:
            return self._held[start - self._held_from : start - self._held_from + length]
        return self._path.read_range(start, min(length, self.size - start))

    def close(self) -> None:
        """Let go of what is held."""
        self._held = b""


def open_ranges(path: Path) -> FileRanges | ObjectRanges:
    """Open a file or an object. Raises FileNotFoundError where there is none."""
    return ObjectRanges(path) if isinstance(path, ObjectPath) else FileRanges(path)
