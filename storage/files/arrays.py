"""Arrays in .npz files: features that people bring along are read with suspicion; what is written is the same bytes."""

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from evenly.storage.errors import InputError
from evenly.storage.files.array_keys import Array, check_dtype, check_keys, check_shapes, check_values, converted
from evenly.storage.reading.budget import most_unpacked
from evenly.storage.records import replacing
from evenly.storage.tables.arrow_files import first_line

REQUIRED = ("train_features", "train_labels", "prototypes")
LIMIT_BYTES = 8 * 1024**3
_VERSION = (1, 0)  # later ones differ in the names of structured types alone, which have no place here
_LARGEST_ITEM = {"f": 4, "i": 8, "u": 8}  # bytes of a value once converted
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can tell
_BROKEN = (
    OSError, EOFError, ValueError, TypeError, LookupError, SyntaxError, RuntimeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError,
)  # fmt: skip
Header = tuple[tuple[int, ...], "np.dtype[Any]"]


def read_arrays(
    path: Path, *, required: Collection[str] = REQUIRED, limit_bytes: int = LIMIT_BYTES, any_length: bool = False
) -> dict[str, Array]:
    """The arrays of an .npz file by name, as `array_keys.ARRAY_KEYS` has them; no object is ever unpickled.

    Floats come as float32, in unit rows unless `any_length`, class positions as int64, names and groups as text.
    Names, kinds, shapes and sizes are judged by the headers before anything is unpacked: what comes back takes at most
    `limit_bytes`. Raises InputError that names the key, the value and the file. Arrays of val
    and test need not be there.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = _members(archive)
        check_keys(members, required)
        headers = {key: _header(archive, key, member) for key, member in members.items()}
        check_shapes({key: shape for key, (shape, _) in headers.items()})
        _check_sizes(headers, min(limit_bytes, most_unpacked(path.stat().st_size)))
        n_classes = headers["prototypes"][0][0] if "prototypes" in headers else None
        arrays: dict[str, Array] = {}
        for key, member in members.items():
            with archive.open(member) as stream:
                arrays[key] = converted(key, np.lib.format.read_array(stream, allow_pickle=False))
            check_values(key, arrays[key], n_classes, any_length=any_length)
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays of numbers, truth values or text as .npz, in one step; equal arrays give equal bytes.

    Not compressed. Members stand in the order of their names.
    """
    for name, array in arrays.items():
        if not name.isidentifier():
            raise InputError(f"names of arrays must be identifiers; got `{name}`. Use letters, digits and `_`.")
        if array.dtype.kind not in "biufU":
            raise InputError(f"`{name}` must hold numbers or text; got {array.dtype}. Convert it with `.astype`.")
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.create_system, member.external_attr = 3, 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as stream:
                little = arrays[name].dtype.newbyteorder("<")
                array = np.asarray(arrays[name], dtype=little, order="C")
                np.lib.format.write_array(stream, array, version=_VERSION, allow_pickle=False)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the file in every error, and turn those of broken archives into InputError."""
    if not path.is_file():
        raise InputError(f"`arrays` must be an .npz file; got `{path}`. Correct the path, or write it with `np.savez`.")
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} File: `{path}`.") from None
    except _BROKEN as error:
        raise InputError(
            f"`arrays` must be a readable .npz file; got `{first_line(error)}` at `{path}`. Write it with `np.savez`."
        ) from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        key = member.filename.removesuffix(".npy")
        if key in members:
            raise InputError(f"keys must differ; got `{key[:60]}` twice. Write the file again with `np.savez`.")
        members[key] = member
    return members


def _header(archive: zipfile.ZipFile, key: str, member: zipfile.ZipInfo) -> Header:
    """Shape and dtype; refused where they do not account for the member's size to the byte."""
    with archive.open(member) as stream:
        if np.lib.format.read_magic(stream) != _VERSION:
            raise InputError(f"`{key}` must be a plain array; got one of structured type. Save its columns one by one.")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        check_dtype(key, dtype)
        n_needed = math.prod(shape) * dtype.itemsize
        n_stored = member.file_size - stream.tell()
    if n_needed != n_stored or min(shape, default=0) < 0:
        raise InputError(
            f"`{key}` must hold the {n_needed} bytes that its shape {shape} asks for; got {n_stored}. Write it anew."
        )
    return shape, dtype


def _check_sizes(headers: Mapping[str, Header], limit_bytes: int) -> None:
    sizes = {
        key: math.prod(shape) * max(dtype.itemsize, _LARGEST_ITEM.get(dtype.kind, 0))
        for key, (shape, dtype) in headers.items()
    }
    if sum(sizes.values()) > limit_bytes:
        largest = max(sizes, key=sizes.__getitem__)
        raise InputError(
            f"arrays must take at most {limit_bytes:,} bytes in memory; got {sum(sizes.values()):,}, of which "
            f"`{largest}` {sizes[largest]:,}. Hand in fewer rows, or write them with `np.savez`, not compressed."
        )
