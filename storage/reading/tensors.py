"""Tensors in .safetensors files, opened and not read: rows are taken where they lie."""

from pathlib import Path
from typing import Any

from evenly.storage.errors import TooLargeError
from evenly.storage.reading.budget import check_unpacked

FLOATS = ("F16", "F32", "F64")
"""Types of values as a file names them, that numpy has too."""
_HEADER_BYTES = 4_000_000  # a name, type, shape and place for each tensor: room for some 40,000


def open_tensors(path: Path) -> Any:  # noqa: ANN401 - safetensors has no types
    """The open file: `keys()`, and `get_slice(name)` of which rows can be taken. Raises ValueError, OSError."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
    stat = path.stat()
    if stat.st_blocks:
        check_unpacked(stat.st_size, path, "Write it without holes.", stored=stat.st_blocks * 512)
    if size > _HEADER_BYTES and stat.st_size > size:
        raise TooLargeError(
            f"the header of `{path}` must have at most {_HEADER_BYTES:,} bytes; got {size:,}. Write fewer tensors."
        )
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(str(error)) from None
