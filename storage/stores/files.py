"""Files and objects by one interface: many at once, those that a pattern names, and their bytes by range.

Objects are asked for several at a time, since a request is mostly waiting. Ranges are for what is read with checksums.
"""

import glob
import gzip
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar, cast

from evenly.storage.stores.connection import is_url
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath, path_at

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_LISTED_FROM = 4  # objects of a folder that are looked for: a listing names up to 1,000 of them
_WHOLE = 8 << 20  # an object of at most this is fetched by one request: a request costs as much as some MB
_STRETCH = 4 << 20


def each_stored(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], place: Path, *, at_once: int = AT_ONCE
) -> Iterator[ResultT]:
    """The result of `function` for each item, in their order; `at_once` together where it asks the store of `place`.

    Elsewhere it is called as its results are asked for.
    """
    if len(items) < 2 or not isinstance(place, ObjectPath):
        yield from map(function, items)
        return
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(function, items)


def map_paths(function: Callable[[Path], ResultT], paths: Sequence[Path]) -> list[ResultT]:
    """The result of `function` for each path, in their order; of objects several at once."""
    return list(each_stored(function, paths, paths[0])) if paths else []


def missing_files(paths: Iterable[Path]) -> set[Path]:
    """The paths at which there is no file."""
    by_folder: dict[Path, set[Path]] = defaultdict(set)
    for path in paths:
        by_folder[path.parent].add(path)

    def missing_in(folder: Path) -> set[Path]:
        wanted = by_folder[folder]
        if isinstance(folder, ObjectPath) and len(wanted) >= _LISTED_FROM:
            return wanted - {folder / name for name, _ in folder.objects()}
        return {
            path for path, is_there in zip(wanted, map_paths(Path.is_file, list(wanted)), strict=True) if not is_there
        }

    return set[Path]().union(*map_paths(missing_in, list(by_folder)))


_MAGIC = re.compile(r"[*?[]")


def matching_files(pattern: str) -> list[Path]:
    """The paths that a pattern names, sorted; `**` is any number of folders. A URL's begins below its bucket."""
    fixed = _fixed(pattern)
    place = path_at(fixed) if is_url(pattern) else None
    if not isinstance(place, ObjectPath):
        local = str(path_at(pattern))
        return [Path(name) for name in sorted(glob.glob(local, recursive=True))]  # noqa: PTH207 - absolute patterns too
    below = pattern.removeprefix(fixed).strip("/")
    matches = place.glob(below) if below else iter([place] if place.exists() else [])
    return sorted(matches)


def seekable(path: Path) -> Path | BinaryIO:
    """The path, or for one in an object store a stream, for libraries that open paths of this machine alone."""
    return cast("BinaryIO", path.open("rb")) if isinstance(path, ObjectPath) else path


def open_unpacked(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where its name ends in `.gz`."""
    return cast("BinaryIO", gzip.open(seekable(path), "rb")) if path.suffix == ".gz" else path.open("rb")


def _fixed(pattern: str) -> str:
    """The folders of a pattern ahead of the first that is one."""
    match = _MAGIC.search(pattern)
    return pattern if match is None else pattern[: match.start()].rpartition("/")[0]


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
