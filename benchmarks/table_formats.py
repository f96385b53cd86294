"""Why a step's tables are Arrow IPC files: the same tables in other formats, processor time to write and bytes.

Tables as steps leave them: a uid in hex, a verdict, an empty reason, a measured value, entries as lists of numbers,
a URL and a caption. Each format writes all of them in turn, several times; the smallest time counts.

Run: python -m benchmarks.table_formats [--rows N]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from benchmarks.text_curation import given_or_real
from evenly.storage.tables.arrow_files import write_table

TIMES = 5


def tables(rows: int, texts: list[str]) -> list[pa.Table]:
    """Decisions, matches and pairs of `rows` rows."""
    random = np.random.default_rng(1)
    uids = pa.array(sorted(random.bytes(16).hex() for _ in range(rows)))
    kept, empty = pa.repeat(pa.scalar("kept"), rows), pa.repeat(pa.scalar(""), rows)
    value = pa.array(random.random(rows).round(4))
    lengths = random.integers(0, 15, rows)
    entries = pa.array(random.zipf(1.2, lengths.sum()).clip(0, 500_000).astype(np.int32))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    urls = pa.array([f"https://example.org/{uid}" for uid in uids.to_pylist()])
    return [
        pa.table({"uid": uids, "verdict": kept, "reason": empty, "value": value, "into": pa.nulls(rows, pa.string())}),
        pa.table({"uid": uids, "entries": pa.ListArray.from_arrays(offsets, entries)}),
        pa.table({"uid": uids, "url": urls, "caption": pa.array(texts)}),
    ]


def arrow_lz4(path: Path, table: pa.Table) -> None:
    with ipc.new_file(str(path), table.schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)


def parquet(path: Path, table: pa.Table, **options: Any) -> None:  # noqa: ANN401 - Parquet's own
    pq.write_table(table, path, **options)


FORMATS: dict[str, Callable[[Path, pa.Table], Any]] = {
    "Arrow IPC, zstd (as stored)": write_table,
    "Arrow IPC, lz4": arrow_lz4,
    "Lance": lambda path, table: lance.write_dataset(table, str(path)),
    "Parquet, zstd, no dictionaries": partial(parquet, compression="zstd", compression_level=1, use_dictionary=False),
    "Parquet, snappy, dictionaries": parquet,
}


def measured(write: Callable[[Path, pa.Table], Any], held: list[pa.Table]) -> tuple[float, int]:
    """Seconds of processor time and bytes for all tables."""
    with tempfile.TemporaryDirectory() as place:
        started = time.process_time()
        for number, table in enumerate(held):
            write(Path(place) / str(number), table)
        spent = time.process_time() - started
        return spent, sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        held = tables(rows, given_or_real(Path(place), None, None, rows)[1])
    runs = [{name: measured(write, held) for name, write in FORMATS.items()} for _ in range(TIMES)]
    best = {name: min(run[name] for run in runs) for name in FORMATS}
    seconds, size = best[next(iter(FORMATS))]
    for name, (spent, held_bytes) in best.items():
        print(f"{name}: {spent / seconds:.2f} times the processor time, {held_bytes / size:.2f} times the bytes")


if __name__ == "__main__":
    main()
