"""Find rows in a store of many features, and the pairs of a build that show them: exactly, by indices, beside others.

Rows are synthetic unit vectors of 512 columns in half precision: 2,000 clusters of uneven size around a common
direction, with falling variance, as rows of CLIP have. Queries are new rows of the same kind (pictures) and rows moved
along another direction (texts). The folder keeps the store, so that parts may be run one after the other.

Run: python -m benchmarks.feature_search --folder F [--rows 2000000] [--parts exact binary ivf_pq ...]
Each part runs in a process of its own, whose peak memory is printed. `others` compares with faiss and usearch on
--compare rows: pip install '.[bench]'.
"""

import argparse
import hashlib
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.features.retrieve import top_concepts
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.search.index import make_index
from evenly.tasks.search.pairs import Query
from evenly.tasks.search.search import search_build

WIDTH, CLUSTERS, BLOCK = 512, 2000, 1 << 16
ENCODER = "e" * 64
PARTS = ("store", "exact", "binary", "ivf_pq", "ivf_hnsw_sq", "others")
QUERIES = 100
TEXTS, NEW = 10**12, 10**12 + 10  # seeds of rows that are not stored


class Rows:
    """Rows by number, the same whatever is asked for together with them."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._spectrum = (np.arange(1, WIDTH + 1) ** -0.6).astype(np.float32)
        self._basis = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
        normal = random.standard_normal((CLUSTERS, WIDTH)).astype(np.float32)
        self._centres = (normal * self._spectrum) @ self._basis
        self._mean = self._basis[0] * 1.5 * self._centres.std() * 8
        self._gap = self._basis[1] * np.linalg.norm(self._mean)
        weights = 1 / np.arange(1, CLUSTERS + 1) ** 0.7
        self._weights = weights / weights.sum()

    def make(self, count: int, seed: int, *, gap: float = 0.0) -> np.ndarray:
        """New rows (n, d) float16, moved by `gap` of the length of the mean along a direction of their own."""
        random = np.random.default_rng(seed + 1)
        clusters = random.choice(CLUSTERS, count, p=self._weights)
        noise = random.standard_normal((count, WIDTH), dtype=np.float32) * self._spectrum
        rows = self._mean + self._centres[clusters] + 0.6 * noise @ self._basis + gap * self._gap
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float16)


def image_id(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def prepare(folder: Path, rows: int) -> None:
    """Make what is not there yet: features of pictures and texts, and a build of as many pairs."""
    workspace, source = Workspace.at(folder), Rows()
    store, texts = (FeatureStore(workspace, ENCODER, kind) for kind in ("images", "texts"))
    started = time.perf_counter()
    if not store.path.exists():
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            ids = [image_id(number) for number in range(start, start + count)]
            store.append(ids, source.make(count, start), np.ones(count, np.float32))
    if not texts.path.exists():
        ids = [hashlib.sha256(b"text %d" % number).hexdigest() for number in range(1000)]
        texts.append(ids, source.make(1000, TEXTS, gap=3.0), np.ones(1000, np.float32))
    if not Builds(workspace).names():
        publish(workspace, rows)
    print(f"prepared in {time.perf_counter() - started:.0f} s")


def publish(workspace: Workspace, rows: int) -> None:
    uids = np.array([hashlib.sha256(b"uid %d" % number).hexdigest()[:32] for number in range(rows)])
    order = np.argsort(uids)
    samples, parts = Samples(workspace, "big"), []
    for start in range(0, rows, BLOCK):
        numbers = order[start : start + BLOCK]
        kept = [number % 4 > 0 for number in numbers.tolist()]
        table = pa.table(
            {
                "uid": uids[numbers].tolist(),
                "caption": [f"picture {number}" for number in numbers.tolist()],
                "image_id": [image_id(number) for number in numbers.tolist()],
                "collect_verdict": ["kept" if one else "dropped" for one in kept],
                "collect_reason": ["" if one else "draw" for one in kept],
                "collect_value": pa.nulls(len(kept), pa.float64()),
                "collect_into": pa.nulls(len(kept), pa.string()),
            }
        )
        parts.append(samples.write_part(table))
    version = samples.commit(parts)
    manifest = {
        "build": "big-1",
        "recipe_name": "big",
        "recipe": {"features": {"model": "embedded"}},
        "seed": 1,
        "created": "2026-01-01",
        "encoder": {"identity": ENCODER},
        "samples": {"version": version, "last": "collect", "rows": rows, "kept": rows - rows // 4},
        "steps": [{"name": "collect", "counts": {"kept": rows}, "reasons": {}}],
    }
    Builds(workspace).publish(manifest)


def timed(function: Callable[[int], object], times: int) -> str:
    """The median and the longest of the seconds of some calls, and the processor time of one."""
    seconds, cpu = list[float](), time.process_time()
    for number in range(times):
        started = time.perf_counter()
        function(number)
        seconds.append(time.perf_counter() - started)
    of_one = (time.process_time() - cpu) / times
    return f"{statistics.median(seconds):.3f} s (at most {max(seconds):.3f}; {of_one:.3f} s of CPU)"


def measure(part: str, folder: Path, rows: int, compare: int) -> None:
    workspace = Workspace.at(folder)
    store = FeatureStore(workspace, ENCODER, "images")
    random = np.random.default_rng(5)
    if part == "store":
        drawn = [[image_id(int(number)) for number in random.integers(0, rows, 1000)] for _ in range(5)]
        print("read of 1,000 ids:", timed(lambda number: store.read(drawn[number]), 5))
        asked = [image_id(number) for number in range(rows - 50_000, rows + 50_000)]
        print("missing of 100,000:", timed(lambda _: len(store.missing(asked)), 3), f"{len(store.missing(asked)):,}")
    elif part == "others":
        others(store, min(compare, rows))
    elif part == "exact":
        uids = some_uids(workspace)
        print("search, exact:", timed(lambda number: search(workspace, uids[number]), 3))
    else:
        cpu = time.process_time()
        facts = make_index(workspace, ENCODER, part, Progress(quiet=True), force=True)
        print(f"{part}: {facts}, made and measured in {time.process_time() - cpu:.0f} s of CPU")
        uids = some_uids(workspace)
        print(f"{part}: search", timed(lambda number: search(workspace, uids[number], index=part), 5))
    print(f"{part}: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)


def some_uids(workspace: Workspace) -> list[str]:
    manifest = Builds(workspace).read("big-1")
    table = next(Samples(workspace, "big").batches(manifest["samples"]["version"], ["uid"]))
    uids: list[str] = table["uid"][:10].to_pylist()
    return uids


def search(workspace: Workspace, uid: str, index: str | None = None) -> None:
    manifest = Builds(workspace).read("big-1")
    result = search_build(Run(workspace=workspace, seed=1), manifest, Query(uids=[uid]), top=10, index=index)
    if result.rows[0]["uid"] != uid:
        raise SystemExit(f"the nearest must be the pair itself, {uid}; got {result.rows[0]['uid']}.")


def others(store: FeatureStore, rows: int) -> None:
    """Indices side by side over the first rows: seconds to make, bytes, milliseconds and recall@10 of new rows."""
    source, ids = Rows(), [image_id(number) for number in range(rows)]
    vectors = store.read(ids)[0].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = {"pictures": source.make(QUERIES, NEW), "texts": source.make(QUERIES, NEW + 2, gap=3.0)}
    rough = {name: made.astype(np.float32) for name, made in queries.items()}
    stored = vectors.astype(np.float16)
    truth = {name: [set(near) for near in top_concepts(made, stored, 10)[0].tolist()] for name, made in rough.items()}
    with tempfile.TemporaryDirectory(dir=store.path.parents[2]) as folder:
        for name, make in (*ours(folder, ids, vectors), *faiss_indices(vectors), *usearch_index(vectors)):
            started, cpu = time.perf_counter(), time.process_time()
            nearest, size = make()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            recall, each = {}, list[float]()
            for kind, made in rough.items():
                hits = 0
                for query, right in zip(made, truth[kind], strict=True):
                    started = time.perf_counter()
                    given = nearest(query)
                    each.append(time.perf_counter() - started)
                    hits += len({int(one) for one in given} & right)
                recall[kind] = hits / QUERIES / 10
            shares = ", ".join(f"{share:.3f} of {kind}" for kind, share in recall.items())
            print(
                f"  {name:<28} made in {seconds:6.1f} s ({cpu:.0f} s of CPU), {size / 1e6:7.1f} MB, "
                f"{1000 * statistics.median(each):6.2f} ms, recall@10 {shares}",
                flush=True,
            )


Made = tuple[str, Callable[[], tuple[Callable[[np.ndarray], Any], int]]]


def reranked(vectors: np.ndarray, places: Iterable[int], query: np.ndarray) -> np.ndarray:
    """The ten of the candidates that are nearest, compared exactly: all indices get the same last step."""
    found = np.asarray([place for place in places if place >= 0], np.int64)
    return found[np.argsort(-(vectors[found] @ query), kind="stable")[:10]]


def ours(folder: str, ids: list[str], vectors: np.ndarray) -> Iterator[Made]:
    from evenly.tasks.search.index import KINDS, FeatureIndex

    workspace = Workspace.at(folder)
    place_of = {name: place for place, name in enumerate(ids)}
    store = FeatureStore(workspace, ENCODER, "images")
    for start in range(0, len(ids), BLOCK):
        part = slice(start, start + BLOCK)
        store.append(ids[part], vectors[part].astype(np.float16), np.ones(len(ids[part]), np.float32))
    for kind in KINDS:

        def make(kind: str = kind) -> tuple[Callable[[np.ndarray], Any], int]:
            facts = make_index(workspace, ENCODER, kind, Progress(quiet=True), force=True)
            index = FeatureIndex(workspace, ENCODER, kind)

            def nearest(query: np.ndarray) -> np.ndarray:
                near = index.candidates(query, facts.candidates)
                return reranked(vectors, [place_of[name] for name in near], query)

            return nearest, facts.bytes

        yield f"evenly {kind}", make


def faiss_indices(vectors: np.ndarray) -> Iterator[Made]:
    try:
        import faiss
    except ModuleNotFoundError:
        print("  faiss is not installed")
        return
    cells, inner = max(1, len(vectors) // 4096), faiss.METRIC_INNER_PRODUCT

    def flat() -> tuple[Callable[[np.ndarray], Any], int]:
        index = faiss.IndexFlatIP(WIDTH)
        index.add(vectors)
        return lambda query: index.search(query[None], 10)[1][0], vectors.nbytes

    def ivf_pq() -> tuple[Callable[[np.ndarray], Any], int]:
        index = faiss.IndexIVFPQ(faiss.IndexFlatIP(WIDTH), WIDTH, cells, 64, 8, inner)
        index.train(vectors[: 256 * max(cells, 256)])
        index.add(vectors)
        index.nprobe = 16
        return lambda query: reranked(vectors, index.search(query[None], 200)[1][0], query), 64 * len(vectors)

    def hnsw() -> tuple[Callable[[np.ndarray], Any], int]:
        index = faiss.IndexHNSWSQ(WIDTH, faiss.ScalarQuantizer.QT_8bit, 16, inner)
        index.train(vectors)
        index.add(vectors)
        index.hnsw.efSearch = 128
        size = len(vectors) * (WIDTH + 4 * 2 * 16)
        return lambda query: reranked(vectors, index.search(query[None], 100)[1][0], query), size

    yield from (("faiss flat", flat), ("faiss IVFPQ nprobe 16", ivf_pq), ("faiss HNSW SQ8 ef 128", hnsw))


def usearch_index(vectors: np.ndarray) -> Iterator[Made]:
    try:
        from usearch.index import Index
    except ModuleNotFoundError:
        print("  usearch is not installed")
        return

    def make() -> tuple[Callable[[np.ndarray], Any], int]:
        index = Index(ndim=WIDTH, metric="cos", dtype="f16", expansion_search=128)
        index.add(np.arange(len(vectors)), vectors)
        return lambda query: index.search(query, 10).keys, int(index.memory_usage)

    yield "usearch HNSW f16 ef 128", make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--compare", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        context = multiprocessing.get_context("spawn")
        prepare(folder, chosen.rows)
        for part in chosen.parts:
            with context.Pool(1) as own_process:
                own_process.apply(measure, (part, folder, chosen.rows, chosen.compare))


if __name__ == "__main__":
    main()
