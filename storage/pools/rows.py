"""Rows of a pool file as Arrow tables: Parquet as it is, CSV and JSON lines row by row.

CSV and JSON lines are read by Python's own readers: they are slower than Arrow's, but a broken line is one row to them,
not the end of the file. Their columns are text; what is no text in JSON is kept as JSON text.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import StorageError
from evenly.storage.pools.csv_records import CsvRecords
from evenly.storage.stores.matching_files import open_unpacked, seekable
from evenly.storage.tables.arrow_files import first_line

PIECE_ROWS = 250_000
"""Rows of a Parquet file that are read as one piece, at least, where its row groups allow it."""
_PARQUET_ROWS = 65_536
_TEXT_ROWS = 8_192
_KEYS_FROM_ROWS = 1_000
Row = dict[str, object]


class PoolError(StorageError, ValueError):
    """A pool or label file that cannot be read as it is described."""


@dataclass(frozen=True)
class PoolPiece:
    """What of a pool is read at once: files, or the row groups [start, stop) of one file of Parquet."""

    files: tuple[Path, ...]
    groups: range | None = None
    first_row: int = 0


@dataclass(frozen=True)
class RawRows:
    """A stretch of a file, with its own columns.

    `broken` marks rows that could not be read at all; `not_text` marks, per column that should hold text, values that
    are something else. Both are one bool per row, empty where there is nothing to mark. `lines` are those of the file,
    from 1, that rows begin in; empty where a file has none.
    """

    table: pa.Table
    broken: Sequence[bool] = ()
    not_text: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    lines: Sequence[int] = ()

    def place(self, row: int) -> str:
        """Where a row of a file of lines begins, for people."""
        return f"line {self.lines[row]}"


@dataclass(frozen=True)
class PoolReader:
    """A reader of one kind of file: its column names, and its rows; `rows` is told which columns should hold text."""

    columns: Callable[[Path], list[str]]
    rows: Callable[[Path, Sequence[str]], Iterator[RawRows]]


def file_kind(file: Path) -> str:
    """The ending that says how to read a file, in small letters and without `.gz`."""
    return (file.with_suffix("") if file.suffix == ".gz" else file).suffix.removeprefix(".").lower()


def parquet_columns(path: Path) -> list[str]:
    """Names of the top-level columns."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        return list(file.schema_arrow.names)


def parquet_pieces(path: Path) -> list[PoolPiece]:
    """The pieces of a file: of a large one, stretches of row groups with PIECE_ROWS rows or more."""
    with readable(path, "Parquet"):
        metadata = pq.read_metadata(seekable(path))
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    pieces, start, first = list[PoolPiece](), 0, 0
    for stop in range(1, len(rows) + 1):
        n_rows = sum(rows[start:stop])
        if n_rows >= PIECE_ROWS or stop == len(rows):
            pieces.append(PoolPiece((path,), range(start, stop), first))
            start, first = stop, first + n_rows
    return pieces if len(pieces) > 1 else [PoolPiece((path,))]


def parquet_rows(path: Path, _text: Sequence[str], groups: range | None = None) -> Iterator[RawRows]:
    """The file's tables, types as they are; of its row groups `groups`, without them of all."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, row_groups=None if groups is None else list(groups)):
            yield RawRows(pa.Table.from_batches([batch]))


def parquet_head(path: Path, limit: int) -> list[Row]:
    """The first `limit` rows of a file, of columns of texts and whole numbers alone."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
        names = [field.name for field in file.schema_arrow if any(is_kind(field.type) for is_kind in kinds)]
        batch = next(file.iter_batches(batch_size=limit, columns=names), None)
        return [] if batch is None else cast("list[Row]", batch.to_pylist())


def csv_columns(path: Path) -> list[str]:
    """The header."""
    with readable(path, "CSV"), open_unpacked(path) as stream:
        return CsvRecords(_lines(stream)).header


def csv_rows(path: Path, text: Sequence[str]) -> Iterator[RawRows]:
    """Rows below the header; broken is one with another number of fields, a field above 128 kB or an open quote."""
    with readable(path, "CSV"), open_unpacked(path) as stream:
        records = CsvRecords(_lines(stream))
        header = records.header
        rows = ((line, None if fields is None else _named(header, fields)) for line, fields in records)
        yield from _tables(rows, header, text)


def _named(header: list[str], fields: list[str]) -> Row:
    return cast("Row", dict(zip(header, fields, strict=True)))


def jsonl_columns(path: Path) -> list[str]:
    """The keys of the first thousand rows, in order of appearance."""
    with readable(path, "JSON lines"), open_unpacked(path) as stream:
        return list(dict.fromkeys(key for _, row in islice(_json_rows(stream), _KEYS_FROM_ROWS) for key in row or ()))


def jsonl_rows(path: Path, text: Sequence[str]) -> Iterator[RawRows]:
    """One row per line that is not blank; a line that is no JSON object is broken."""
    header = jsonl_columns(path)
    with readable(path, "JSON lines"), open_unpacked(path) as stream:
        yield from _tables(_json_rows(stream), header, text)


def _json_rows(stream: BinaryIO) -> Iterator[tuple[int, Row | None]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield number, row if isinstance(row, dict) else None


def _tables(rows: Iterator[tuple[int, Row | None]], header: list[str], text: Sequence[str]) -> Iterator[RawRows]:
    """Tables of text columns: those of `header`, and keys that turn up later. `rows` come with their lines."""
    while numbered := list(islice(rows, _TEXT_ROWS)):
        stretch = [row for _, row in numbered]
        names = list(dict.fromkeys([*header, *(key for row in stretch for key in row or ())]))
        columns, not_text = {}, {}
        for name in names:
            values = [row.get(name) if row is not None else None for row in stretch]
            if name in text:
                not_text[name] = [value is not None and not isinstance(value, str) for value in values]
                values = [value if isinstance(value, str) else None for value in values]
            columns[name] = text_array(values)
        yield RawRows(pa.table(columns), [row is None for row in stretch], not_text, [line for line, _ in numbered])


def text_array(values: list[object]) -> pa.Array:
    """Text, with what is no text written as JSON. Bytes that were no UTF-8 stay what they are: whoever reads checks."""
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if text is None else _raw_bytes(text) for text in texts], pa.binary()).view(pa.string())


def _raw_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _lines(stream: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(stream):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn what a reader raises in the block into a PoolError that names the file."""
    try:
        yield
    except PoolError:
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, zlib.error) as error:  # pyarrow's errors are among them
        raise PoolError(
            f"`path` must be a readable {kind} file; got `{first_line(error)}` at `{path}`. "
            "Check that it is whole and that `kind` is right."
        ) from None
