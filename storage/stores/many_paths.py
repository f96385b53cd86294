"""Many files or objects at once: objects are asked for several at a time, since a request is mostly waiting."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from evenly.storage.stores.object_path import AT_ONCE, ObjectPath

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
