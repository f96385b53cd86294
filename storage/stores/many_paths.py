"""Many files or objects at once, also those that a pattern names.

Objects are asked for several at a time, since a request is mostly waiting.
"""

import glob
import gzip
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from evenly.storage.stores.connection import is_url
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath, path_at

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_LISTED_FROM = 4  # objects of a folder that are looked for: a listing names up to 1,000 of them


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
