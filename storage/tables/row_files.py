"""Rows of all partitions by number, for a while: columns in files of their own, of which single rows are read.

A row's number holds that of its partition in its leading bits and its place there in the others. Numbers rise as keys
do, and rows that are exchanged by their number go to their own partition.

A file is a column, then the XXH3-128 of each BLOCK bytes of it, then _END, whose sum covers these and itself. What is
read of it is compared first: the blocks that hold the rows that are asked for, and all that says where these lie.
"""

import mmap
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc
from xxhash import xxh3_128_digest

from evenly.storage.errors import DamagedError
from evenly.storage.tables.arrow_files import first_line, writable
from evenly.storage.tables.hashing import is_text_or_bytes

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
_Values = TypeVar("_Values")
BLOCK = 1 << 12
"""Bytes that are compared together: few, since rows that are read lie scattered."""
_DIGEST = 16
_END = struct.Struct(f"<QQQ{_DIGEST}s")  # where values begin and end, bytes of the column, sum of sums + these numbers
_PLACES = struct.Struct("<QQQ")
_REMEDY = "Run the rebuild again: it is written anew."


def row_numbers(bits: int, partition: int, places: Places) -> Numbers:
    """The numbers (n,) of the rows at `places` of one of 2**bits partitions."""
    first = np.uint64(partition << (64 - bits) if bits else 0)
    return places.astype(np.uint64) + first


def row_places(bits: int, rows: Numbers) -> Places:
    """The places (n,) of rows in their partitions."""
    return (rows & np.uint64((1 << (64 - bits)) - 1)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class RowFiles:
    """Columns of the rows of 2**bits partitions, below a folder that is removed when they are used up."""

    folder: Path
    bits: int

    def write(self, partition: int, columns: Mapping[str, pa.Array | np.ndarray]) -> None:
        """Write columns of all rows of a partition: numbers (n,) or (n, d), or Arrow arrays, all of them of one length.

        A file has its name when it is whole. Raises StorageError where they cannot be written.
        """
        with writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, column in columns.items():
                path = self._path(partition, name, "npy" if isinstance(column, np.ndarray) else "arrow")
                part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
                with part.open("w+b") as stream:
                    if isinstance(column, np.ndarray):
                        values = _write_numbers(stream, column)
                    else:
                        values = _write_column(stream, name, column)
                    _append_sums(stream, values)
                part.replace(path)

    def numbers(self, name: str, rows: Numbers) -> np.ndarray:
        """A column of numbers (m,) or (m, d) of `rows`, which rise.

        Raises DamagedError where it cannot be read or has changed.
        """
        parts = self._read(name, rows, "npy", _SummedFile.numbers)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def column(self, name: str, rows: Numbers) -> pa.Array:
        """A column of anything else of `rows`, which rise.

        Raises DamagedError where it cannot be read or has changed.
        """
        parts = self._read(name, rows, "arrow", _SummedFile.column)
        return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)

    def _read(
        self, name: str, rows: Numbers, kind: str, read: "Callable[[_SummedFile, Places], _Values]"
    ) -> list[_Values]:
        parts = list[_Values]()
        for partition, places in self._parts(rows):
            path = self._path(partition, name, kind)
            try:
                parts.append(read(_SummedFile(path), places))
            except (OSError, ValueError, IndexError, pa.ArrowException) as error:
                raise DamagedError(f"`{path}` must be readable; {first_line(error)}. {_REMEDY}") from error
        return parts

    def _parts(self, rows: Numbers) -> Iterator[tuple[int, Places]]:
        """The partitions of `rows`, which rise, and the places of those in each; of no rows, no places of the first."""
        numbers = (rows >> np.uint64(64 - self.bits)).astype(np.int64) if self.bits else np.zeros(len(rows), np.int64)
        places = row_places(self.bits, rows)
        starts = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(rows)]
        for start, stop in pairwise(starts):
            yield int(numbers[start]), places[start:stop]
        if not len(rows):
            yield 0, places

    def _path(self, partition: int, name: str, kind: str) -> Path:
        return self.folder / f"{name}-{partition:05d}.{kind}"


@dataclass(frozen=True)
class HeldRows:
    """Columns of the rows of one partition, in memory; they are not to be changed."""

    _columns: dict[str, pa.Array | np.ndarray] = field(default_factory=dict)

    def write(self, _partition: int, columns: Mapping[str, pa.Array | np.ndarray]) -> None:
        """Hold columns of all rows, as RowFiles does."""
        for name, column in columns.items():
            if isinstance(column, np.ndarray):
                column.flags.writeable = False
            self._columns[name] = column

    def numbers(self, name: str, rows: Numbers) -> np.ndarray:
        """A column of numbers (m,) or (m, d) of `rows`, which rise."""
        column = self._columns[name]
        return np.asarray(column if _are_all(rows, len(column)) else column[rows.astype(np.int64)])

    def column(self, name: str, rows: Numbers) -> pa.Array:
        """A column of anything else of `rows`, which rise."""
        column = self._columns[name]
        return column if _are_all(rows, len(column)) else column.take(pa.array(rows))

    def clear(self) -> None:
        """Give all of them up."""
        self._columns.clear()


def _are_all(rows: Numbers, n: int) -> bool:
    return len(rows) == n and bool((rows == np.arange(n, dtype=np.uint64)).all())


