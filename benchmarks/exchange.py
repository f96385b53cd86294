"""An exchange of rows by a 64-bit key: seconds, processor time, bytes on disk and peak memory, and that all arrive.

Each of 2**bits partitions sends its rows (a hash as key, and the row's number); each then reads those that came to it,
sorts them and counts the keys that it has more than once, as a search for equal rows does. One row in a hundred has
the key of another. Works in this process; `--folder` is where the files lie for the while.

Run: python -m benchmarks.exchange [--keys N] [--bits B] [--folder DIR]
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.curation.duplicates.lsh import mixed
from evenly.storage.tables.exchange import received_rows, send_rows
from evenly.storage.tables.row_files import row_numbers

REPEATED = 100


def sent_keys(first: int, count: int, keys: int) -> np.ndarray:
    """The keys (count,) of rows `first` onward of `keys`: every hundredth that of a row elsewhere."""
    rows = np.arange(first, first + count, dtype=np.uint64)
    is_repeated = rows % np.uint64(REPEATED) == 1
    rows[is_repeated] = (
        (rows[is_repeated] * np.uint64(7919)) % np.uint64(keys) // np.uint64(REPEATED) * np.uint64(REPEATED)
    )
    return mixed(rows + np.uint64(1))


def exchange(folder: Path, keys: int, bits: int) -> tuple[int, int, int]:
    """Rows that arrived, rows whose key another has, bytes on disk."""
    share = -(-keys // (1 << bits))
    for number in range(1 << bits):
        first = number * share
        count = max(min(share, keys - first), 0)
        table = pa.table({"key": sent_keys(first, count, keys), "row": row_numbers(bits, number, np.arange(count))})
        send_rows(folder, f"{number:05d}", bits, "key", [table])
    stored = sum(path.stat().st_size for path in folder.rglob("*.arrow"))
    arrived = shared = 0
    for number in range(1 << bits):
        column = np.sort(pa.concat_tables(received_rows(folder, number))["key"].to_numpy())
        is_shared = np.zeros(len(column), np.bool_)
        equal = column[1:] == column[:-1]
        is_shared[1:] |= equal
        is_shared[:-1] |= equal
        arrived, shared = arrived + len(column), shared + int(is_shared.sum())
    return arrived, shared, stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000_000)
    parser.add_argument("--bits", type=int, default=9)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        arrived, shared, stored = exchange(Path(folder), options.keys, options.bits)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{arrived:,} keys in {1 << options.bits} partitions: {wall:.0f} s, {cpu:.0f} s of processor time, "
        f"{stored / 2**30:.2f} GB on disk, peak {peak:.2f} GB; {shared:,} rows have another's key"
    )
    if arrived != options.keys:
        sys.exit(f"`keys` must all arrive; {arrived:,} of {options.keys:,} did.")


if __name__ == "__main__":
    main()
