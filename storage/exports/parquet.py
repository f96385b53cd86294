"""Parquet: all columns of the rows in one file, without pictures."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.exports.content import Content

FILE = "samples.parquet"
_ROWS_PER_GROUP = 100_000


def write_parquet(content: Content, folder: Path) -> dict[str, int]:
    """Write `samples.parquet` (zstd, sorted by uid, 100,000 rows per row group); counts of rows and columns.

    Row groups are cut by position, never by how the table happened to be chunked, so the bytes are the same for the
    same rows and the same pyarrow.
    """
    rows: pa.Table = content.rows
    with pq.ParquetWriter(folder / FILE, rows.schema, compression="zstd") as writer:
        for start in range(0, rows.num_rows, _ROWS_PER_GROUP):
            group = rows.slice(start, _ROWS_PER_GROUP).combine_chunks()
            writer.write_table(group, row_group_size=_ROWS_PER_GROUP)
            content.progress(group.num_rows)
    return {"rows": rows.num_rows, "columns": rows.num_columns}
