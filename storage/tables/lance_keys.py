"""Rows of Lance datasets by a key: only files that hold what is looked for are read, and compared with their sums.

Beside the sums of a file stand the least and the greatest key of the commit that wrote it. Where rows were committed
partition by partition, those of one partition are so looked for in its own files.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import NotFoundError
from evenly.storage.stores.files import each_stored
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.block_sums import checked_blocks
from evenly.storage.tables.lance_rows import (
    KEY,
    MADE_AGAIN,
    ROWS_PER_FILE,
    check_indices,
    check_pages,
    check_taken,
    open_rows,
    readable_rows,
)

COLUMN, NAME = "vector", "nearest"
"""The column of which an index is made, and its name."""
_KEYS_AT_ONCE = 1 << 20
_BATCH_ROWS = 1 << 13
_SCANNED_FROM = 16  # where one row in so many is looked for, a file is read through


class KeyedRows:
    """The newest version of a dataset, whose rows are looked for by the column `key`.

    Raises NotFoundError where there is none, and as `read_rows` does, here and in its methods.
    """

    def __init__(self, path: Path, remedy: str, key: str = KEY) -> None:
        self._path, self._remedy, self._key = path, remedy, key
        with readable_rows(path, remedy):
            self._dataset = open_rows(path, remedy, None)
            self.schema: pa.Schema = self._dataset.schema

    def stored(self, values: pa.Array) -> npt.NDArray[np.bool_]:
        """Whether each of `values` (n,) is a key; nothing but keys is read, 2**20 of them at a time."""
        stored = np.zeros(len(values), np.bool_)
        with readable_rows(self._path, self._remedy):
            for _, places, _ in _keyed(self._path, self._remedy, self._dataset, self._key, values):
                stored[places] = True
        return stored

    def rows(self, values: pa.Array, columns: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        """Rows by their key: places in `values`, and `columns` of the rows that these name.

        Each value that is stored comes once, of several rows with it the first. Held are the keys of 2**20 rows and the
        columns of some 8,192; files with none of the values are not read but for their keys, those with few only there.
        """
        path, remedy, dataset = self._path, self._remedy, self._dataset
        with readable_rows(path, remedy):
            for fragments, places, rows in _keyed(path, remedy, dataset, self._key, values):
                start = 0
                for files, length in _together(fragments, ROWS_PER_FILE):
                    count = int(((rows >= start) & (rows < start + length)).sum())
                    if 0 < count * _SCANNED_FROM < length and not isinstance(path, ObjectPath):
                        for numbers, table in _taken(path, remedy, dataset, files, rows=rows - start, columns=columns):
                            yield places[numbers], table
                    elif count:
                        check_pages(path, remedy, dataset, set(columns), files)
                        for is_in_batch, batch in _batches_with(rows - start, dataset, files, columns):
                            yield places[is_in_batch], batch
                    start += length


def rows_at(
    path: Path, remedy: str, places: npt.NDArray[np.int64], *, version: int, columns: Sequence[str]
) -> pa.Table:
    """The rows of a version at `places`, which rise. Raises as `read_rows` does."""
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        files = dataset.get_fragments()
        parts = [table for _, table in _taken(path, remedy, dataset, files, rows=places, columns=columns)]
        schema = pa.schema([dataset.schema.field(name) for name in columns])
    return pa.concat_tables([schema.empty_table(), *parts])


class VectorIndex:
    """The index of the newest version of a dataset, its files compared with their sums.

    kind: what it is, such as IVF_PQ; uuid: its own. `unindexed` rows came later: they are searched exactly beside it.
    Raises NotFoundError where there is none, and DamagedError where it has changed; both end with the `remedy`.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        self._path, self._remedy = path, remedy
        with readable_rows(path, MADE_AGAIN):
            self._dataset: Any = open_rows(path, MADE_AGAIN, None)
            described = [index for index in self._dataset.describe_indices() if index.name == NAME]
        if not described:
            raise NotFoundError(f"features `{path}` must have an index; there is none. {remedy}")
        with readable_rows(path, remedy):
            check_indices(path, remedy, self._dataset, {COLUMN})
            self.kind = str(described[0].index_type)
            self.uuid = str(described[0].segments[0].uuid)
            self.bytes = int(described[0].total_size_bytes)
            covered = {number for segment in described[0].segments for number in segment.fragment_ids}
            later = (part for part in self._dataset.get_fragments() if part.fragment_id not in covered)
            self.unindexed = sum(part.count_rows() for part in later)

    def nearest(self, query: np.ndarray, k: int, *, nprobes: int) -> list[str]:
        """The ids of `k` rows that are near to a query (d,), by cosine, of `nprobes` of the index's cells."""
        with readable_rows(self._path, self._remedy):
            search = {"column": COLUMN, "q": query.astype(np.float32), "k": k, "nprobes": nprobes}
            scanner = self._dataset.scanner(columns=[KEY, "_distance"], nearest=search)
            ids: list[str] = scanner.to_table()[KEY].to_pylist()
        return ids