class _SummedFile:
    """A file of `RowFiles` in memory, whose bytes are compared with their sums before they are used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            self._mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._mapped)
        end = self._bytes[-_END.size :]
        if len(end) < _END.size:
            raise self._damaged("it has been cut off")
        begin, stop, self._size, seal = _END.unpack(end)
        n_blocks = -(-self._size // BLOCK)
        if self._size + n_blocks * _DIGEST + _END.size != len(self._bytes):
            raise self._damaged("its length is not the one that was written")
        self._sums = bytes(self._bytes[self._size : -_END.size])
        if xxh3_128_digest(self._sums + end[: _PLACES.size]) != seal:
            raise self._damaged("its checksums have changed")
        self._compared = np.zeros(n_blocks, np.bool_)
        self._check(np.array([0, stop]), np.array([begin, self._size]))

    def numbers(self, places: Places) -> np.ndarray:
        """The numbers at `places`, which rise."""
        header = BytesIO(self._bytes[:BLOCK])
        np.lib.format.read_magic(header)
        shape, _, kind = np.lib.format.read_array_header_1_0(header)
        values = np.frombuffer(self._mapped, kind, int(np.prod(shape)), header.tell()).reshape(shape)
        starts, stops = _stretches(places, len(values))
        row_bytes = kind.itemsize * int(np.prod(shape[1:]))
        self._check(header.tell() + starts * row_bytes, header.tell() + stops * row_bytes)
        return np.asarray(values[places])

    def column(self, places: Places) -> pa.Array:
        """The values at `places`, which rise."""
        source = pa.BufferReader(pa.py_buffer(self._mapped).slice(0, self._size))
        values = ipc.open_file(source).get_batch(0).column(0)
        self._check_values(values, *_stretches(places, len(values)))
        return values.take(pa.array(places))

    def _check_values(self, values: pa.Array, starts: Places, stops: Places) -> None:
        """Compare what values are read from: texts, numbers and lists of these; of other types, the whole file."""
        kind, buffers = values.type, values.buffers()
        self._check_buffer(buffers[0], starts, stops, 1)
        if pa.types.is_primitive(kind):
            self._check_buffer(buffers[1], starts, stops, kind.bit_width)
        elif (width := _offset_bytes(kind)) is not None:
            self._check_buffer(buffers[1], starts, stops + 1, 8 * width)
            offsets = np.frombuffer(buffers[1], f"<i{width}").astype(np.int64)
            if is_text_or_bytes(kind):
                self._check_buffer(buffers[2], offsets[starts], offsets[stops], 8)
            else:
                self._check_values(values.values, offsets[starts], offsets[stops])
        else:
            self._check(np.zeros(1, np.int64), np.array([self._size]))

    def _check_buffer(self, buffer: pa.Buffer | None, starts: Places, stops: Places, bits: int) -> None:
        """Compare the values from `starts` to `stops`, of so many bits each, in a buffer of the file."""
        if buffer is not None and buffer.size:
            begin = buffer.address - pa.py_buffer(self._mapped).address
            self._check(begin + starts * bits // 8, begin + -(-stops * bits // 8))

    def _check(self, starts: Places, stops: Places) -> None:
        """Compare the blocks that hold the bytes from each of `starts` to that of `stops`."""
        holds = stops > starts
        first, last = starts[holds] // BLOCK, (stops[holds] - 1) // BLOCK
        counts = last - first + 1
        blocks = np.unique(np.repeat(first + counts - np.cumsum(counts), counts) + np.arange(counts.sum()))
        for block in blocks[~self._compared[blocks]].tolist():
            data = self._bytes[block * BLOCK : min((block + 1) * BLOCK, self._size)]
            if xxh3_128_digest(data) != self._sums[block * _DIGEST : (block + 1) * _DIGEST]:
                raise self._damaged(f"the block at byte {block * BLOCK} has another checksum")
        self._compared[blocks] = True

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"`{self._path}` must hold the bytes that were written to it; {what}. {_REMEDY}")


def _append_sums(stream: BinaryIO, values: tuple[int, int]) -> None:
    """Put sums and _END behind a column, whose values lie between two places of the file."""
    stream.flush()
    size = stream.tell()
    with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as column:
        sums = b"".join(xxh3_128_digest(column[start : start + BLOCK]) for start in range(0, size, BLOCK))
    places = _PLACES.pack(*values, size)
    stream.write(sums + places + xxh3_128_digest(sums + places))


def _write_numbers(stream: BinaryIO, numbers: np.ndarray) -> tuple[int, int]:
    """Write an array, in which a row's numbers lie together; where its values begin and end."""
    np.lib.format.write_array(stream, np.ascontiguousarray(numbers), version=(1, 0), allow_pickle=False)
    return stream.tell() - numbers.nbytes, stream.tell()


def _write_column(stream: BinaryIO, name: str, values: pa.Array) -> tuple[int, int]:
    """Write an Arrow array; where its buffers begin and end."""
    batch = pa.record_batch([values], names=[name])
    with ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)
    stream.flush()
    file = pa.py_buffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    written = ipc.open_file(pa.BufferReader(file)).get_batch(0).column(0)
    buffers = [buffer for buffer in written.buffers() if buffer is not None and buffer.size]
    begin = min((buffer.address for buffer in buffers), default=file.address) - file.address
    return begin, max((buffer.address + buffer.size for buffer in buffers), default=file.address) - file.address


def _offset_bytes(kind: pa.DataType) -> int | None:
    """Bytes of each offset of a type of texts or lists; None for other types."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_list(kind):
        return 4
    is_large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_list(kind)
    return 8 if is_large else None


def _stretches(places: Places, n: int) -> tuple[Places, Places]:
    """Where each stretch of places in a row begins and ends, of places that rise. Raises IndexError beyond n."""
    if len(places) and places[-1] >= n:
        raise IndexError(f"row {places[-1]} is asked for, and it has {n}")
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    return places[np.append(0, breaks)[: len(places)]], places[np.append(breaks, len(places))[: len(places)] - 1] + 1
