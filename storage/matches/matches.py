"""Matches of a pool's captions, as one Parquet file with its identities.

Beside `matches.parquet` lie `matches.entries.parquet`, the list's entries with the captions that name each, and
`matches.counts.parquet`, the same per file of the pool: counts of files add up to those of the whole.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError
from evenly.storage.matches.stamped import StampedFile, write_stamped
from evenly.storage.records import canonical_json, replacing, sync_folder
from evenly.storage.tables.arrow_files import tables_of
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums

MATCHES = pa.schema(
    [
        ("uid", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("language", pa.string()),
        ("entries", pa.list_(pa.int32())),
        ("reason", pa.string()),
    ]
)
ROWS = 1 << 18
"""In a row group, and in a part: what balancing holds at once, for each of its workers."""
_DICTIONARIES = ["file", "language", "reason"]
_REPEATED = pa.dictionary(pa.int32(), pa.string())
ENCODED = pa.schema([field.with_type(_REPEATED) if field.name in {"file", "reason"} else field for field in MATCHES])
"""MATCHES on the way: words that repeat are held once."""


def assemble(
    out: Path,
    folder: Path,
    files: Iterable[tuple[str, str, Iterable[pa.Table]]],
    *,
    entries: pa.Array,
    facts: Mapping[str, Any],
) -> None:
    """Write the matches of `files` (name, hash, tables of ENCODED) to `out`, what lies beside it first.

    folder: where the whole grows; it must be on the same disk. Equal rows give equal bytes.
    """
    tally = MatchCounts(len(entries))
    folder.mkdir(parents=True, exist_ok=True)
    tables = (table for name, file, its_tables in files for table in tally.watch(name, file, its_tables))
    whole_file = folder / "whole.parquet"
    groups = regrouped(tables, ENCODED.empty_table())
    write_stamped(whole_file, ENCODED, _DICTIONARIES, groups, (MatchFile.key, lambda: {**facts, **tally.facts()}))
    _write_beside(counts_path(out), tally.table, {"counts": tally.hash, "files": tally.files})
    texts = pa.table({"entry": entries.cast(pa.string()), "captions": tally.totals})
    _write_beside(entries_path(out), texts, {"texts": facts["list"]["texts"]})
    whole_file.replace(out)
    sync_folder(out.parent)


def regrouped(tables: Iterable[pa.Table], empty: pa.Table) -> Iterator[pa.Table]:
    """The same rows in tables of ROWS each, the last with what is left; one at least, with the columns of `empty`."""
    return map(_encoded, tables_of(chain([empty], tables), ROWS))


def _encoded(table: pa.Table) -> pa.Table:
    """The same rows, words that are held once in the order in which they occur: they are written as they are held."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            words = table[field.name].cast(field.type.value_type).combine_chunks().dictionary_encode()
            table = table.set_column(place, field, words)
    return table


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchFile(StampedFile):
    """A file that `assemble` wrote."""

    key: ClassVar[bytes] = b"evenly.matches"
    command: ClassVar[str] = "evenly match"
    option: ClassVar[str] = "matches"

    @cached_property
    def n_entries(self) -> int:
        """The number of entries of the list."""
        return int(self.facts["list"]["entries"])

    @cached_property
    def n_groups(self) -> int:
        """The number of row groups."""
        with self.opened() as file:
            return int(file.num_row_groups)

    def groups(self, columns: list[str], number: int | None = None) -> Iterator[pa.Table]:
        """The row groups in order, or the one of this number, some columns of them.

        Raises DamagedError where entries are not of the list.
        """
        with self.opened() as file:
            for place in range(file.num_row_groups) if number is None else [number]:
                table = file.read_row_group(place, columns=columns, use_threads=False)
                self._check(table)
                yield table

    @property
    def beside(self) -> Sequence[Path]:
        """The counts, and the entries."""
        return counts_path(self.path), entries_path(self.path)

    def counts(self) -> pa.Table:
        """Captions per language and entry [language, entry, captions], for each file of the pool.

        From the counts beside the file where they are the file's own, else counted from its rows.
        """
        counts_file = counts_path(self.path)
        if counts_file.is_file():
            with self.opened(counts_file) as file:
                table = file.read(columns=COUNTS.names).cast(COUNTS)
            if counts_hash(table) == self.facts["counts"]:
                return table.drop(["file"])
        tally = MatchCounts(self.n_entries)
        for _ in tally.watch("", "", self.groups(["language", "entries", "reason"])):
            pass
        return tally.table.drop(["file"])

    def texts(self) -> pa.Array | None:
        """The texts of the entries from beside the file; None where they are gone or not those of its list."""
        texts_file = entries_path(self.path)
        if not texts_file.is_file():
            return None
        with self.opened(texts_file) as file:
            entries = file.read(columns=["entry"])["entry"].combine_chunks()
        return entries if not entries.null_count and texts_hash(entries) == self.facts["list"]["texts"] else None

    def _check(self, table: pa.Table) -> None:
        if any(table[name].null_count for name in {"uid", "entries", "reason"} & set(table.column_names)):
            raise DamagedError(f"`{self.path}` must hold no nulls but languages; it does. Match again.")
        if "entries" in table.column_names:
            least, most = pc.min_max(pc.list_flatten(table["entries"])).as_py().values()
            if least is not None and not 0 <= least <= most < self.n_entries:
                raise DamagedError(
                    f"`{self.path}` must name entries 0 to {self.n_entries - 1}; got {least} to {most}. Match again."
                )


