"""Bytes of a file or object by range, by one interface: what is read with checksums is read through it."""

import os
from pathlib import Path
from typing import TypeAlias

from evenly.storage.stores.object_path import ObjectPath

_WHOLE = 8 << 20  # an object of at most this is fetched by one request: a request costs as much as some MB
_STRETCH = 4 << 20


class DescriptorRanges:
    """A file that somebody else holds open, by its descriptor. `size`: its bytes, of which none are held here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = self.held_from = os.fstat(descriptor).st_size

    def pread(self, length: int, start: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end."""
        return os.pread(self._descriptor, length, start)

    def sync(self) -> None:
        """Flush the file to disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Nothing: it is not ours to close."""


class FileRanges(DescriptorRanges):
    """A file of this machine, open for reading."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        super().__init__(descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class ObjectRanges:
    """An object of `size` bytes: its end, where files say what they hold, then whole stretches, the last one held."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._end, self.size = path.read_end(_WHOLE)
        self.held_from = self.size - len(self._end)
        self._stretch, self._stretch_at = b"", 0

    def pread(self, length: int, start: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end."""
        if start >= self.held_from:
            return self._end[start - self.held_from : start - self.held_from + length]
        length = min(length, self.size - start)
        if not self._stretch_at <= start <= start + length <= self._stretch_at + len(self._stretch):
            self._stretch = self._path.read_range(start, min(max(length, _STRETCH), self.size - start))
            self._stretch_at = start
        return self._stretch[start - self._stretch_at : start - self._stretch_at + length]

    def sync(self) -> None:
        """Nothing: what a store has acknowledged is durable."""

    def close(self) -> None:
        """Let go of what is held."""
        self._end = self._stretch = b""


Ranges: TypeAlias = DescriptorRanges | ObjectRanges
"""A file or object open for reading at any place."""


def open_ranges(path: Path) -> Ranges:
    """Open a file or an object. Raises FileNotFoundError where there is none."""
    return ObjectRanges(path) if isinstance(path, ObjectPath) else FileRanges(path)
