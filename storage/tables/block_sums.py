"""Checksums of blocks of a file: every stored byte is compared with its block's before anything decodes it.

A file that evenly writes once, Arrow or Parquet, carries the XXH3-128 of each of its blocks ahead of its own footer, so
that any Arrow or Parquet reader still reads it. From the front: the body; a sum for each block of the body; SEAL, which
covers these sums and the footer; the footer. Arrow streams have no footer: there the sums stand at the end.

Files from before there were sums have no SEAL and are read as they are. That a file has lost its SEAL by damage shows
in another place: in Arrow files the body's end mark does not touch the footer, and Parquet footers hold the word MARK.

The sums of the files of a Lance dataset lie beside them, in its folder SUMS.
"""

import base64
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from xxhash import xxh3_128_digest

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import read_record
from evenly.storage.stores.connection import RangeStream
from evenly.storage.stores.files import DescriptorRanges, Ranges, open_ranges
from evenly.storage.stores.object_path import ObjectPath

BLOCK = 1 << 16
MARK = b"evenly.sums"
PARQUET_MARK = {MARK: b"xxh3-128"}
"""Metadata of every Parquet file that gets sums."""
_DIGEST = 16
_MAGIC = b"evnsums1"
_SEAL = struct.Struct(f"<8sQ{_DIGEST}s8s")  # magic, bytes of the body, sum of sums + these bytes + footer, magic
_LENGTH = struct.Struct("<i")
_ARROW, _PARQUET = b"ARROW1", b"PAR1"
_ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"
_SEARCHED = 1 << 20  # bytes at the end of a Parquet file in which MARK stands, whatever its footer says of its length
_HELD = 1 << 20


def block_sums(ranges: Ranges, size: int) -> bytes:
    """The sums of the first `size` bytes of a file or object, 16 bytes for each BLOCK of them."""
    sums = bytearray()
    for at in range(0, size, BLOCK * 64):
        piece = memoryview(ranges.pread(min(BLOCK * 64, size - at), at))
        sums += b"".join(xxh3_128_digest(piece[start : start + BLOCK]) for start in range(0, len(piece), BLOCK))
    return bytes(sums)


def append_sums(stream: BinaryIO) -> None:
    """Put sums into a finished Arrow or Parquet file, open for reading and writing; its position is moved.

    A Parquet file must hold PARQUET_MARK in its metadata.
    """
    stream.flush()
    file = DescriptorRanges(stream.fileno())
    body = file.size - _footer_length(file)
    footer = file.pread(file.size - body, body)
    if footer.endswith(_PARQUET) and MARK not in footer:
        raise ValueError(f"metadata of a Parquet file with sums must hold {MARK!r}; it does not. Add PARQUET_MARK.")
    sums = block_sums(file, body)
    seal = _SEAL.pack(_MAGIC, body, _seal_sum(sums, body, footer), _MAGIC)
    stream.seek(body)
    stream.write(sums + seal + footer)


@contextmanager
def open_checked(path: Path, remedy: str, *, required: bool = False) -> Iterator[pa.NativeFile]:
    """A file for pyarrow to read from, whose bytes are compared with their sums as they are read.

    A file from before there were sums is read as it is, unless they are `required`. Raises FileNotFoundError, and
    DamagedError that names the file and ends with the `remedy`, also while it is read.
    """
    try:
        file = CheckedFile(path, remedy, required=required)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"`{path}` must be readable; {error.strerror}. {remedy}") from None
    with file, pa.PythonFile(file, mode="r") as source:
        try:
            yield source
        except (OSError, ValueError, pa.ArrowException):
            if file.damage is None:
                raise
            raise file.damage from None  # in pyarrow's words it would be an error of many lines


def check_file(path: Path, remedy: str) -> bool:
    """Compare all bytes of a file with their sums; False where it is from before there were sums.

    Raises NotFoundError and DamagedError.
    """
    try:
        with CheckedFile(path, remedy) as file:
            for start in range(0, file.body, BLOCK * 64):
                file.checked(start, min(start + BLOCK * 64, file.body))
            return file.has_sums
    except FileNotFoundError:
        raise NotFoundError(f"`{path}` must exist; it does not. {remedy}") from None
    except OSError as error:
        raise DamagedError(f"`{path}` must be readable; {error.strerror}. {remedy}") from None


