"""Parquet files in batches of bounded size: a text that is stored once may be asked for in each row.

How many rows make a batch is judged by the headers of all pages before one is decoded, since Arrow decodes them whole,
however much they stand for; files as usual come in batches of the size asked for. A page says how many values it has
and how they are written, in Thrift's compact protocol
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import TooLargeError
from evenly.storage.reading.budget import check_unpacked, check_width
from evenly.storage.stores.files import seekable
from evenly.storage.stores.object_path import ObjectPath

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


BATCH_BYTES = 16 << 20
_PAGE_BYTES = 64 << 20
_PAGE_RATIO = 20  # of a page above that: pictures and features do not shrink
_LIST_BYTES, _RATIO = 128 << 20, 64
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_REMEDY = "Cut it into smaller files, or write it without dictionaries."


def bounded_batches(
    path: Path, *, most_rows: int, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, or of some of its row groups, as `ParquetFile.iter_batches` gives them.

    Batches have fewer than `most_rows` where these would take more than BATCH_BYTES. Raises TooLargeError where a
    page, a row or the file unpacks to more than it may.
    """
    with pq.ParquetFile(seekable(path), pre_buffer=False) as file:
        check_width(file.schema_arrow.names, path)
        numbers = list(range(file.num_row_groups)) if groups is None else list(groups)
        n_rows = _rows_at_once(path, file, numbers, columns, most_rows)
        total = 0
        for batch in file.iter_batches(batch_size=n_rows, row_groups=numbers, columns=columns):
            decoded = pa.RecordBatch.from_arrays([_decoded(column) for column in batch.columns], batch.schema.names)
            total += decoded.nbytes
            check_unpacked(total, path, _REMEDY)
            yield decoded


def _decoded(column: pa.Array) -> pa.Array:
    """A column in full, of which nothing is said once for several rows."""
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def bounded_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a small file. Raises as `bounded_batches` does."""
    batches = list(bounded_batches(path, most_rows=1 << 16, columns=columns))
    schema = pq.read_schema(seekable(path))
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, batches[0].schema if batches else wanted)


def _rows_at_once(
    path: Path, file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str] | None, most_rows: int
) -> int:
    wanted = None if columns is None else set(columns)
    rows = most_rows
    with ExitStack() as opened:
        stream: BinaryIO = opened.enter_context(path.open("rb"))
        for number in groups:
            group = file.metadata.row_group(number)
            if not group.num_rows:
                continue
            at_once = max(1, min(rows, group.num_rows))
            share = BATCH_BYTES / group.num_columns
            cost = 0.0
            for place in range(group.num_columns):
                leaf = file.schema.column(place)
                if wanted is None or leaf.path.partition(".")[0] in wanted:
                    pages = _pages(path, stream, group.column(place))
                    cost += _row_bytes(path, stream, pages, (group, place, leaf), share / at_once)
            if cost * at_once > BATCH_BYTES:
                rows = max(1, min(rows, int(BATCH_BYTES / cost)))
    return rows


def _row_bytes(
    path: Path,
    stream: BinaryIO,
    pages: Sequence[Page],
    column: tuple[pq.RowGroupMetaData, int, pq.ColumnSchema],
    share: float,
) -> float:
    """The most bytes that a row of a column of a row group may take, by its pages: above `share` closely judged."""
    group, place, leaf = column
    chunk = group.column(place)
    width = _WIDTHS.get(chunk.physical_type, leaf.length if chunk.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0)
    is_list = leaf.max_repetition_level > 0
    alone = len(pages) == 1 and pages[0].kind == DICTIONARY  # in an object store, where no other is looked at
    values = chunk.num_values if alone else sum(page.values for page in pages if page.kind != DICTIONARY)
    per_row = max(1.0, values / max(1, group.num_rows)) if is_list else 1.0
    entry = width
    if pages and pages[0].kind == DICTIONARY and not width:
        entry = pages[0].unpacked
        if entry * per_row > share:
            entry = longest_entry(stream, pages[0], chunk.compression)
    per_value = entry if alone else max((_value_bytes(page, width, entry) for page in pages), default=0.0)
    if is_list and values * per_value > max(_LIST_BYTES, _RATIO * chunk.total_compressed_size):
        raise TooLargeError(
            f"lists of a row group must take at most {_LIST_BYTES:,} bytes, or {_RATIO} times what is stored; got "
            f"{int(values * per_value):,} in `{chunk.path_in_schema}` at `{path}`. Write it in smaller row groups."
        )
    return per_row * per_value


def _pages(path: Path, stream: BinaryIO, chunk: pq.ColumnChunkMetaData) -> list[Page]:
    """The pages of a chunk; of one in an object store the first alone, for each costs a request."""
    known: list[Page] = []
    for page in islice(pages_of(stream, chunk), 1 if isinstance(path, ObjectPath) else None):
        if page.unpacked > max(_PAGE_BYTES, _PAGE_RATIO * page.packed):
            raise TooLargeError(
                f"a page must unpack to at most {_PAGE_BYTES:,} bytes, or {_PAGE_RATIO} times its own; got "
                f"{page.unpacked:,} in `{chunk.path_in_schema}` at `{path}`. Write the file in smaller pages."
            )
        known.append(page)
    return known


def _value_bytes(page: Page, width: int, entry: int) -> float:
    if page.kind == DICTIONARY:
        return 0.0
    if page.refers:
        return entry
    return page.unpacked if page.prefixed else max(width, page.unpacked / max(1, page.values))
