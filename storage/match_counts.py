"""How many captions name each entry, per file of a pool and language: counts that add up, in memory that is bounded."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storage.records import canonical_json

Ints = npt.NDArray[np.int64]
COUNTS = pa.schema([("file", pa.string()), ("language", pa.string()), ("entry", pa.int32()), ("captions", pa.int64())])


def counts_hash(counts: pa.Table) -> str:
    """Hex sha256 of a table of COUNTS."""
    state = hashlib.sha256()
    for name in ("file", "language"):
        state.update(canonical_json(counts[name].combine_chunks().dictionary_encode().dictionary.to_pylist()))
        state.update(counts[name].combine_chunks().dictionary_encode().indices.to_numpy().tobytes())
    for name in ("entry", "captions"):
        state.update(counts[name].to_numpy().tobytes())
    return state.hexdigest()


def summed_counts(counts: pa.Table) -> pa.Table:
    """Return [language, entry, captions] of a table of COUNTS, all files together."""
    grouped = counts.group_by(["language", "entry"], use_threads=False).aggregate([("captions", "sum")])
    return grouped.rename_columns({"captions_sum": "captions"})


class MatchCounts:
    """Counts what goes by: captions per file, language and entry, and rows by reason."""

    def __init__(self, n_entries: int) -> None:
        self.files: list[dict[str, Any]] = []
        self._n_entries = n_entries
        self._languages: dict[str, int] = {}
        self._reasons: dict[str, int] = {}
        self._tables: list[pa.Table] = []

    def watch(self, name: str, file: str, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the tables of one file as they are."""
        rows, counts = 0, _Sparse()
        for table in tables:
            rows += table.num_rows
            for each in pc.value_counts(table["reason"].combine_chunks()).to_pylist():
                self._reasons[each["values"]] = self._reasons.get(each["values"], 0) + each["counts"]
            counts.add(*self._counted(table))
            yield table
        cells, captions = counts.total()
        names = pa.array(list(self._languages), pa.string())
        columns = [
            pa.repeat(pa.scalar(file), len(cells)),
            names.take(pa.array(cells // self._n_entries)),
            pa.array((cells % self._n_entries).astype(np.int32)),
            pa.array(captions),
        ]
        self._tables.append(pa.table(columns, schema=COUNTS))
        self.files.append({"name": name, "file": file, "rows": rows, "matches": int(captions.sum())})

    def table(self) -> pa.Table:
        """The table COUNTS."""
        return pa.concat_tables([COUNTS.empty_table(), *self._tables]).combine_chunks()

    def totals(self) -> pa.Array:
        """Captions per entry, of all files and languages."""
        table = self.table()
        weights = table["captions"].to_numpy().astype(np.float64)
        return pa.array(np.bincount(table["entry"].to_numpy(), weights, self._n_entries).astype(np.int64))

    def facts(self) -> dict[str, Any]:
        """Rows, how many matched and why the others did not, matches, entries that occur and that never do."""
        totals = self.totals().to_numpy()
        hit = int(np.count_nonzero(totals))
        reasons = dict(sorted(self._reasons.items()))
        return {
            "files": len(self.files),
            "rows": sum(reasons.values()),
            "matched": reasons.pop("", 0),
            "unmatched": sum(reasons.values()),
            "reasons": reasons,
            "matches": int(totals.sum()),
            "languages": sorted(self._languages) if list(self._languages) != [""] else [],
            "entries_hit": hit,
            "entries_never_hit": self._n_entries - hit,
        }

    def _counted(self, table: pa.Table) -> tuple[Ints, Ints]:
        """Cells, a language's code times the number of entries plus the entry, and the captions in each."""
        lists = table["entries"].combine_chunks()
        numbers = lists.flatten().to_numpy()
        texts = table["language"].combine_chunks()
        if texts.null_count == len(texts):
            code = self._languages.setdefault("", len(self._languages)) if len(texts) else 0
            cells, captions = _counted(numbers, self._n_entries)
            return cells + code * self._n_entries, captions
        texts = pc.fill_null(texts, "")
        for name in texts.unique().to_pylist():
            self._languages.setdefault(name, len(self._languages))
        codes = pc.index_in(texts, pa.array(list(self._languages), pa.string())).to_numpy().astype(np.int64)
        offsets = np.repeat(codes * self._n_entries, lists.value_lengths().to_numpy())
        return _counted(numbers + offsets, len(self._languages) * self._n_entries)


class _Sparse:
    """Counts of cells, summed now and then."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints]] = []

    def add(self, cells: Ints, counts: Ints) -> None:
        """Take some counts."""
        self._parts.append((cells, counts))
        if len(self._parts) > 16:  # so that a long file costs no more memory
            self._parts = [self.total()]

    def total(self) -> tuple[Ints, Ints]:
        """(cells, counts), cells ascending and each once."""
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        cells, where = np.unique(np.concatenate([cells for cells, _ in self._parts]), return_inverse=True)
        counts = np.concatenate([counts for _, counts in self._parts]).astype(np.float64)
        return cells, np.bincount(where, counts, len(cells)).astype(np.int64)


def _counted(numbers: npt.NDArray[Any], size: int) -> tuple[Ints, Ints]:
    """The distinct numbers below `size`, and how often each is there."""
    if 8 * len(numbers) < size:
        cells, counts = np.unique(numbers.astype(np.int64), return_counts=True)
        return cells, counts.astype(np.int64)
    dense = np.bincount(numbers, minlength=1)
    cells = np.flatnonzero(dense)
    return cells, dense[cells].astype(np.int64)
