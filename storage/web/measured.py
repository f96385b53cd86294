"""What was measured of pictures while they were checked, beside each shard's records: a picture is decoded once.

These are stored results, not observations: a file that is missing, older or damaged is measured anew from the bytes.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.web.shards import shard_names

MEASURED = pa.schema([("image_id", pa.string()), ("measure", pa.string()), ("value", pa.binary())])


def write_measured(path: Path, measure: str, values: Mapping[str, bytes | None]) -> None:
    """Write a value for each image_id, with checksums."""
    rows = {"image_id": list(values), "measure": [measure] * len(values), "value": list(values.values())}
    pq.write_table(pa.table(rows, schema=MEASURED), path, write_page_checksum=True, compression="zstd")


def read_measured(folder: Path, measure: str) -> pa.Table:
    """[image_id, value] of all pictures for which a value of `measure` is stored; null where it had none."""
    shards = [_read(folder / f"{name}.measured.parquet", measure) for name in shard_names(folder)]
    return pa.concat_tables([MEASURED.empty_table().select(["image_id", "value"]), *shards]).combine_chunks()


def _read(path: Path, measure: str) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read().cast(MEASURED)
    except (OSError, ValueError):  # pyarrow's errors are among them
        table = MEASURED.empty_table()
    return table.filter(pc.equal(table["measure"], measure)).select(["image_id", "value"])
