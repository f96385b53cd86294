"""Rows of a pool file as Arrow tables: Parquet as it is, CSV and JSON lines row by row.

CSV and JSON lines are read by Python's own readers: they are slower than Arrow's, but a broken line is one row to them,
not the end of the file. Their columns are text; what is no text in JSON is kept as JSON text.
"""

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.keys import is_text_type
from evenly.storage.errors import StorageError, TooLargeError
from evenly.storage.pools.csv_records import BAD_ROW, CsvRecords
from evenly.storage.reading.budget import MOST_COLUMNS, TOO_LARGE, bounded_lines, check_width, stretches
from evenly.storage.reading.parquet import bounded_batches
from evenly.storage.stores.files import open_unpacked, seekable
from evenly.storage.tables.arrow_files import first_line

PIECE_ROWS = 250_000
"""Rows of a Parquet file that are read as one piece, at least, where its row groups allow it."""
_PARQUET_ROWS = 65_536
_TEXT_ROWS = 8_192
_KEYS_FROM_ROWS = 1_000
Row = dict[str, object]
Parsed = tuple[int, tuple[int, Row | str]]
"""Bytes of a row, the line that it begins in, and its values, or why it has none."""


class PoolError(StorageError, ValueError):
    """A pool or label file that cannot be read as it is described."""


@dataclass(frozen=True)
class PoolPiece:
    """A piece of a pool that is read at once: files, or the row groups [start, stop) of one file of Parquet."""

    files: tuple[Path, ...]
    groups: range | None = None
    first_row: int = 0


@dataclass(frozen=True)
class RawRows:
    """A stretch of a file, with its own columns.

    `rejects` says of rows that could not be read why, bad_row or row_too_large, and "" of others; `not_text` marks, per
    column that should hold text, values that are something else. Both are one per row, empty where there is nothing to
    say. `lines` are those of the file, from 1, that rows begin in; empty where a file has none.
    """

    table: pa.Table
    rejects: Sequence[str] = ()
    not_text: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    lines: Sequence[int] = ()

    @property
    def rejected(self) -> pa.Array:
        """Why each row could not be read; null where it could."""
        return pa.array([reason or None for reason in self.rejects] or [None] * self.table.num_rows, pa.string())

    def place(self, row: int) -> str:
        """Where a row of a file of lines begins, for people."""
        return f"line {self.lines[row]}"


@dataclass(frozen=True)
class PoolReader:
    """A reader of one kind of file: its column names, and its rows; `rows` is told which columns should hold text."""

    columns: Callable[[Path], list[str]]
    rows: Callable[[Path, Sequence[str]], Iterator[RawRows]]


def require_columns(
    path: Path, columns: Collection[str], named: Mapping[str, str | None], refusal: type[StorageError] = PoolError
) -> None:
    """Raise `refusal` for the names, by the fields that give them, that are no column of a file."""
    listing = ", ".join(columns) or "none"
    missing = [
        f"`{field}` must name a column of the file; got `{name}` at `{path}`. Columns there are: {listing}."
        for field, name in named.items()
        if name is not None and name not in columns
    ]
    if missing:
        raise refusal("\n".join(missing))


def file_kind(file: Path) -> str:
    """The ending that says how to read a file, in small letters and without `.gz`."""
    return (file.with_suffix("") if file.suffix == ".gz" else file).suffix.removeprefix(".").lower()


def parquet_columns(path: Path) -> list[str]:
    """Names of the top-level columns."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        names = list(file.schema_arrow.names)
    check_width(names, path)
    return names


def holds_text(path: Path) -> bool:
    """Whether all columns are text."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        return all(is_text_type(field.type) for field in file.schema_arrow)


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
    with readable(path, "Parquet"):
        for batch in bounded_batches(path, most_rows=_PARQUET_ROWS, groups=groups):
            yield RawRows(pa.Table.from_batches([batch]))


def parquet_head(path: Path, limit: int) -> list[Row]:
    """The first `limit` rows of a file, of columns of texts and whole numbers alone."""
    with readable(path, "Parquet"), pq.ParquetFile(seekable(path)) as file:
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
        names = [field.name for field in file.schema_arrow if any(is_kind(field.type) for is_kind in kinds)]
        batch = next(bounded_batches(path, most_rows=limit, columns=names), None)
        return [] if batch is None else cast("list[Row]", batch.to_pylist())


