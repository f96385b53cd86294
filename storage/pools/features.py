"""Pools of features without pictures: Parquet files of captions, vectors in a column or in arrays beside them.

Arrays lie in a .npz or .safetensors of the Parquet file's name, row for row (DataComp's metadata). No object in them
is unpickled, and shapes are judged by the headers before anything is read.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import TooLargeError
from evenly.storage.files.features import FLOATS, open_tensors
from evenly.storage.pools.local_rows import FEATURES, LocalRow, LocalRows
from evenly.storage.pools.rows import PoolError, readable, require_columns
from evenly.storage.pools.texts import as_text
from evenly.storage.reading.parquet import BATCH_BYTES, bounded_batches

SIZES = {"width": "original_width", "height": "original_height"}
"""Columns with the size of a picture, and what DataComp calls them."""

_ROWS = 8_192
_LONGEST = 65_536
_PLAIN = (1, 0)  # the version of .npy headers that arrays of numbers have
Vectors = npt.NDArray[np.float32]


class Beside(NamedTuple):
    """Vectors in an array: `take` the next so many, `most_rows` of which fit into memory."""

    take: Callable[[int], Vectors]
    most_rows: int


class PooledFeatures(NamedTuple):
    """Rows with their features: `ids` are hashes of `vectors` (n, d), null where a row has none that is usable."""

    rows: LocalRows
    ids: pa.Array
    vectors: Vectors


def feature_files(path: Path) -> list[Path]:
    """The files that a pool file is read from: itself, and the arrays beside it."""
    return [
        path,
        *(arrays_file for ending in (".npz", ".safetensors") if (arrays_file := path.with_suffix(ending)).is_file()),
    ]


def no_pictures(_path: Path, _key: str | None) -> Iterator[LocalRow]:
    """A pool of features holds none."""
    return iter(())


def feature_rows(path: Path, caption: str | None, vector: str) -> Iterator[PooledFeatures]:
    """Yield the rows of a Parquet file in stretches, in order; `vector` names a column, or an array beside it.

    Reasons: missing_features, bad_features (not finite, or all zeros), missing_caption, bad_caption. Raises PoolError
    where there are no such features, or not as many as rows.
    """
    column = caption or "caption"
    with readable(path, "Parquet"), pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        require_columns(path, names, {"caption": column})
        with _beside(path, vector, file.metadata.num_rows, inside=vector in names) as read:
            for batch in bounded_batches(path, most_rows=_ROWS if read is None else read.most_rows):
                table = pa.Table.from_batches([batch])
                vectors = _of_column(table[vector], path) if read is None else read.take(table.num_rows)
                yield _rows(table.drop([vector]) if read is None else table, column, vectors)


def _rows(table: pa.Table, caption: str, vectors: Vectors) -> PooledFeatures:
    missing = np.isnan(vectors).all(axis=1)
    usable = np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1)
    little = np.ascontiguousarray(vectors, dtype="<f4")
    ids = [
        hashlib.sha256(row.tobytes()).hexdigest() if good else None for row, good in zip(little, usable, strict=True)
    ]
    texts, is_bad = as_text(table[caption])
    cases = {
        "missing_features": pa.array(missing),
        "bad_features": pa.array(~usable),
        "bad_caption": is_bad,
        "missing_caption": pc.is_null(texts),
    }
    words = [pa.scalar(name) for name in cases]
    reject = pc.case_when(
        pc.make_struct(*cases.values(), field_names=list(cases)), *words, pa.scalar(None, pa.string())
    )
    hashes = pa.array(ids, pa.string())
    extra = _with_sizes(table.drop([caption]))
    return PooledFeatures(
        LocalRows(pc.binary_join_element_wise(FEATURES, hashes, ""), texts, reject, extra), hashes, vectors
    )


def _with_sizes(table: pa.Table) -> pa.Table:
    """The table, with the sizes that DataComp tells under the names that they have here."""
    for name, datacomp_name in SIZES.items():
        if name not in table.column_names and datacomp_name in table.column_names:
            table = table.append_column(name, table[datacomp_name])
    return table


def as_size(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of sizes in pixels as whole numbers; null where one is none."""
    texts = column.cast(pa.string())
    digits = pc.extract_regex(texts, r"^(?P<number>[0-9]{1,9})(?:\.0)?$")
    return pc.struct_field(digits, "number").cast(pa.int32())


