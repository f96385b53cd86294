"""Matches of a pool's captions, as one Parquet file with its identities.

Beside `matches.parquet` lie `matches.entries.parquet`, the list's entries with the captions that name each, and
`matches.counts.parquet`, the same per file of the pool: counts of files add up to those of the whole.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError
from evenly.storage.matches.counts import COUNTS, MatchCounts, counts_hash, summed_counts
from evenly.storage.matches.parts import regrouped
from evenly.storage.matches.stamped import StampedFile, write_stamped
from evenly.storage.records import canonical_json, replacing, sync_folder
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

    def counts(self) -> pa.Table:
        """Captions per language and entry [language, entry, captions], of all files together.

        From the counts beside the file where they are the file's own, else counted from its rows.
        """
        counts_file = counts_path(self.path)
        if counts_file.is_file():
            with self.opened(counts_file) as file:
                table = file.read(columns=COUNTS.names).cast(COUNTS)
            if counts_hash(table) == self.facts["counts"]:
                return summed_counts(table)
        tally = MatchCounts(self.n_entries)
        for _ in tally.watch("", "", self.groups(["language", "entries", "reason"])):
            pass
        return summed_counts(tally.table)

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