def csv_columns(path: Path) -> list[str]:
    """The header."""
    with readable(path, "CSV"), open_unpacked(path) as stream:
        header = CsvRecords(_lines(stream, path)).header
    check_width(header, path)
    return header


def csv_rows(path: Path, _text: Sequence[str]) -> Iterator[RawRows]:
    """Rows below the header; broken is one with another number of fields, a field above 128 kB or an open quote."""
    with readable(path, "CSV"), open_unpacked(path) as stream:
        records = CsvRecords(_lines(stream, path))
        header = records.header
        check_width(header, path)
        blank: list[str | None] = [None] * len(header)
        sized = ((record.size, record) for record in records)
        for stretch in stretches(sized, _TEXT_ROWS):
            values = zip(*(record.fields or blank for record in stretch), strict=True)
            columns = {name: text_array(list(column)) for name, column in zip(header, values, strict=True)}
            rejects = [record.reject for record in stretch]
            yield RawRows(pa.table(columns), rejects, lines=[record.line for record in stretch])


def jsonl_columns(path: Path) -> list[str]:
    """The keys of the first thousand rows, in order of appearance."""
    names: dict[str, None] = {}
    with readable(path, "JSON lines"), open_unpacked(path) as stream:
        for _, (line, row) in islice(_json_rows(stream, path), _KEYS_FROM_ROWS):
            if isinstance(row, dict):
                names |= dict.fromkeys(row)
                check_width(names, path, f", line {line}")
    return list(names)


def jsonl_rows(path: Path, text: Sequence[str]) -> Iterator[RawRows]:
    """One row per line that is not blank; a line that is no JSON object is broken."""
    names = dict.fromkeys(jsonl_columns(path))
    with readable(path, "JSON lines"), open_unpacked(path) as stream:
        for stretch in stretches(_json_rows(stream, path), _TEXT_ROWS):
            for line, row in stretch:
                if isinstance(row, dict) and not row.keys() <= names.keys():
                    names |= dict.fromkeys(row)
                    check_width(names, path, f", line {line}")
            yield _table(stretch, names, text)


def _json_rows(stream: BinaryIO, path: Path) -> Iterator[Parsed]:
    for number, line in enumerate(bounded_lines(stream, path), start=1):
        if not line:
            yield 0, (number, TOO_LARGE)
        elif line.strip():
            yield len(line), (number, json_row(line))


def json_row(line: bytes) -> Row | str:
    """The object of a line, its lists and objects as JSON: as they are they take twenty times the room."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            return BAD_ROW
        if b"[" in line or line.count(b"{") > 1:
            row = {
                name: JsonText(json.dumps(value)) if isinstance(value, list | dict) else value
                for name, value in row.items()
            }
    except (ValueError, RecursionError):
        return BAD_ROW
    return row if len(row) <= MOST_COLUMNS else TOO_LARGE


class JsonText(str):
    """JSON of a value that is no text."""

    __slots__ = ()


def _table(stretch: Sequence[tuple[int, Row | str]], names: Iterable[str], text: Sequence[str]) -> RawRows:
    """Text columns of these names."""
    blank: Row = {}
    rows = [blank if isinstance(row, str) else row for _, row in stretch]
    columns, not_text = {}, {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name in text:
            not_text[name] = [value is not None and type(value) is not str for value in values]
            values = [value if type(value) is str else None for value in values]
        columns[name] = text_array(values)
    rejects = [row if isinstance(row, str) else "" for _, row in stretch]
    return RawRows(pa.table(columns), rejects, not_text, [line for line, _ in stretch])


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


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a file as text; "" in the place of one that is too long."""
    for number, line in enumerate(bounded_lines(stream, path)):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn what a reader raises in the block into a PoolError that names the file."""
    try:
        yield
    except (PoolError, TooLargeError):
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, zlib.error) as error:  # pyarrow's errors are among them
        raise PoolError(
            f"`path` must be a readable {kind} file; got `{first_line(error)}` at `{path}`. "
            "Check that it is whole and that `kind` is right."
        ) from None