def _of_column(column: pa.ChunkedArray, path: Path) -> Vectors:
    """Vectors (n, d) of a column of lists; rows of NaN where one is null."""
    lists = column.combine_chunks()
    kind = lists.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise _wrong(path, f"a column of {kind}")
    lengths = pc.unique(pc.list_value_length(lists).drop_null()).to_pylist()
    if len(lengths) > 1:
        raise _wrong(path, f"vectors of lengths {sorted(lengths)[:4]}")
    n, d = len(lists), lengths[0] if lengths else 1
    _check(d, path)
    valid = lists.is_valid()
    vectors = np.full((n, d), np.nan, dtype=np.float32)
    flat = lists.filter(valid).flatten().cast(pa.float32())
    vectors[valid.to_numpy(zero_copy_only=False)] = flat.fill_null(np.nan).to_numpy().reshape(-1, d)
    return vectors


@contextmanager
def _beside(path: Path, vector: str, rows: int, *, inside: bool) -> Iterator[Beside | None]:
    """A reader of the next vectors in the arrays beside a file; None where they are in a column of it."""
    arrays = [] if inside else feature_files(path)[1:]
    if inside:
        yield None
    elif not arrays:
        raise _wrong(path, f"neither a column `{vector}` nor arrays beside the file")
    elif arrays[0].suffix == ".npz":
        with readable(arrays[0], ".npz"), _broken_zip(arrays[0]), zipfile.ZipFile(arrays[0]) as archive:
            if f"{vector}.npy" not in archive.namelist():
                raise _wrong(arrays[0], f"only {', '.join(archive.namelist()) or 'nothing'}")
            with archive.open(f"{vector}.npy") as stream:
                yield _from_npy(stream, arrays[0], rows)
    else:
        yield _from_safetensors(arrays[0], vector, rows)


def _from_npy(stream: IO[bytes], path: Path, rows: int) -> Beside:
    version = np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream) if version == _PLAIN else ((), False, None)
    if dtype is None or dtype.kind != "f" or len(shape) != 2 or fortran or shape[0] != rows:
        raise _wrong(path, f"shape {shape} of {dtype} for {rows} rows")
    _check(shape[1], path)

    def read(count: int) -> Vectors:
        size = count * shape[1] * dtype.itemsize
        content = stream.read(size)
        if len(content) < size:
            raise _wrong(path, "fewer bytes than its header tells")
        return np.frombuffer(content, dtype).reshape(count, shape[1]).astype(np.float32)

    return Beside(read, _most_rows(shape[1]))


def _from_safetensors(path: Path, vector: str, rows: int) -> Beside:
    try:
        file = open_tensors(path)
        shapes = {name: (file.get_slice(name).get_shape(), file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - no dict
    except TooLargeError:
        raise
    except (ValueError, OSError) as error:
        raise _wrong(path, str(error)) from None
    shape, kind = shapes.get(vector, ((), ""))
    if len(shape) != 2 or kind not in FLOATS or shape[0] != rows:
        listing = ", ".join(f"{name} {tuple(shape)} of {kind}" for name, (shape, kind) in shapes.items()) or "nothing"
        raise _wrong(path, f"{listing[:1000]} for {rows} rows")
    _check(shape[1], path)
    tensor, start = file.get_slice(vector), 0

    def read(count: int) -> Vectors:
        nonlocal start
        start += count
        return np.asarray(tensor[start - count : start], dtype=np.float32)

    return Beside(read, _most_rows(shape[1]))


def _most_rows(length: int) -> int:
    return max(1, min(_ROWS, BATCH_BYTES // (8 * length)))


@contextmanager
def _broken_zip(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, SyntaxError, RuntimeError) as error:
        raise _wrong(path, str(error)) from None


def _check(length: int, path: Path) -> None:
    if not 0 < length <= _LONGEST:
        raise _wrong(path, f"vectors of length {length}")


def _wrong(path: Path, actual: str) -> PoolError:
    return PoolError(
        f"`vector` must name features, one row of floats for each row of the pool; got {actual} at `{path}`. "
        "Correct it."
    )
