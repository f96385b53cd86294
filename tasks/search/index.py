"""Indices of the features by an encoder, made once for all its builds; what each finds and costs is written down."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.features.retrieve import top_concepts
from evenly.features.search.codes import binary_codes, centre_of, shortlists
from evenly.features.unit_rows import Single
from evenly.storage.artifacts.kinds import INDEX
from evenly.storage.artifacts.store import Artifacts
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.tables.lance_commits import commit_fragments, commit_index, write_fragments
from evenly.storage.tables.lance_keys import COLUMN, NAME, VectorIndex, rows_at
from evenly.storage.tables.lance_rows import KEY, MADE_AGAIN, each_fragment, newest_version, open_rows
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress

BINARY = "binary"
KINDS = ("ivf_pq", "ivf_hnsw_sq", BINARY)
NEAREST = 10
"""How many of the nearest an index is measured on."""
WANTED_RECALL = 0.95
QUERIES = 64
"""Stored rows of each kind, drawn by their ids, by which an index is measured."""
_TIMED = 5  # of these, each alone
_ROWS_PER_CELL = 4096
_LEAST_ROWS = 256  # of which a code book of a byte is made
_ANEW = f"Remove this `.lance` folder and make the index again: `evenly index --kind {BINARY}`."
Nearest = Callable[[Single, int, int], list[list[str]]]
"""Ids of rows near to each query (m, d), the nearest first: so many, of so many cells."""
_EFFORTS = {
    BINARY: ((0, 100), (0, 200), (0, 500), (0, 1000), (0, 2000), (0, 5000), (0, 10_000)),
    "ivf": ((8, 100), (16, 200), (32, 200), (64, 500), (128, 1000)),
}
"""What is tried, the quickest first: cells looked into, and candidates that are then compared exactly."""


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """The card of an index.

    rows: of the features when it was made. probes, candidates: the least effort that finds WANTED_RECALL of the NEAREST
    of queries, or the most that is tried; recall: what it finds, for pictures and, where some are stored, texts;
    query_ms: its median time for one query alone, without reading the candidates' features.
    """

    kind: str
    rows: int
    dimension: int
    probes: int
    candidates: int
    recall: dict[str, float]
    queries: int
    query_ms: float
    bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, and the shares of the rows that a query for ten looks at: by codes, and exactly by a shortlist."""
        cells = min(1.0, self.probes / _cells(self.rows)) if self.kind != BINARY else 1.0
        looks_at = {"scanned": round(cells, 4), "shortlist": round(min(1.0, self.candidates / self.rows), 4)}
        return asdict(self) | {"looks_at": looks_at}


@dataclass(frozen=True)
class _Made:
    """An index by name: Lance's by its uuid; codes by the version of their dataset, and the centre that made them."""

    uuid: str = ""
    version: int = 0
    centre: tuple[float, ...] = ()


class FeatureIndex:
    """An index of the features of pictures by one encoder. Raises NotFoundError where it was not made.

    unindexed: rows that came later; Lance's indices search them exactly, binary codes do not know them.
    """

    def __init__(self, workspace: Workspace, encoder: str, kind: str) -> None:
        check_kind(kind)
        store = FeatureStore(workspace, encoder, "images")
        stored = _stored(store, kind)
        if stored is None:
            raise NotFoundError(
                f"`index` must be one that was made; there is no {kind} of the features by encoder {encoder[:12]}. "
                f"Make it: `evenly index --kind {kind}`."
            )
        self.facts, stamp = stored
        self._nearest, self.unindexed = _opened(store, kind, stamp)

    def candidates(self, query: Single, k: int) -> list[str]:
        """Ids of `k` rows that are near to a query (d,)."""
        return self._nearest(query[None], k, self.facts.probes)[0]


def check_kind(kind: str) -> None:
    """Raise InputError for a kind of index that is not known."""
    if kind not in KINDS:
        raise InputError(f"`index` must be one of {', '.join(KINDS)}; got `{kind}`. Choose one.")