def _taken(
    path: Path,
    remedy: str,
    dataset: Any,  # noqa: ANN401 - Lance's
    files: list[Any],
    *,
    rows: npt.NDArray[np.int64],
    columns: Sequence[str],
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
    """The rows of `rows` in the files, one file's at a time: their numbers, and their columns."""
    start = 0
    for fragment in files:
        length = fragment.count_rows()
        numbers = np.flatnonzero((rows >= start) & (rows < start + length))
        numbers = numbers[np.argsort(rows[numbers])]
        if len(numbers):
            local = rows[numbers] - start
            check_taken(path, remedy, dataset, set(columns), fragment=fragment, rows=local)
            table = fragment.take(local.tolist(), columns=list(columns))
            table.validate(full=True)
            yield numbers, table
        start += length


def _batches_with(
    rows: npt.NDArray[np.int64],
    dataset: Any,  # noqa: ANN401 - Lance's
    files: list[Any],
    columns: Sequence[str],
) -> Iterator[tuple[npt.NDArray[np.bool_], pa.Table]]:
    """The `rows` of some files, those that are decoded together at a time: which these are, and their columns."""
    scanner = dataset.scanner(
        columns=list(columns), fragments=files, scan_in_order=True, batch_size=_BATCH_ROWS, batch_readahead=1
    )
    start = 0
    for batch in scanner.to_batches():
        is_in_batch = (rows >= start) & (rows < start + batch.num_rows)
        if is_in_batch.any():
            batch.validate(full=True)
            yield is_in_batch, pa.Table.from_batches([batch.take(pa.array(rows[is_in_batch] - start))])
        start += batch.num_rows


def _keyed(
    path: Path,
    remedy: str,
    dataset: Any,  # noqa: ANN401 - Lance's
    key: str,
    values: pa.Array,
) -> Iterator[tuple[list[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Stretches of a dataset's files, the places of the values that stand in each, and their rows there."""
    left = np.arange(len(values))
    for fragments, _ in _together(_may_hold(path, remedy, dataset.get_fragments(), key, values), _KEYS_AT_ONCE):
        if not len(left):
            return
        check_pages(path, remedy, dataset, {key}, fragments)
        keys = dataset.scanner(columns=[key], fragments=fragments, scan_in_order=True).to_table()[key]
        keys.validate(full=True)
        rows = _first_rows(keys.combine_chunks(), values.take(pa.array(left)))
        is_here = rows >= 0
        yield fragments, left[is_here], rows[is_here]
        left = left[~is_here]


def _first_rows(keys: pa.Array, values: pa.Array) -> npt.NDArray[np.int64]:
    """The first row (n,) of each value among the keys, -1 for one that is none; the shorter of both is hashed."""
    rows: npt.NDArray[np.int64]
    if len(values) * 2 >= len(keys):
        rows = pc.fill_null(pc.index_in(values, keys), -1).to_numpy().astype(np.int64)
        return rows
    distinct = values.dictionary_encode(null_encoding="encode")
    numbers = pc.index_in(keys, distinct.dictionary)
    places, first = np.unique(numbers.drop_null().to_numpy(), return_index=True)
    rows = np.full(len(distinct.dictionary), -1, np.int64)
    rows[places] = np.flatnonzero(numbers.is_valid().to_numpy(zero_copy_only=False))[first]
    return np.asarray(rows[distinct.indices.to_numpy()])


def _may_hold(path: Path, remedy: str, fragments: Iterable[Any], key: str, values: pa.Array) -> Iterator[Any]:
    """The fragments with keys between the least and the greatest of the values, and those that do not say."""
    wanted, fragments = pc.min_max(values).as_py(), list(fragments) if len(values) else []

    def ranges_of(fragment: Any) -> list[tuple[str, str] | None]:  # noqa: ANN401 - Lance's
        return [_key_range(path, remedy, file.path) for file in fragment.data_files()] if key == KEY else [None]

    for fragment, ranges in zip(fragments, each_stored(ranges_of, fragments, path), strict=True):
        if any(keys is None or (keys[0] <= wanted["max"] and wanted["min"] <= keys[1]) for keys in ranges):
            yield fragment


@lru_cache(maxsize=1 << 14)
def _key_range(path: Path, remedy: str, file: str) -> tuple[str, str] | None:
    """The least and the greatest key of a data file, which never changes; None where its sums do not say."""
    keys = checked_blocks(path, f"data/{file}", remedy).keys
    return None if keys.get("min") is None else (str(keys["min"]), str(keys["max"]))


def _together(fragments: Iterable[Any], most: int) -> Iterator[tuple[list[Any], int]]:
    """Fragments in order, as many together as have at most so many rows, and how many these are."""
    group, rows = list[Any](), 0
    for fragment in fragments:
        length = fragment.count_rows()
        if group and rows + length > most:
            yield group, rows
            group, rows = [], 0
        group.append(fragment)
        rows += length
    if group:
        yield group, rows
