"""The size of a pool, roughly: enough to choose how finely it is cut."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.columns import PoolSource
from evenly.storage.pools.source import pool_pieces
from evenly.storage.stores.matching_files import seekable

_SAMPLE = 1 << 20
_MOST_UNPACKED = 64 << 20
_GZIP = 31  # wbits: a gzip header is expected
_BYTES_PER_PAIR = {"webdataset": 10_000, "wat": 2_000}
_COUNTED = ("parquet", "features")


@dataclass(frozen=True, kw_only=True)
class PoolSize:
    """The number of rows of a pool, and whether its files say so themselves."""

    rows: int
    is_counted: bool

    @classmethod
    def of(cls, sources: Sequence[PoolSource], limit: int | None = None) -> "PoolSize":
        """The rows of all sources together, `limit` at most."""
        rows = sum(estimate_rows(source) for source in sources)
        return cls(
            rows=rows if limit is None else min(rows, limit),
            is_counted=all(source.kind in _COUNTED for source in sources),
        )


def estimate_rows(source: PoolSource) -> int:
    """The rows of Parquet files by what they say; of others by their bytes, or how many pictures there are.

    Of tables of lines by the lines that the first MiB of each file holds, unpacked where it is compressed.
    """
    files = list(dict.fromkeys(file for piece in pool_pieces(source) for file in piece.files))
    return sum(_rows(file, source.kind) for file in files)


def _rows(file: Path, kind: str) -> int:
    if kind in _COUNTED:
        try:
            return int(pq.read_metadata(seekable(file)).num_rows)
        except (OSError, ValueError):  # reading the pool says what is wrong with it
            return 0
    if file.is_dir():
        return sum(1 for path in file.rglob("*") if path.suffix[1:].lower() in IMAGE_ENDINGS and path.is_file())
    size = file.stat().st_size
    if kind in _BYTES_PER_PAIR:
        return size // _BYTES_PER_PAIR[kind]
    with file.open("rb") as stream:
        sample = stream.read(_SAMPLE)
    if file.suffix == ".gz":
        lines, used = _packed_lines(sample)
        return size * lines // max(used, 1)
    return size * sample.count(b"\n") // max(len(sample), 1)


def _packed_lines(sample: bytes) -> tuple[int, int]:
    """The lines that the beginning of a gzip file holds, and how many of its bytes hold them."""
    lines, left, room = 0, sample, _MOST_UNPACKED
    with suppress(zlib.error):  # reading the pool says what is wrong with it
        while left and room > 0:  # a file may be several gzip files one after the other
            unpacker = zlib.decompressobj(_GZIP)
            text = unpacker.decompress(left, room)
            lines, room = lines + text.count(b"\n"), room - len(text)
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            if not unpacker.eof:
                break
    return lines, len(sample) - len(left)