class CheckedFile(RangeStream):
    """A file open for reading at any place; what is read has been compared with its sums. For pyarrow's PythonFile."""

    def __init__(self, path: Path, remedy: str, *, required: bool = False) -> None:
        self._path, self._remedy, self._held = path, remedy, (0, b"")
        self.damage: DamagedError | None = None
        self._ranges = open_ranges(path)
        super().__init__(self._any, self._ranges.size)
        try:
            self.body, self._sums, self._end = self._read_seal(required=required)
        except BaseException:
            self.close()
            raise

    @property
    def has_sums(self) -> bool:
        """False for a file from before there were sums."""
        return bool(self._end)

    def checked(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end` of the body; DamagedError where a block of theirs has another sum."""
        begin = self._held[0]
        if not begin <= start <= end <= begin + len(self._held[1]):
            begin = start // BLOCK * BLOCK
            until = min(-(-end // BLOCK) * BLOCK, self.body)
            data = self._pread(begin, until - begin)
            if self.has_sums and (wrong := first_wrong(data, self._sums, begin // BLOCK)) is not None:
                raise self._damaged(f"the block at byte {wrong * BLOCK} has another checksum")
            last = until // BLOCK * BLOCK
            self._held = (begin, data) if len(data) <= _HELD else (last, data[last - begin :])
            return data[start - begin : end - begin]
        return self._held[1][start - begin : end - begin]

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, all that are left if it is negative; fewer at the end."""
        data = self._any(self._at, self._size - self._at if size < 0 else size)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Close the file; nothing the second time."""
        if not self.closed and hasattr(self, "_ranges"):  # else there was nothing to open
            self._ranges.close()
        super().close()

    def _any(self, start: int, length: int) -> bytes:
        """Bytes of the body, or of what stands behind it, which was compared when the file was opened."""
        end = min(start + length, self._size)
        data = self.checked(start, min(end, self.body)) if start < min(end, self.body) else b""
        return data + self._end[max(start - self.body, 0) : max(end - self.body, 0)]

    def _read_seal(self, *, required: bool) -> tuple[int, bytes, bytes]:
        """Bytes of the body, their sums, and all that stands behind the body; of a file without sums, all is body."""
        footer_at = self._size - _footer_length(self._ranges)
        if footer_at < 0:
            raise self._damaged("its footer is longer than the file")
        footer = self._pread(footer_at, self._size - footer_at)
        seal = self._pread(max(footer_at - _SEAL.size, 0), min(_SEAL.size, footer_at))
        if not (seal.startswith(_MAGIC) or seal.endswith(_MAGIC)):
            self._refuse_lost_seal(seal, footer, required=required)
            return self._size, b"", b""
        if len(seal) < _SEAL.size:
            raise self._damaged("its checksums are cut")
        body = int(_SEAL.unpack(seal)[1])
        length = -(-body // BLOCK) * _DIGEST
        if body + length + _SEAL.size != footer_at:
            raise self._damaged("its length is not the one that was written")
        sums = self._pread(body, length)
        if _SEAL.pack(_MAGIC, body, _seal_sum(sums, body, footer), _MAGIC) != seal:
            raise self._damaged("its checksums or its footer have changed")
        return body, sums, sums + seal + footer

    def _refuse_lost_seal(self, ahead: bytes, footer: bytes, *, required: bool) -> None:
        """Raise unless the file may be one from before there were sums; without a known end, pyarrow refuses it."""
        lost = footer.endswith(_ARROW) and not ahead.endswith(_ARROW_END)
        if footer.endswith(_PARQUET):
            length = min(_SEARCHED, self._size)
            lost = MARK in self._pread(self._size - length, length)
        if lost or required:
            raise self._damaged("its checksums are gone or have changed")

    def _pread(self, start: int, length: int) -> bytes:
        data = self._ranges.pread(length, start)
        while len(data) < length and (more := self._ranges.pread(length - len(data), start + len(data))):
            data += more
        if len(data) < length:
            raise self._damaged(f"it ends at byte {start + len(data)}")
        return data

    def _damaged(self, what: str) -> DamagedError:
        self.damage = DamagedError(
            f"`{self._path}` must hold the bytes that were written to it; {what}. {self._remedy}"
        )
        return self.damage


def first_wrong(data: bytes, sums: bytes, block: int) -> int | None:
    """The number of the first block of `data`, which begins with the block of number `block`, that has another sum."""
    view = memoryview(data)
    for number, start in enumerate(range(0, len(view), BLOCK), block):
        if xxh3_128_digest(view[start : start + BLOCK]) != sums[number * _DIGEST : (number + 1) * _DIGEST]:
            return number
    return None


def _footer_length(ranges: Ranges) -> int:
    """Bytes of a file's footer with its length and its last word; 0 where it has none."""
    end = ranges.pread(_LENGTH.size + len(_ARROW), max(ranges.size - _LENGTH.size - len(_ARROW), 0))
    for word in (_ARROW, _PARQUET):
        if end.endswith(word) and len(end) >= _LENGTH.size + len(word):
            length = int(_LENGTH.unpack(end[-_LENGTH.size - len(word) : -len(word)])[0])
            return max(length, 0) + _LENGTH.size + len(word)
    return 0


def _seal_sum(sums: bytes, body: int, footer: bytes) -> bytes:
    return xxh3_128_digest(b"".join((sums, body.to_bytes(8, "little"), footer)))


SUMS = "_sums"
"""The folder of a dataset in which the sums of its files lie."""
_LETTERS = 20  # of base 85, for the 16 bytes of a sum


class CheckedBlocks:
    """The sums of one file of a dataset, and which of its blocks have been compared with them."""

    def __init__(self, path: Path, name: str, remedy: str) -> None:
        self._file, self._remedy = path / name, remedy
        try:
            facts = read_record(path / SUMS / f"{name}.json")
        except NotFoundError:
            raise self._damaged("its checksums are gone") from None
        self.size, self.described_from = int(facts["bytes"]), int(facts["described_from"])
        self.keys: dict[str, Any] = facts.get("keys") or {}
        self._sums = str(facts["xxh3_128"])
        self._right = set[int]()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CheckedBlocks) and (self._file, self._sums) == (other._file, other._sums)

    def __hash__(self) -> int:
        return hash((self._file, self._sums))

    @property
    def is_right(self) -> bool:
        """Whether the whole file has been compared."""
        return len(self._right) == -(-self.size // BLOCK)

    def check_all(self) -> None:
        """Compare the whole file."""
        with self.opened() as ranges:
            self.check([(0, self.size)], ranges)

    @contextmanager
    def opened(self) -> Iterator[Ranges]:
        """The file, for `check` to read from. Raises DamagedError where it is gone or has another length."""
        try:
            with closing(open_ranges(self._file)) as ranges:
                if ranges.size != self.size:
                    raise self._damaged("its length is not the one that was written")
                self._note(ranges)
                yield ranges
        except FileNotFoundError:
            raise self._damaged("it is gone") from None

    def check(self, spans: Iterable[tuple[int, int]], ranges: Ranges) -> None:
        """Compare the blocks that hold the bytes of `spans`, each from start to end, unless they have been."""
        for start, end in _joined(spans):
            self._check(ranges, start, min(end, self.size))

    def _note(self, ranges: Ranges) -> None:
        """Compare what of an object has come with its length: it need not be asked for again."""
        held_from = -(-ranges.held_from // BLOCK) * BLOCK
        for offset in range(held_from, self.size, BLOCK):
            data = ranges.pread(min(BLOCK, self.size - offset), offset)
            if self._first_wrong(data, offset // BLOCK) is None:
                self._right.add(offset // BLOCK)

    def _check(self, ranges: Ranges, start: int, end: int) -> None:
        for offset in range(start, end, BLOCK * 64):
            length = min(BLOCK * 64, end - offset)
            blocks = range(offset // BLOCK, -(-(offset + length) // BLOCK))
            if self._right.issuperset(blocks):
                continue
            data = ranges.pread(length, offset)
            if (wrong := self._first_wrong(data, offset // BLOCK)) is not None:
                raise self._damaged(f"the block at byte {wrong * BLOCK} has another checksum")
            self._right.update(blocks)

    def _first_wrong(self, data: bytes, first: int) -> int | None:
        """As `first_wrong`; of the sums only those of `data` are decoded, which begins with the block `first`."""
        stop = first + -(-len(data) // BLOCK)
        sums = base64.b85decode(self._sums[first * _LETTERS : stop * _LETTERS])
        wrong = first_wrong(data, sums, 0)
        return None if wrong is None else first + wrong

    def _damaged(self, trouble: str) -> DamagedError:
        return DamagedError(f"`{self._file}` must hold the bytes that were written to it; {trouble}. {self._remedy}")


def checked_blocks(path: Path, name: str, remedy: str) -> CheckedBlocks:
    """The sums of a file that is to be read; of an object the same each time, since data files never change.

    So a process asks a store once for what it compares. What checks a whole dataset makes its own.
    """
    return _of_object(path, name, remedy) if isinstance(path, ObjectPath) else CheckedBlocks(path, name, remedy)


@lru_cache(maxsize=1 << 9)
def _of_object(path: ObjectPath, name: str, remedy: str) -> CheckedBlocks:
    return CheckedBlocks(path, name, remedy)


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks that hold the bytes of `spans`, as few stretches from start to end, in order."""
    blocks = sorted((start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK) for start, end in spans if end > start)
    while blocks:
        start, end = blocks.pop(0)
        while blocks and blocks[0][0] <= end:
            end = max(end, blocks.pop(0)[1])
        yield start, end
