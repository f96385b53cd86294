"""Arrow tables as files, and the hash of their logical content.

A step's table is one Arrow IPC file (Feather V2) compressed by Zstandard, the format that takes least time to write for
its size (benchmarks/table_formats.py). It is written once and never changes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from storage.errors import DamagedError, NotFoundError, StorageError
from storage.records import replacing

_BATCH_ROWS = 1 << 20


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` at `path`, whole and durable, or not at all; of a null nothing is written.

    Raises StorageError where it cannot be written: a full disk, a folder that is read-only.
    """
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    try:
        with replacing(path) as stream, ipc.new_file(stream, table.schema, options=options) as writer:
            writer.write_table(_without_remnants(table), max_chunksize=_BATCH_ROWS)
    except OSError as error:
        raise StorageError(
            f"table `{path}` must be writable; {first_line(error)}. Nothing was committed; free space, or choose "
            "another --root."
        ) from error


def read_table(path: Path, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
    """Read a table, rows in the order written: `columns` in the order given, of rows that `where` is true of.

    Raises NotFoundError where there is none, DamagedError where it cannot be read.
    """
    with _readable(path), pa.memory_map(str(path)) as source:
        if where is not None:
            from pyarrow import dataset

            return dataset.dataset(path, format="ipc").to_table(columns=columns and list(columns), filter=where)
        if columns is None:
            return ipc.open_file(source).read_all()
        names = ipc.open_file(source).schema.names
        options = ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        return ipc.open_file(source, options=options).read_all().select(list(columns))


def read_schema(path: Path) -> pa.Schema:
    """The columns of a table and their types; raises as `read_table` does."""
    with _readable(path), pa.memory_map(str(path)) as source:
        return ipc.open_file(source).schema


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(
            f"table `{path}` must exist; it does not. Run the rebuild again: it makes what is missing."
        ) from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DamagedError(
            f"table `{path}` must be readable; {first_line(error)}. Remove the file and run the rebuild again."
        ) from error


def _without_remnants(table: pa.Table) -> pa.Table:
    """The same table in one chunk, whose nulls stand over no bytes: Arrow keeps those that a null was laid over."""
    columns = [_bare(column.combine_chunks()) for column in table.combine_chunks().columns]
    return pa.table(columns, schema=table.schema)


def _bare(array: pa.Array) -> pa.Array:
    if not array.null_count or not (_is_text(array.type) or pa.types.is_nested(array.type)):
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), array.type)
    return array.take(pc.if_else(array.is_valid(), pa.array(np.arange(len(array))), None))


def first_line(error: BaseException) -> str:
    """The first line of an error's text: what people can read of a library's long message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def table_hash(table: pa.Table) -> str:
    """SHA-256 over the typed logical values of `table`, column by column, in row order.

    Chunking, slicing, validity of absent bits, dictionary encoding and file layout do not enter. Sort before: rows in
    another order are other content.
    """
    digest = hashlib.sha256(str(table.num_rows).encode())
    for name in sorted(table.column_names):
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        digest.update(f"|{name}|".encode())
        _hash_array(digest, column)
    return digest.hexdigest()


def _hash_array(digest: "hashlib._Hash", array: pa.Array) -> None:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    digest.update(f"{_logical_name(kind)}|{len(array)}|".encode())
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False) if array.null_count else np.ones(len(array), np.bool_)
    digest.update(np.packbits(valid).data)
    if array.null_count == len(array):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        digest.update(np.asarray(lengths.to_numpy(zero_copy_only=False), dtype="<i8").data)
        _hash_array(digest, (array.filter(pc.is_valid(array)) if array.null_count else array).flatten())
    elif _is_text(kind):
        _hash_text(digest, array)
    else:
        _hash_numbers(digest, array)


def _logical_name(kind: pa.DataType) -> str:
    """One name for types that hold the same values."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind):
        return "binary"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list"
    return str(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _hash_text(digest: "hashlib._Hash", array: pa.Array) -> None:
    short = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    data = array.cast(pa.binary() if short else pa.large_binary())
    data = pc.fill_null(data, b"") if data.null_count else data
    offsets = np.frombuffer(data.buffers()[1], dtype=np.int32 if short else np.int64)
    offsets = offsets[data.offset : data.offset + len(data) + 1]
    digest.update(np.diff(offsets).astype("<u4").data)
    if len(data) and offsets[-1] > offsets[0]:
        digest.update(memoryview(data.buffers()[2])[offsets[0] : offsets[-1]])


def _hash_numbers(digest: "hashlib._Hash", array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_boolean(kind):
        array, kind = array.cast(pa.uint8()), pa.uint8()
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int64())
    values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values + values.dtype.type(0))
    digest.update(np.ascontiguousarray(values).data)
