"""Measurements made of pictures while they were checked, beside each shard's records: a picture is decoded once.

These are stored results, not observations: a file that is missing, older or damaged is measured anew from the bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, check_file, open_checked
from evenly.storage.web.shards import each_shards

MEASURED = pa.schema(
    [("image_id", pa.string()), ("measure", pa.string()), ("value", pa.binary())], metadata=PARQUET_MARK
)


def write_measured(path: Path, measure: str, values: Mapping[str, bytes | None]) -> None:
    """Write a value for each image_id, with checksums."""
    rows = {"image_id": list(values), "measure": [measure] * len(values), "value": list(values.values())}
    with path.open("w+b") as stream:
        pq.write_table(pa.table(rows, schema=MEASURED), stream, compression="zstd")
        append_sums(stream)


def read_measured(folder: Path, measure: str, shards: Sequence[str]) -> pa.Table:
    """[image_id, value] of all pictures of some shards for which a value of `measure` is stored; null: it had none."""
    tables = [_read(folder / f"{name}.measured.parquet", measure) for name in shards]
    return pa.concat_tables([MEASURED.empty_table().select(["image_id", "value"]), *tables]).combine_chunks()


def each_measured(folder: Path, measure: str) -> Iterator[pa.Table]:
    """The rows of `read_measured` of all shards, a few at a time; at least one table."""
    for shards in each_shards(folder):
        yield read_measured(folder, measure, shards)


def check_measured(path: Path) -> None:
    """Compare all bytes of a file of values with their checksums. Raises DamagedError."""
    check_file(path, "Remove it: its pictures are measured anew where that is needed.")


def _read(path: Path, measure: str) -> pa.Table:
    try:
        with open_checked(path, "", required=True) as source:
            table = pq.ParquetFile(source).read().cast(MEASURED)
    except (OSError, ValueError, DamagedError):  # pyarrow's errors are among them
        table = MEASURED.empty_table()
    return table.filter(pc.equal(table["measure"], measure)).select(["image_id", "value"])