def entries_path(matches: Path) -> Path:
    """Where the list's entries lie."""
    return matches.with_name(f"{matches.stem}.entries.parquet")


def texts_hash(texts: pa.Array) -> str:
    """Hex sha256 of strings without nulls, in order: of their lengths, then of their bytes."""
    wide = texts.cast(pa.large_string())
    _, ends, data = wide.buffers()
    bounds = np.frombuffer(ends, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    state = hashlib.sha256(np.diff(bounds).tobytes())
    state.update(memoryview(data)[bounds[0] : bounds[-1]])
    return state.hexdigest()


def counts_path(matches: Path) -> Path:
    """Where the counts per file of the pool lie."""
    return matches.with_name(f"{matches.stem}.counts.parquet")


def _write_beside(path: Path, table: pa.Table, facts: Mapping[str, Any]) -> None:
    schema = table.schema.with_metadata({**PARQUET_MARK, MatchFile.key: canonical_json(facts)})
    with replacing(path) as stream:
        pq.write_table(
            table.cast(schema), stream, compression="zstd", use_dictionary=["file", "language"], write_statistics=False
        )
        append_sums(stream)


Ints = npt.NDArray[np.int64]
_NAMES = pa.dictionary(pa.int32(), pa.string())
COUNTS = pa.schema([("file", _NAMES), ("language", _NAMES), ("entry", pa.int32()), ("captions", pa.int64())])


def counts_hash(counts: pa.Table) -> str:
    """Hex sha256 of a table of COUNTS."""
    state = hashlib.sha256()
    for name in ("file", "language"):
        column = counts[name].combine_chunks()
        codes = column.indices.to_numpy()
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        state.update(canonical_json(column.take(pa.array(starts)).to_pylist()))
        state.update(starts.astype(np.int64).tobytes())
    for name in ("entry", "captions"):
        state.update(counts[name].to_numpy().tobytes())
    return state.hexdigest()


def value_counts(texts: pa.ChunkedArray) -> Counter[str]:
    """The count of each text."""
    return Counter({tally["values"]: tally["counts"] for tally in pc.value_counts(texts).to_pylist()})


class MatchCounts:
    """Counts what goes by: captions per file, language and entry, and rows by reason."""

    def __init__(self, n_entries: int) -> None:
        self.files: list[dict[str, Any]] = []
        self._n_entries = n_entries
        self._languages: dict[str, int] = {}
        self._reasons = Counter[str]()
        self._cells: list[tuple[Ints, Ints]] = []

    def watch(self, name: str, file: str, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the tables of one file as they are."""
        rows, counts = 0, _Cells()
        for table in tables:
            rows += table.num_rows
            self._reasons += value_counts(table["reason"])
            counts.add(*self._cells_of(table))
            yield table
        cells, captions = counts.total()
        self._cells.append((cells, captions))
        self.files.append({"name": name, "file": file, "rows": rows, "matches": int(captions.sum())})

    @cached_property
    def table(self) -> pa.Table:
        """The table COUNTS, once all has gone by."""
        lengths = [len(cells) for cells, _ in self._cells]
        files = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        cells, captions = (
            np.concatenate([np.zeros(0, np.int64), *arrays]) for arrays in zip(*self._cells, strict=True)
        )
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
            for codes, names in (
                (files, [file["file"] for file in self.files]),
                ((cells // self._n_entries).astype(np.int32), list(self._languages)),
            )
        ]
        entries = pa.array((cells % self._n_entries).astype(np.int32))
        return pa.table([*columns, entries, pa.array(captions)], schema=COUNTS)

    @cached_property
    def hash(self) -> str:
        """The hash of the table."""
        return counts_hash(self.table)

    @cached_property
    def totals(self) -> Ints:
        """Captions per entry, of all files and languages."""
        weights = self.table["captions"].to_numpy().astype(np.float64)
        return np.bincount(self.table["entry"].to_numpy(), weights, self._n_entries).astype(np.int64)

    def facts(self) -> dict[str, Any]:
        """Rows, how many matched and why the others did not, matches and their hash, entries that occur or never do."""
        hit = int(np.count_nonzero(self.totals))
        reasons = dict(sorted(self._reasons.items()))
        return {
            "files": len(self.files),
            "rows": sum(reasons.values()),
            "matched": reasons.pop("", 0),
            "unmatched": sum(reasons.values()),
            "reasons": reasons,
            "matches": int(self.totals.sum()),
            "languages": sorted(self._languages) if list(self._languages) != [""] else [],
            "entries_hit": hit,
            "entries_never_hit": self._n_entries - hit,
            "counts": self.hash,
        }

    def _cells_of(self, table: pa.Table) -> tuple[npt.NDArray[Any], int]:
        """The cell of each match, a language's code times the number of entries plus the entry; how many there are."""
        lists = table["entries"].combine_chunks()
        numbers = lists.flatten().to_numpy()
        texts = table["language"].combine_chunks()
        if texts.null_count == len(texts):
            code = self._languages.setdefault("", len(self._languages)) if len(texts) else 0
            cells = numbers if code == 0 else numbers + np.int64(code * self._n_entries)
            return cells, (code + 1) * self._n_entries
        texts = pc.fill_null(texts, "")
        for name in texts.unique().to_pylist():
            self._languages.setdefault(name, len(self._languages))
        codes = pc.index_in(texts, pa.array(list(self._languages), pa.string())).to_numpy().astype(np.int64)
        offsets = np.repeat(codes * self._n_entries, lists.value_lengths().to_numpy())
        return numbers + offsets, len(self._languages) * self._n_entries


class _Cells:
    """Counts of cells, in a table of all once there are many, else summed now and then."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints]] = []
        self._all = np.zeros(0, dtype=np.int64)

    def add(self, cells: npt.NDArray[Any], size: int) -> None:
        """Count cells, all of them below `size`."""
        if 8 * len(cells) >= size:
            grown = np.bincount(cells, minlength=max(size, len(self._all)))
            grown[: len(self._all)] += self._all
            self._all = grown
            return
        distinct, counts = np.unique(cells.astype(np.int64), return_counts=True)
        self._parts.append((distinct, counts.astype(np.int64)))
        if len(self._parts) > 16:  # so that a long file costs no more memory
            self._parts = [_summed(self._parts)]

    def total(self) -> tuple[Ints, Ints]:
        """(cells, counts), cells ascending and each once."""
        filled = np.flatnonzero(self._all)
        of_all = (filled, self._all[filled])
        return _summed([*self._parts, of_all]) if self._parts else of_all


def _summed(parts: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    cells, places = np.unique(np.concatenate([cells for cells, _ in parts]), return_inverse=True)
    counts = np.concatenate([counts for _, counts in parts]).astype(np.float64)
    return cells, np.bincount(places, counts, len(cells)).astype(np.int64)
