"""Arrays: types of numpy arrays, columns of a batch, texts as numpy arrays over the same memory, and compiled loops."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.errors import ColumnsError, RuleError
from evenly.keys import one_array, places_in

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]
Rows = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TextBuffers:
    """n texts: the bytes of text i are data[offsets[i]:offsets[i + 1]]; offsets (n + 1,) int64, valid (n,) bool."""

    data: np.ndarray
    offsets: np.ndarray
    valid: np.ndarray

    def to_arrow(self) -> pa.Array:
        """Return the texts as large_string."""
        mask = None if self.valid.all() else pa.array(self.valid).buffers()[1]
        buffers = [mask, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.large_string(), len(self.valid), buffers)


def as_texts(texts: pa.Array) -> pa.Array:
    """Return `texts` as string or large_string; other types are cast."""
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        return texts
    try:
        return texts.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnsError(f"`captions` must be text; got {texts.type}. Convert it where it is read.") from error


def as_array(entries: Sequence[str]) -> pa.Array:
    """Return `entries` as large_string."""
    try:
        return pa.array(entries, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:
        raise RuleError(f"`entries` must be valid Unicode; {error}. Correct the concept list.") from error


def text_buffers(texts: pa.Array) -> TextBuffers:
    """Return the buffers of `texts`, string or large_string, without a copy of the bytes; `data` is never empty."""
    _, bounds, data = texts.buffers()
    offsets = np.zeros(1, np.int64)
    if len(texts):
        width = np.int32 if pa.types.is_string(texts.type) else np.int64
        offsets = np.frombuffer(bounds, width)[texts.offset : texts.offset + len(texts) + 1].astype(
            np.int64, copy=False
        )
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    for values in (bytes_, offsets, valid):
        values.flags.writeable = False  # one type, so that one compiled function serves all
    return TextBuffers(data=bytes_, offsets=offsets, valid=valid)


@cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loop` as machine code that runs without the interpreter's lock; the code is kept beside its source.

    Where no folder can keep it (a read-only installation without a home), it is compiled in each process.
    """
    from numba import njit

    try:
        return njit(nogil=True, cache=True)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # numba's "no locator available": there is no place for its cache
        return njit(nogil=True)(loop)  # type: ignore[no-any-return]


class _Uncompiled:
    """What a process did without compiled code, as a share of what loading it takes."""

    work = 0.0


def is_compiled_for(n: int, least: int, *, loaded: int = 0) -> bool:
    """Whether `n` pieces of work are for compiled code: fewer than `least` are done sooner than numba is loaded.

    Many small parts are once as much was done without it as loading takes: a long stream of them is not slow to its
    end. loaded: `least` where numba is loaded.
    """
    if "numba" in sys.modules:
        return n >= min(least, loaded)
    if n < least and _Uncompiled.work < _PAID:
        _Uncompiled.work += n / least
        return False
    return True


_PAID = 2.0  # times what loading takes: most commands have no more to do, and end sooner without


def column(batch: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """Return the column `name` of `batch` as one Arrow array of type `kind`."""
    if name not in batch.column_names:
        raise ColumnsError(f"`batch` must hold a column {name!r}; got {batch.column_names}. Read that column too.")
    values = one_array(batch[name])
    if values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnsError(f"`{name}` must be {kind}; got {values.type}. Convert it where it is read.") from error


def fixed_rows(batch: pa.Table, name: str, kind: pa.DataType, width: int) -> np.ndarray:
    """Return the fixed-size list column `name` as an array (n, width); a null row becomes zeros."""
    values = column(batch, name, pa.list_(kind, width))
    if values.null_count:
        rows = np.zeros((len(values), width), dtype=kind.to_pandas_dtype())
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        rows[valid] = values.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        return rows
    return np.asarray(values.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)


def taken_rows(table: pa.Table, uids: pa.Array) -> pa.Table:
    """Return the row of `table` for each of `uids`, in their order; null where it has none."""
    return table.take(places_in(uids, column(table, "uid", pa.string())))