def make_index(workspace: Workspace, encoder: str, kind: str, progress: Progress, *, force: bool = False) -> IndexFacts:
    """Make an index of the features of pictures by an encoder, in place of an earlier one of its kind, and measure it.

    force: also in place of one of the other kind of Lance's, of which features have one at a time. Raises InputError.
    """
    check_kind(kind)
    store = FeatureStore(workspace, encoder, "images")
    for existing in KINDS if kind != BINARY and not force else ():
        with suppress(NotFoundError, DamagedError):
            if existing not in (kind, BINARY) and FeatureIndex(workspace, encoder, existing):
                raise InputError(
                    f"`--kind` must be {existing}, the index that is there, or {BINARY}, which stands beside it; got "
                    f"`{kind}`. Replace it: --force."
                )
    version = newest_version(store.path)
    if version is None:
        raise NotFoundError(f"features `{store.path}` must exist; they do not. Extract them: `evenly extract`.")
    rows, dimension = _size(store.path, version, MADE_AGAIN)
    if rows < _LEAST_ROWS:
        raise InputError(
            f"`index` must be of at least {_LEAST_ROWS} pictures; got {rows}. Search without one: exactly."
        )
    started = time.perf_counter()
    with progress.bar(f"making the index {kind}", None):
        stamp = _make_codes(store, version) if kind == BINARY else _make_cells(store, kind, rows, dimension)
    seconds = time.perf_counter() - started
    nearest, _ = _opened(store, kind, stamp)
    with progress.bar("measuring the index", None):
        efforts = _EFFORTS[BINARY if kind == BINARY else "ivf"]
        measured = _measured(workspace, encoder, efforts, nearest)
    facts = IndexFacts(
        kind=kind,
        rows=rows,
        dimension=dimension,
        bytes=_bytes(store, kind, rows, dimension),
        seconds=round(seconds, 1),
        **measured,
    )
    made_of = {"encoder": encoder, "rule": {"kind": kind}, "features": version}
    _indexes(store).put(f"images-{kind}", asdict(facts) | asdict(stamp), made_of=made_of, force=True)
    return facts


