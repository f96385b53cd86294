"""Deduplicate a million feature rows in bounded memory: time, memory and recall, beside a tenth of them.

Rows are synthetic unit vectors of 512 dimensions in float16, made in batches. They share a direction, so that two of
them have a cosine of about 0.5, as pictures have with CLIP. One in twenty has a twin at a known cosine, and as many
have a neighbour just below the threshold, which is no twin. Each size runs in a process of its own, whose peak memory
must stay below LIMIT_GB, one of them for the features of a million rows.

Beside it, where faiss is installed, the same by its cells (IndexIVFFlat): rows within the threshold in the nearest
`nprobe` of 4 sqrt(n) cells are joined. Both get all threads there are, so CPU is what compares.

Run: python -m benchmarks.semantic_duplicates [--rows 100000 1000000] [--faiss 100000]; the whole takes some minutes.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from evenly.curation.duplicates.feature_duplicates import Semantic, deduplicate_semantic

WIDTH, BATCH, COMMON = 512, 25_000, 0.5
THRESHOLD, TWIN_COSINES, FAR_COSINES = 0.95, (0.952, 0.96, 0.97, 0.98, 0.99), (0.94, 0.945)
LIMIT_GB = 4.0
CELLS_LOOKED_INTO = (1, 8)

Rows = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]
Wide = npt.NDArray[np.float64]


def turned(rows: Wide, cosine: Wide, rng: np.random.Generator) -> Wide:
    """Unit rows at a cosine to unit `rows`."""
    other = rng.normal(size=rows.shape)
    other -= (other * rows).sum(axis=1, keepdims=True) * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return cosine[:, None] * rows + np.sqrt(1 - cosine[:, None] ** 2) * other


def make(n: int) -> tuple[Rows, Ints, Ints, Wide]:
    """Rows (n, 512), and pairs of them (i, j) with the cosine at which j was made from i."""
    rng = np.random.default_rng(n)
    rows = np.empty((n, WIDTH), dtype=np.float16)
    common = rng.normal(size=WIDTH)
    common *= np.sqrt(COMMON) / np.linalg.norm(common)
    for begin in range(0, n, BATCH):
        some = rng.normal(size=(min(BATCH, n - begin), WIDTH))
        some *= np.sqrt(1 - COMMON) / np.linalg.norm(some, axis=1, keepdims=True)
        rows[begin : begin + len(some)] = (some + common) / np.linalg.norm(some + common, axis=1, keepdims=True)
    places = rng.permutation(n)[: n // 20 * 4].reshape(2, -1)
    half = n // 20
    cosine = np.concatenate([np.resize(TWIN_COSINES, half), np.resize(FAR_COSINES, half)])
    for begin in range(0, len(cosine), BATCH):
        part = slice(begin, begin + BATCH)
        base = rows[places[0, part]].astype(np.float64)
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        rows[places[1, part]] = turned(base, cosine[part], rng)
    return rows, places[0], places[1], cosine


def measure(n: int) -> dict[str, Any]:
    """What deduplicating n rows took and found."""
    rows, left, right, cosine = make(n)
    uids = pa.array([f"{row:08}" for row in range(n)])
    ones = pa.array(np.ones(n, np.int32))
    batch = pa.table({"uid": uids, "width": ones, "height": ones})
    rule = Semantic(min_cosine=THRESHOLD, max_colour=None)
    deduplicate_semantic(batch.slice(0, 64), rows[:64], rule)  # compiles the loops
    made_gb = peak_gb()
    started, started_cpu = time.perf_counter(), time.process_time()
    found = deduplicate_semantic(batch, rows, rule)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    into = np.asarray(found.decisions.into.fill_null("").to_pylist())
    own = np.where(into == "", np.asarray(uids.to_pylist()), into)
    joined = own[left] == own[right]
    return {
        "rows": n,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "features_gb": rows.nbytes / 1e9,
        "peak_before_gb": made_gb,
        "peak_gb": peak_gb(),
        "recall": {at: float(joined[cosine == at].mean()) for at in TWIN_COSINES},
        "recall_of_all": float(joined[cosine >= THRESHOLD].mean()),
        "merged": int((into != "").sum()),
        "wrongly_merged": int((into != "").sum() - joined[cosine >= THRESHOLD].sum()),
        "notes": found.notes,
    }


def measure_faiss(n: int) -> list[dict[str, Any]]:
    """What joining the same rows by faiss took and found, for each number of cells that are looked into."""
    import faiss

    rows, left, right, cosine = make(n)
    single = rows.astype(np.float32)
    faiss.normalize_L2(single)
    started, started_cpu = time.perf_counter(), time.process_time()
    cells = int(4 * np.sqrt(n))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(WIDTH), WIDTH, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.train(single)
    index.add(single)
    built, built_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    results = []
    for index.nprobe in CELLS_LOOKED_INTO:
        started, started_cpu = time.perf_counter(), time.process_time()
        pairs = list[npt.NDArray[np.int64]]()
        for begin in range(0, n, BATCH):
            ends, _, other = index.range_search(single[begin : begin + BATCH], THRESHOLD)
            own = begin + np.repeat(np.arange(len(ends) - 1), np.diff(ends).astype(np.int64))
            pairs.append(np.stack([own, other]))
        places = np.concatenate(pairs, axis=1)
        near = coo_matrix((np.ones(places.shape[1], np.bool_), places), shape=(n, n))
        _, groups = connected_components(near, directed=False)
        joined = groups[left] == groups[right]
        results.append(
            {
                "nprobe": index.nprobe,
                "seconds": built + time.perf_counter() - started,
                "cpu_seconds": built_cpu + time.process_time() - started_cpu,
                "built_cpu_seconds": built_cpu,
                "recall_of_all": float(joined[cosine >= THRESHOLD].mean()),
                "merged": int(n - len(np.unique(groups))),
            }
        )
    return results


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def print_beside(ours: dict[str, Any], other: dict[str, Any]) -> None:
    ratio = ours["cpu_seconds"] / other["cpu_seconds"]
    print(f"  faiss, nprobe {other['nprobe']}: {other['seconds']:.1f} s, {other['cpu_seconds']:.1f} s of CPU, ", end="")
    print(f"{other['built_cpu_seconds']:.1f} of them to make the index; ours takes {ratio:.2f} times its CPU")
    print(f"    recall of planted twins {other['recall_of_all']:.4f}, merged {other['merged']:,}")


def run(sizes: list[int], of_faiss: int) -> None:
    results = []
    for n in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as own_process:
            results.append(own_process.apply(measure, (n,)))
        last = results[-1]
        print(f"\n{n:,} rows, {last['features_gb']:.2f} GB of features")
        print(f"  {last['seconds']:.1f} s, {last['cpu_seconds']:.1f} s of CPU")
        print(f"  peak memory {last['peak_gb']:.2f} GB, of which {last['peak_before_gb']:.2f} GB before the search")
        each = ", ".join(f"{share:.4f} at {at}" for at, share in last["recall"].items())
        print(f"  recall of planted twins {last['recall_of_all']:.4f}: {each}")
        print(f"  merged {last['merged']:,}, of which {last['wrongly_merged']:,} are no planted twins")
        print(f"  said by the step: {last['notes']}")
        if n <= of_faiss and find_spec("faiss"):
            with multiprocessing.get_context("spawn").Pool(1) as own_process:
                for other in own_process.apply(measure_faiss, (n,)):
                    print_beside(last, other)
    if len(results) > 1:
        first, last = results[0], results[-1]
        rows, more = last["rows"] / first["rows"], last["cpu_seconds"] / first["cpu_seconds"]
        print(f"\n{rows:.1f} times the rows took {more:.1f} times the CPU time")
    if max(result["peak_gb"] for result in results) > LIMIT_GB:
        sys.exit(f"`peak memory` must stay below {LIMIT_GB} GB; it did not.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--faiss",
        type=int,
        metavar="ROWS",
        default=100_000,
        help="beside faiss up to so many rows; default: %(default)s",
    )
    run(parser.parse_args().rows, parser.parse_args().faiss)
