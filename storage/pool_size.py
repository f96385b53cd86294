"""How many rows a pool has, roughly: enough to choose how finely it is cut."""

from pathlib import Path

import pyarrow.parquet as pq

from evenly.storage.pools.columns import PoolSource
from evenly.storage.pools.source import pool_pieces
from evenly.storage.stores.matching_files import seekable

_SAMPLE = 1 << 20
_BYTES_PER_PAIR = {"webdataset": 10_000, "wat": 2_000}


def estimate_rows(source: PoolSource) -> int:
    """The rows of Parquet files by what they say; of others by their bytes, or how many files there are."""
    files = list(dict.fromkeys(file for piece in pool_pieces(source) for file in piece.files))
    return sum(_rows(file, source.kind) for file in files)


def _rows(file: Path, kind: str) -> int:
    if kind in ("parquet", "features"):
        try:
            return int(pq.read_metadata(seekable(file)).num_rows)
        except (OSError, ValueError):  # reading the pool says what is wrong with it
            return 0
    if file.is_dir():
        return sum(1 for path in file.rglob("*") if path.is_file())
    size = file.stat().st_size
    if kind in _BYTES_PER_PAIR:
        return size // _BYTES_PER_PAIR[kind]
    with file.open("rb") as stream:
        sample = stream.read(_SAMPLE)
    return size * sample.count(b"\n") // max(len(sample), 1)