def _bytes(store: FeatureStore, kind: str, rows: int, dimension: int) -> int:
    """The size of an index: the files of Lance's, or the codes."""
    return rows * -(-dimension // 64) * 8 if kind == BINARY else VectorIndex(store.path, _remedy(kind)).bytes


def _opened(store: FeatureStore, kind: str, stamp: "_Made") -> tuple[Nearest, int]:
    """The source of candidates, and the number of rows that it does not know."""
    if kind != BINARY:
        index = VectorIndex(store.path, _remedy(kind))
        if index.uuid != stamp.uuid:
            raise NotFoundError(
                f"`index` must be one that was made; of `{store.path}` another was made after this {kind}, or it was "
                f"broken off: {index.kind}. Choose that, or: {_remedy(kind)}"
            )
        return lambda rows, k, probes: [index.nearest(row, k, nprobes=probes) for row in rows], index.unindexed
    codes = _codes_path(store)
    rows = _size(codes, stamp.version, _ANEW)[0] if newest_version(codes) == stamp.version else None
    if rows is None or rows > store.count():
        raise NotFoundError(
            f"codes `{codes}` must be the last that were made, of features still there; they are not. {_remedy(kind)}"
        )
    centre = np.asarray(stamp.centre, np.float32)

    def nearest(rows: Single, k: int, _probes: int) -> list[list[str]]:
        tables = each_fragment(codes, _ANEW, version=stamp.version, columns=["row"])
        lists = shortlists(binary_codes(rows, centre), (_matrix(table["row"]) for table in tables), k)
        places = np.unique(np.concatenate(lists))
        ids = rows_at(codes, _ANEW, places, version=stamp.version, columns=[KEY])[KEY].combine_chunks()
        return [ids.take(pa.array(np.searchsorted(places, neighbours))).to_pylist() for neighbours in lists]

    return nearest, store.count() - rows


def _make_cells(store: FeatureStore, kind: str, rows: int, dimension: int) -> "_Made":
    """Lance's index: rows in cells around centres, each with a short code."""
    parameters = {"num_partitions": _cells(rows)}
    if kind == "ivf_pq":
        parameters["num_sub_vectors"] = max(size for size in range(1, dimension // 8 + 1) if dimension % size == 0)
    commit_index(store.path, COLUMN, kind.upper(), name=NAME, parameters=parameters)
    return _Made(uuid=VectorIndex(store.path, _remedy(kind)).uuid)


def _cells(rows: int) -> int:
    """In how many cells Lance's indices put so many rows."""
    return max(1, rows // _ROWS_PER_CELL)


def _make_codes(store: FeatureStore, version: int) -> "_Made":
    """The codes of all rows, and the centre by which they are made; the features are read twice."""
    codes = _codes_path(store)
    centre = centre_of(_matrix(table[COLUMN]) for table in each_fragment(store.path, MADE_AGAIN, version=version))
    fragments, schema = list[str](), None
    for table in each_fragment(store.path, MADE_AGAIN, version=version, columns=[KEY, COLUMN]):
        rows = binary_codes(_matrix(table[COLUMN]), centre)
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        part = pa.table({KEY: table[KEY], "row": column})
        schema = part.schema
        fragments += write_fragments(codes, part)
    return _Made(version=commit_fragments(codes, schema, fragments), centre=tuple(centre.tolist()))


def _measured(
    workspace: Workspace, encoder: str, efforts: Sequence[tuple[int, int]], nearest: Nearest
) -> dict[str, Any]:
    """The least effort that finds enough of the nearest of stored pictures and texts, and what it finds."""
    store = FeatureStore(workspace, encoder, "images")
    queries = list[tuple[str, str, Single]]()
    for kind, name in (("images", "pictures"), ("texts", "texts")):
        queried = FeatureStore(workspace, encoder, kind)
        ids = _drawn_ids(queried.path)
        rows = queried.read(ids)[0].astype(np.float32) if ids else np.zeros((0, 1), np.float32)
        queries += [(name, query, row) for query, row in zip(ids, rows, strict=True)]
    asked_rows = np.stack([row for _, _, row in queries])
    truth = [
        [name for name in neighbours if name != query][:NEAREST]
        for (_, query, _), neighbours in zip(queries, _true_nearest(store.path, asked_rows, NEAREST + 1), strict=True)
    ]
    for effort, answers in _tried(asked_rows, efforts, nearest):
        probes, candidates = effort
        shares = defaultdict[str, list[float]](list)
        for (name, _, _), wanted, neighbours in zip(queries, truth, answers, strict=True):
            shares[name].append(len({*wanted} & {*neighbours}) / len(wanted))
        recall = {name: round(float(np.mean(values)), 4) for name, values in shares.items()}
        if min(recall.values()) >= WANTED_RECALL:
            break
    times = list[float]()
    for row in asked_rows[:: -(-len(queries) // _TIMED)]:
        started = time.perf_counter()
        nearest(row[None], candidates, probes)
        times.append(time.perf_counter() - started)
    return {
        "probes": probes,
        "candidates": candidates,
        "recall": recall,
        "queries": len(queries),
        "query_ms": round(1000 * float(np.median(times)), 1),
    }


def _tried(
    rows: Single, efforts: Sequence[tuple[int, int]], nearest: Nearest
) -> Iterator[tuple[tuple[int, int], list[list[str]]]]:
    """Each effort, and what it gives for each row: the candidates of fewer are the beginning of those of more."""
    for probes, group in groupby(efforts, key=itemgetter(0)):
        counts = [candidates for _, candidates in group]
        neighbours = nearest(rows, max(counts), probes)
        for candidates in counts:
            yield (probes, candidates), [names[:candidates] for names in neighbours]


def _true_nearest(path: Path, queries: Single, k: int) -> list[list[str]]:
    """The ids of the `k` rows nearest to each query (m, d); of equal scores the smaller id."""
    neighbours: list[list[tuple[float, str]]] = [[] for _ in queries]
    for table in each_fragment(path, MADE_AGAIN, version=newest_version(path) or 0, columns=[KEY, COLUMN]):
        rows, ids = _matrix(table[COLUMN]), table[KEY].combine_chunks()
        places, scores = top_concepts(queries, rows, min(k, len(rows)))
        for number, (row_places, row_scores) in enumerate(zip(places, scores, strict=True)):
            names = ids.take(pa.array(row_places)).to_pylist()
            neighbours[number] = sorted([*neighbours[number], *zip((-row_scores).tolist(), names, strict=True)])[:k]
    return [[name for _, name in pairs] for pairs in neighbours]


def _drawn_ids(path: Path) -> list[str]:
    """QUERIES ids of a store, or fewer: those with the smallest, which are hashes; none without a store."""
    version, ids = newest_version(path), list[str]()
    for table in each_fragment(path, MADE_AGAIN, version=version, columns=[KEY]) if version is not None else ():
        ids = sorted({*ids, *table[KEY].to_pylist()})[:QUERIES]
    return ids


def _size(path: Path, version: int, remedy: str) -> tuple[int, int]:
    """The number of rows of a dataset, and their length."""
    dataset = open_rows(path, remedy, version)
    name = COLUMN if COLUMN in dataset.schema.names else "row"
    return int(dataset.count_rows()), int(dataset.schema.field(name).type.list_size)


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    rows: npt.NDArray[Any] = column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
    return rows


def _remedy(kind: str) -> str:
    """The remedy for an index that is damaged or not there."""
    return f"Make the index again: `evenly index --kind {kind}`."


def _codes_path(store: FeatureStore) -> Path:
    return store.path.with_name("images-codes.lance")


def _indexes(store: FeatureStore) -> Artifacts:
    """The cards of indexes; their contents are Lance's files, which have sums of their own."""
    return Artifacts.beside(INDEX, store.path.parent)


def _stored(store: FeatureStore, kind: str) -> tuple[IndexFacts, "_Made"] | None:
    try:
        card, _ = _indexes(store).read(f"images-{kind}")
    except NotFoundError:
        return None
    facts, stamp = ({field.name: card[field.name] for field in fields(holder)} for holder in (IndexFacts, _Made))
    return IndexFacts(**facts), _Made(**stamp | {"centre": tuple(stamp["centre"])})
