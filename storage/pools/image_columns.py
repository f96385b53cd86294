"""Columns of a Parquet file that hold pictures, or say where they lie, and what each picture is called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import InputError, TooLargeError
from evenly.storage.reading.parquet import bounded_batches
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.hashing import is_list, is_text_type

BYTES_COLUMNS = ("image", "image_bytes", "bytes", "picture", "content", "jpg", "png", "webp")
PATH_COLUMNS = ("path", "file_name", "image_path", "file", "image")
NAME_COLUMNS = ("name", "key", "uid", "id", "file_name", "path")
_BATCH_ROWS = 32  # pictures of some megabytes


@dataclass(frozen=True, kw_only=True)
class PictureColumns:
    """Names of the columns in use; `name` is None where pictures are called by their row."""

    picture: str
    name: str | None


def picture_columns(path: Path, picture: str | None = None, name: str | None = None) -> PictureColumns:
    """The columns to read: those named, else those of the usual names. Raises InputError where there is none."""
    with _readable(path):
        schema = pq.read_schema(path)
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"columns must have different names; got {', '.join(schema.names)} at `{path}`. Rename one.")
    for column in (picture, name):
        if column is not None and column not in schema.names:
            raise InputError(
                f"`column` must be one of the file's; got `{column}` at `{path}`. There: {', '.join(schema.names)}."
            )
    chosen = picture or _first(schema, BYTES_COLUMNS, _holds_bytes) or _first(schema, PATH_COLUMNS, is_text_type)
    if chosen is None or not (_holds_bytes(schema.field(chosen).type) or is_text_type(schema.field(chosen).type)):
        actual = "none" if chosen is None else f"`{chosen}` of type {schema.field(chosen).type}"
        raise InputError(
            f"`column` must hold bytes of pictures, or paths; got {actual} at `{path}`. Columns there: "
            f"{', '.join(schema.names) or 'none'}. Name one."
        )
    named = name or _first(schema, NAME_COLUMNS, lambda kind: is_text_type(kind) or pa.types.is_integer(kind))
    return PictureColumns(picture=chosen, name=named)


def column_values(path: Path, columns: PictureColumns) -> Iterator[tuple[str, bytes | str | None]]:
    """(name, bytes or path or None) of each row, a few rows in memory at a time."""
    row = 0
    wanted = list(dict.fromkeys([columns.picture, columns.name or columns.picture]))
    with _readable(path):
        for batch in bounded_batches(path, most_rows=_BATCH_ROWS, columns=wanted):
            names = batch[columns.name].to_pylist() if columns.name else [None] * batch.num_rows
            for name, value in zip(names, batch[columns.picture].to_pylist(), strict=True):
                yield f"row {row}" if name is None else str(name), _value(value)
                row += 1


def box_values(path: Path, column: str) -> Iterator[list[object]]:
    """The items of a column of lists in each row, a box for each; nothing for null, a few rows in memory at a time.

    Raises InputError now for a column that is not there, or holds no lists of lists.
    """
    with _readable(path):
        schema = pq.read_schema(path)
    kind = schema.field(column).type if schema.names.count(column) == 1 else None
    if kind is None or not (is_list(kind) and is_list(kind.value_type)):
        raise InputError(
            f"`boxes` must be a column of lists of boxes, [x0, y0, x1, y1] each; got `{column}` "
            f"({'not there' if kind is None else kind}) at `{path}`. Columns: {', '.join(schema.names) or 'none'}."
        )
    return _lists(path, column)


def _lists(path: Path, column: str) -> Iterator[list[object]]:
    with _readable(path):
        for batch in bounded_batches(path, most_rows=_BATCH_ROWS, columns=[column]):
            yield from (value or [] for value in batch[column].to_pylist())


def _value(value: object) -> bytes | str | None:
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes | str) else None


def _first(schema: pa.Schema, names: tuple[str, ...], fits: Callable[[pa.DataType], bool]) -> str | None:
    return next((name for name in names if name in schema.names and fits(schema.field(name).type)), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except TooLargeError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise InputError(
            f"`images` must be a readable Parquet file; got `{first_line(error)}` at `{path}`. Make it anew."
        ) from None
