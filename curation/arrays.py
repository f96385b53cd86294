"""Types of numpy arrays, and Arrow texts as numpy arrays over the same memory, for compiled code."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.errors import ColumnsError

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
    """Return `texts` as string or large_string; what is neither is cast."""
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        return texts
    try:
        return texts.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnsError(f"`captions` must be text; got {texts.type}. Convert it where it is read.") from error


def text_buffers(texts: pa.Array) -> TextBuffers:
    """Return what `texts`, string or large_string, holds, without a copy of the bytes; `data` is never empty."""
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
