"""Hashes of content: of an Arrow table by its logical values, of a file by its bytes."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import StorageError


def file_hash(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def table_hash(table: pa.Table) -> str:
    """SHA-256 over the typed logical values of `table`, column by column, in row order.

    Chunking, slicing, validity of absent bits, dictionary and run-end encoding, what stands under a null, the width of
    offsets and the file layout do not enter. Sort before: rows in another order are other content. Nested values enter
    field by field. Raises StorageError for a type whose values it does not know (unions).
    """
    digest = hashlib.sha256(str(table.num_rows).encode())
    for name in sorted(table.column_names):
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        digest.update(f"|{name}|".encode())
        try:
            _hash_array(digest, column)
        except (TypeError, NotImplementedError) as error:
            raise StorageError(
                f"column `{name}` must be of a type whose values can be hashed; got {column.type} ({error}). "
                "Store it as text or numbers."
            ) from None
    return digest.hexdigest()


def _hash_array(digest: "hashlib._Hash", array: pa.Array) -> None:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    digest.update(f"{_logical_name(array.type)}|{len(array)}|".encode())
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False) if array.null_count else np.ones(len(array), np.bool_)
    digest.update(np.packbits(valid).data)
    if array.null_count < len(array):
        _hash_values(digest, array.storage if isinstance(array, pa.ExtensionArray) else array)


def _hash_values(digest: "hashlib._Hash", array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([kind.key_field.with_name("key"), kind.item_field.with_name("value")])))
        _hash_values(digest, array)
    elif is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        digest.update(np.asarray(lengths.to_numpy(zero_copy_only=False), dtype="<i8").data)
        _hash_array(digest, array.flatten())
    elif pa.types.is_struct(kind):
        for field, child in zip(kind, array.flatten(), strict=True):
            digest.update(f"{len(field.name)}:{field.name}|".encode())
            _hash_array(digest, child)
    elif is_text_or_bytes(kind):
        _hash_text(digest, array)
    elif pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_interval(kind):
        _hash_fixed_width(digest, array)
    elif pa.types.is_primitive(kind):
        _hash_numbers(digest, array)
    else:
        raise TypeError("no such values are known here")


def _logical_name(kind: pa.DataType) -> str:
    """One name for types that hold the same values."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    if is_list(kind):
        return "list"
    if pa.types.is_map(kind):
        return "map"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of any layout."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def is_text_type(kind: pa.DataType) -> bool:
    """Whether values of this type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_text_or_bytes(kind: pa.DataType) -> bool:
    """Whether values of this type are texts or bytes of any length."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(binary or is_text_type(kind))


def _hash_text(digest: "hashlib._Hash", array: pa.Array) -> None:
    short = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    data = array.cast(pa.binary() if short else pa.large_binary())
    data = pc.fill_null(data, b"") if data.null_count else data
    offsets = np.frombuffer(data.buffers()[1], dtype=np.int32 if short else np.int64)
    offsets = offsets[data.offset : data.offset + len(data) + 1]
    digest.update(np.diff(offsets).astype("<u4").data)
    if len(data) and offsets[-1] > offsets[0]:
        digest.update(memoryview(data.buffers()[2])[offsets[0] : offsets[-1]])


def _hash_fixed_width(digest: "hashlib._Hash", array: pa.Array) -> None:
    """The bytes of values that numpy has no type for; zeros where a value is null."""
    width = array.type.bit_width // 8
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        values = np.where(valid[:, None], values.reshape(len(array), width), np.uint8(0))
    digest.update(np.ascontiguousarray(values).data)


def _hash_numbers(digest: "hashlib._Hash", array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_boolean(kind):
        array, kind = array.cast(pa.uint8()), pa.uint8()
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values + values.dtype.type(0))
    digest.update(np.ascontiguousarray(values).data)
