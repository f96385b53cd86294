"""Arrow tables as Lance datasets, and the hash of their logical content."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import DamagedError, NotFoundError, StorageError


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` as a Lance dataset at `path`; the dataset exists once its one commit is done.

    What an interrupted run left there without a commit is removed first. A step's record, made afterwards, is what
    says that the table counts.
    """
    if path.exists():
        shutil.rmtree(path)
    commit_rows(path, table, mode="create")


def commit_rows(path: Path, table: pa.Table, *, mode: Literal["create", "append", "overwrite"]) -> Any:  # noqa: ANN401 - Lance's
    """Write `table` to the Lance dataset at `path` in one commit; the dataset.

    Raises StorageError, with nothing committed, where it cannot be written: a full disk, a folder that is read-only.
    """
    import lance

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lance.write_dataset(table, str(path), mode=mode)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"table `{path}` must be writable; {first_line(error)}. Nothing was committed; free space, or choose "
            "another --root."
        ) from error


def read_table(path: Path, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
    """Read a Lance dataset, rows in the order written; `where` is an SQL filter.

    Raises NotFoundError where there is none, DamagedError where it cannot be read.
    """
    import lance

    if not path.exists():
        raise NotFoundError(f"table `{path}` must exist; it does not. Run the rebuild again: it makes what is missing.")
    try:
        dataset = lance.dataset(str(path))
        return dataset.to_table(columns=list(columns) if columns is not None else None, filter=where)
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedError(f"table `{path}` must be readable; {first_line(error)}") from error


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
    digest.update(np.packbits(valid).tobytes())
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        digest.update(np.asarray(lengths.to_numpy(zero_copy_only=False), dtype="<i8").tobytes())
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
    data = array.cast(pa.large_binary())
    data = pc.fill_null(data, b"") if data.null_count else data
    offsets = np.frombuffer(data.buffers()[1], dtype=np.int64)[data.offset : data.offset + len(data) + 1]
    digest.update(np.diff(offsets).astype("<i8").tobytes())
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
