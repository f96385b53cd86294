"""Arrow tables as files, those that a run has just written, and their rows.

A step's table is one Arrow IPC file (Feather V2) compressed by Zstandard, the format that takes least time to write for
its size (benchmarks/table_formats.py). It is written once and never changes; what is read of it is compared with the
checksums in it (storage/tables/block_sums.py), so that Arrow decodes no byte that has changed.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc
from pyarrow.types import is_floating, is_integer

from evenly.keys import one_array
from evenly.storage.errors import DamagedError, NotFoundError, StorageError
from evenly.storage.records import replacing
from evenly.storage.tables.block_sums import append_sums, open_checked
from evenly.storage.tables.hashing import has_remnants, is_text_or_bytes

_BATCH_ROWS = 1 << 16  # what is read for one row
_REMEDY = "Remove the file and run the rebuild again."


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` at `path`, whole and durable, or not at all; of a null nothing is written.

    Raises StorageError where it cannot be written: a full disk, a folder that is read-only.
    """
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with writable(path), replacing(path) as stream:
        with ipc.new_file(stream, table.schema, options=options) as writer:
            writer.write_table(_without_remnants(table), max_chunksize=_BATCH_ROWS)
        append_sums(stream)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Raise StorageError, which says what to do, where a table or a file on its way cannot be written in the block."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # of Lance's
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"table `{path}` must be writable; {first_line(error)}. Nothing was committed; free space, or choose "
            "another --root."
        ) from error


def read_table(path: Path, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
    """Read a table, rows in the order written: `columns` in the order given, of rows that `where` is true of.

    Raises NotFoundError where there is none, DamagedError where it cannot be read or has changed.
    """
    with _readable(path), open_checked(path, _REMEDY) as source:
        if where is not None:
            return _matching(source, columns, where)
        if columns is None:
            return ipc.open_file(source).read_all()
        return _some(source, ipc.open_file(source).schema.names, set(columns)).read_all().select(list(columns))


def read_schema(path: Path) -> pa.Schema:
    """The columns of a table and their types; raises as `read_table` does."""
    with _readable(path), open_checked(path, _REMEDY) as source:
        return ipc.open_file(source).schema


def _matching(source: pa.NativeFile, columns: Sequence[str] | None, where: pc.Expression) -> pa.Table:
    """The rows that `where` is true of; other columns than those it names are read only in batches that have some."""
    names = ipc.open_file(source).schema.names
    wanted = names if columns is None else list(columns)
    expression = str(where)
    keys = [name for name in names if name in expression]
    file = _some(source, names, {*keys, *wanted})
    numbers = list(range(file.num_record_batches))
    if len(numbers) > 1:
        judged = _some(source, names, set(keys))
        numbers = [number for number in numbers if _rows(judged, number, where).num_rows]
    tables = [file.schema.empty_table(), *(_rows(file, number, where) for number in numbers)]
    return pa.concat_tables(tables).select(wanted)


def _rows(file: ipc.RecordBatchFileReader, number: int, where: pc.Expression) -> pa.Table:
    return pa.Table.from_batches([file.get_batch(number)]).filter(where)


def _some(source: pa.NativeFile, names: Sequence[str], columns: AbstractSet[str]) -> ipc.RecordBatchFileReader:
    """A reader of those `columns` of a file, whose columns are `names`, in the order of the file."""
    fields = [place for place, name in enumerate(names) if name in columns]
    return ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=fields))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(
            f"table `{path}` must exist; it does not. Run the rebuild again: it makes what is missing."
        ) from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DamagedError(f"table `{path}` must be readable; {first_line(error)}. {_REMEDY}") from error


def _without_remnants(table: pa.Table) -> pa.Table:
    """The same table in one chunk, whose nulls stand over no bytes: Arrow keeps those that a null was laid over.

    Nor does anything stand beside a column: of a slice, its neighbours would.
    """
    columns = [_bare(_alone(column)) for column in table.combine_chunks().columns]
    return pa.table(columns, schema=table.schema)


def _alone(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, whose buffers hold its values alone; it is copied where it is not known that they do."""
    array = one_array(column)
    last_bound = {pa.string(): 4, pa.large_string(): 8}.get(array.type, 0)  # which is not among the bytes of its values
    is_alone = array.get_total_buffer_size() == array.nbytes + last_bound
    return array if is_alone and not pa.types.is_nested(array.type) else pa.concat_arrays([array])


def _bare(array: pa.Array) -> pa.Array:
    if not array.null_count or not (is_text_or_bytes(array.type) or pa.types.is_nested(array.type)):
        return array
    if array.null_count == len(array):
        return null_rows(len(array), array.type)
    if pa.types.is_string(array.type) and not has_remnants(array):
        return array
    try:
        return array.take(pc.if_else(array.is_valid(), pa.array(np.arange(len(array))), None))
    except pa.ArrowNotImplementedError:  # views: no table of ours has them
        return pa.array(array.to_pylist(), array.type)


def read_trouble(error: OSError | UnicodeDecodeError) -> str:
    """Why a file of text cannot be read, in words."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def first_line(error: BaseException) -> str:
    """The first line of an error's text: what people can read of a library's long message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


MAX_BYTES = 256 << 20


class RecentTables:
    """Tables by path, as many of the last as fit into `max_bytes`; a table that is larger alone is not held."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tables = OrderedDict[Path, pa.Table]()

    def __reduce__(self) -> tuple[type["RecentTables"], tuple[int]]:
        """Another process gets none of the tables: it reads them from the disk."""
        return RecentTables, (self._max_bytes,)

    def add(self, path: Path, table: pa.Table) -> None:
        """Hold a table that was written at `path`."""
        if table.nbytes > self._max_bytes:
            return
        self._tables[path] = table
        while sum(cached.nbytes for cached in self._tables.values()) > self._max_bytes:
            self._tables.popitem(last=False)

    def get(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The table that was written at `path`, or some of its columns; None where it is not held."""
        table = self._tables.get(path)
        if table is None:
            return None
        self._tables.move_to_end(path)
        return table if columns is None else table.select(list(columns))


def null_rows(n: int, kind: pa.DataType) -> pa.Array:
    """Nulls (n,) of a type, equal to `pa.nulls(n, kind)`.

    Lists of k numbers hold zeros below their nulls, in memory that is not touched before it is written to; Arrow would
    put k nulls there, and then takes rows number by number: 768 of them cost it 16 microseconds a row, against 0.1.
    """
    if not (pa.types.is_fixed_size_list(kind) and (is_integer(kind.value_type) or is_floating(kind.value_type))):
        return pa.nulls(n, kind)
    zeros = np.zeros(n * kind.list_size * kind.value_type.bit_width // 8, np.uint8)
    numbers = pa.Array.from_buffers(kind.value_type, n * kind.list_size, [None, pa.py_buffer(zeros)])
    return pa.FixedSizeListArray.from_arrays(numbers, type=kind, mask=pa.array(np.ones(n, np.bool_)))


def table_of_rows(rows: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """The table of rows, each a value for every column."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)], schema=schema)


def tables_of(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, the last of what is left; at least one where any table is given."""
    waiting, size, is_first = list[pa.Table](), 0, True
    for table in tables:
        waiting.append(table)
        size += table.num_rows
        while size >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            waiting, size, is_first = [joined.slice(rows)], size - rows, False
    if waiting and (size or is_first):
        yield pa.concat_tables(waiting)
