"""The contents of pages of a Parquet file by their headers: Arrow decodes them whole, however much they stand for.

A page says how many values it has and how they are written, in Thrift's compact protocol
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

DATA, DICTIONARY, DATA_V2 = 0, 2, 3
_DICTIONARY_ENCODINGS, _DELTA_STRINGS = (2, 8), 7
_HEADS = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}  # the field of a page header that says more, by the page's type
_ENCODING = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}
_HEAD_BYTES, _MOST_HEAD_BYTES = 256, 1 << 20
_LENGTH = struct.Struct("<I")
_CODECS = {"SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4_RAW"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: `content` is where its bytes begin, `packed` and `unpacked` how many they are, `values` how many it has.

    refers: its values stand in the dictionary; prefixed: each may repeat all of the one before.
    """

    kind: int
    content: int
    packed: int
    unpacked: int
    values: int
    refers: bool
    prefixed: bool


def pages_of(stream: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """The pages of a column chunk. Raises ValueError for bytes that are none."""
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset]
    place = min(offsets)
    end = place + chunk.total_compressed_size
    while place < end:
        page = _page(stream, place)
        yield page
        place = page.content + page.packed


def longest_entry(stream: BinaryIO, page: Page, compression: str) -> int:
    """The bytes of the longest text of a dictionary page; of all of it where it cannot be unpacked here."""
    if compression not in _CODECS | {"UNCOMPRESSED"}:
        return page.unpacked
    stream.seek(page.content)
    content = stream.read(page.packed)
    if compression != "UNCOMPRESSED":
        content = pa.decompress(content, page.unpacked, compression.lower())
    longest = _longest_of_text(np.frombuffer(content, np.uint8))
    return _longest(content, page) if longest is None else longest


def _longest_of_text(data: npt.NDArray[np.uint8]) -> int | None:
    """The longest of texts without null bytes, each after its length below 65,536; None where these are others.

    What looks like a length is taken for one: that holds where each leads to the next, from the first byte to the last.
    """
    if len(data) < 8:
        return None
    zero = np.append(data == 0, [True, False])
    one, two, three, four = (zero[shift : shift + len(data) - 3] for shift in (1, 2, 3, 4))
    places = np.flatnonzero(two & three & (one | ~four))
    lengths = data[places].astype(np.int64) + 256 * data[places + 1].astype(np.int64)
    follows = np.append(places[1:], len(data)) == places + 4 + lengths
    return int(lengths.max()) if len(places) and not places[0] and follows.all() else None


def _longest(content: bytes | pa.Buffer, page: Page) -> int:
    place, longest, unpack = 0, 0, _LENGTH.unpack_from
    try:
        for _ in range(page.values):
            (length,) = unpack(content, place)
            place += 4 + length
            longest = max(longest, length)
    except struct.error:
        return page.unpacked
    return longest


def _page(stream: BinaryIO, place: int) -> Page:
    size = _HEAD_BYTES
    fields: dict[Any, Any]
    while True:
        stream.seek(place)
        head = stream.read(size)
        try:
            fields, length = _struct(head, 0)
            break
        except IndexError:
            if len(head) < size or size >= _MOST_HEAD_BYTES:
                raise ValueError(f"no header of a page at byte {place}") from None
            size *= 16
    kind: Any = fields.get(1)
    more: Any = fields.get(_HEADS[kind]) if kind in _HEADS else {1: 0}
    numbers = (kind, fields.get(2), fields.get(3), more.get(1) if isinstance(more, dict) else None)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"no header of a page at byte {place}")
    encoding = more.get(_ENCODING[kind]) if kind in _ENCODING else None
    return Page(
        kind=kind,
        content=place + length,
        packed=fields[3],
        unpacked=fields[2],
        values=more[1],
        refers=kind != DICTIONARY and encoding in _DICTIONARY_ENCODINGS,
        prefixed=encoding == _DELTA_STRINGS,
    )


def _struct(data: bytes, place: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers and structs of a struct by their field, and where it ends; texts and lists are passed over."""
    if depth > 8:
        raise ValueError("a header nested deeper than any page's")
    fields: dict[int, Any] = {}
    field = 0
    while byte := data[place]:
        place += 1
        if byte >> 4:
            field += byte >> 4
        else:
            field, place = _number(data, place)
        fields[field], place = _value(data, place, byte & 15, depth)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, place
    if kind in (4, 5, 6):
        return _number(data, place)
    if kind == 8:
        length, place = _varint(data, place)
        if place + length > len(data):
            raise IndexError
        return None, place + length
    if kind == 12:
        return _struct(data, place, depth + 1)
    if kind in (3, 7):
        return None, place + (1 if kind == 3 else 8)
    raise ValueError("a header with fields that no page has")


def _number(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than any")
