"""Parquet files in batches of bounded size: a text that is stored once may be asked for in each row.

How many rows make a batch is judged by the headers of all pages before one is decoded; files as usual come in batches
of the size asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import TooLargeError
from evenly.storage.reading.budget import check_unpacked, check_width
from evenly.storage.reading.parquet_pages import DICTIONARY, Page, longest_entry, pages_of
from evenly.storage.stores.many_paths import seekable
from evenly.storage.stores.object_path import ObjectPath

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
