"""Records of downloads as they lie in a workspace, without any download."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.web.shards import RECORDS, publish_shard, url_key


def record_shards(folder: Path, shards: Iterable[Iterable[Mapping[str, Any]]]) -> None:
    """Add a shard of the records of each list, with the columns of RECORDS that they name."""
    for number, rows in enumerate(shards):
        name = f"{number:032x}"
        work = folder / ".partial"
        work.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([{"key": url_key(row["url"]), "attempt": 1, **row} for row in rows], RECORDS)
        pq.write_table(table, work / f"{name}.parquet")
        publish_shard(folder, name, tar=None, records=work / f"{name}.parquet")
