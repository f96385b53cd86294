"""The hash of an Arrow table's logical content."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


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
    elif is_text(kind):
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


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts or bytes of any length."""
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
