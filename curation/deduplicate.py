"""Merge pictures that are the same: equal bytes, nearly equal looks, or nearly equal features.

Pairs of twins become components by union-find. The survivor of a component is the pair with the largest picture, then
the highest score where one is given, then the smallest uid. Every other pair is merged into it and names the distance
that was measured between the two, or null where a chain of twins joins them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.columns import column, fixed_rows
from curation.decisions import Decisions
from curation.errors import RuleError
from curation.fingerprints import COLOUR_BYTES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BLOCK = 2048


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """decisions per row, and edges [uid_a, uid_b, kind, distance] of the twins that were found, by uid."""

    decisions: Decisions
    edges: pa.Table


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """Twins have perceptual hashes within `max_distance` of 64 bits and colours within `max_colour`.

    max_colour: root mean square difference of the 16 x 16 colour grids, in 0 to 255. A grey-level hash alone takes
    skin-tone variants and flags for duplicates.
    """

    max_distance: int = 6
    max_colour: float = 6.0


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Twins have features of cosine at least `min_cosine` and colours within `max_colour` (see Perceptual)."""

    min_cosine: float = 0.95
    max_colour: float = 6.0


def deduplicate_exact(batch: pa.Table) -> Duplicates:
    """Merge pairs with equal bytes: same_url where the URL is the survivor's, else exact_duplicate. Distance 0.

    `batch`: uid, url, image_id, width, height.
    """
    names = column(batch, "image_id", pa.string()).dictionary_encode().indices.to_numpy()
    order = np.argsort(names, kind="stable")
    same = np.flatnonzero(names[order][1:] == names[order][:-1])
    left, right = order[same], order[same + 1]
    urls = column(batch, "url", pa.string()).to_pylist()
    zeros = np.zeros(len(left))
    found = _merge(
        batch, left, right, zeros, kind="exact", reason="exact_duplicate", measure=lambda a, _b: np.zeros(len(a))
    )
    survivor = {uid: url for uid, url in zip(batch["uid"].to_pylist(), urls, strict=True)}
    reasons = [
        "same_url" if reason and survivor[into] == url else reason
        for reason, into, url in zip(
            found.decisions.reason.to_pylist(), found.decisions.into.to_pylist(), urls, strict=True
        )
    ]
    decisions = Decisions.of(reason=reasons, value=found.decisions.value, into=found.decisions.into)
    return Duplicates(decisions=decisions, edges=found.edges)


def deduplicate_perceptual(batch: pa.Table, rule: Perceptual) -> Duplicates:
    """Merge pairs that look alike (near_duplicate); value is the Hamming distance to the survivor.

    `batch`: uid, width, height, phash, colour. Rows without a hash have no twins. All pairs are compared, block by block.
    """
    hashes = column(batch, "phash", pa.uint64())
    usable = hashes.is_valid().to_numpy(zero_copy_only=False)
    bits = hashes.fill_null(0).to_numpy()
    colours = fixed_rows(batch, "colour", pa.uint8(), COLOUR_BYTES).astype(np.float32)

    def distances(rows: Ints, others: Ints) -> Floats:
        counts: Floats = np.bitwise_count(bits[rows][:, None] ^ bits[others][None, :]).astype(np.float64)
        return counts

    left, right, distance = _close(np.flatnonzero(usable), distances, rule.max_distance)
    near = _colour_distance(colours, left, right) <= rule.max_colour
    return _merge(
        batch,
        left[near],
        right[near],
        distance[near],
        kind="perceptual",
        reason="near_duplicate",
        measure=lambda a, b: np.bitwise_count(bits[a] ^ bits[b]).astype(np.float64),
    )


def deduplicate_semantic(batch: pa.Table, rows: npt.NDArray[np.float16], rule: Semantic) -> Duplicates:
    """Merge pairs whose features nearly agree (semantic_duplicate); value is the cosine to the survivor.

    `batch`: uid, width, height, colour; `rows` (n, d) unit float16 features of the same pairs.
    """
    if len(rows) != batch.num_rows:
        raise RuleError(f"`rows` must be the features of the {batch.num_rows} pairs; got {len(rows)}.")
    wide = rows.astype(np.float32)
    colours = fixed_rows(batch, "colour", pa.uint8(), COLOUR_BYTES).astype(np.float32)

    def distances(some: Ints, others: Ints) -> Floats:
        products = np.round((wide[some] @ wide[others].T).astype(np.float64), 4)
        return np.asarray(1.0 - products, dtype=np.float64)

    left, right, distance = _close(np.arange(len(rows)), distances, 1.0 - rule.min_cosine + 1e-9)
    near = _colour_distance(colours, left, right) <= rule.max_colour
    return _merge(
        batch,
        left[near],
        right[near],
        1.0 - distance[near],
        kind="semantic",
        reason="semantic_duplicate",
        measure=lambda a, b: np.round(np.einsum("nd,nd->n", wide[a], wide[b]).astype(np.float64), 4),
    )


def _close(rows: Ints, distances: Callable[[Ints, Ints], Floats], limit: float) -> tuple[Ints, Ints, Floats]:
    """All pairs (left < right) of `rows` within `limit`, block by block: memory stays at BLOCK squared distances."""
    found: list[tuple[Ints, Ints, Floats]] = []
    for a, b in _blocks(rows):
        block = distances(a, b)
        i, j = np.nonzero(block <= limit)
        ordered = a[i] < b[j]
        found.append((a[i][ordered], b[j][ordered], block[i, j][ordered]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    left, right, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return left, right, distance


def _blocks(rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    starts = range(0, len(rows), BLOCK)
    for first in starts:
        for second in starts:
            if second >= first:
                yield rows[first : first + BLOCK], rows[second : second + BLOCK]


def _colour_distance(colours: npt.NDArray[np.float32], left: Ints, right: Ints) -> Floats:
    """Root mean square difference (n,) of the colour grids of pairs."""
    result = np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        part = slice(start, start + BLOCK)
        difference = colours[left[part]] - colours[right[part]]
        result[part] = np.sqrt(np.mean(difference * difference, axis=1))
    return result


def _merge(
    batch: pa.Table,
    left: Ints,
    right: Ints,
    distance: Floats,
    *,
    kind: str,
    reason: str,
    measure: Callable[[Ints, Ints], Floats],
) -> Duplicates:
    """Join twins to components and merge each component into its survivor."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = batch.num_rows
    uids = column(batch, "uid", pa.string()).to_pylist()
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    best = _survivors(batch, component)
    survivor = best[component]
    merged = survivor != np.arange(n)
    values = np.full(n, np.nan)
    at = np.flatnonzero(merged)
    values[at] = measure(at, survivor[at])
    edges = {
        "uid_a": pa.array([min(uids[a], uids[b]) for a, b in zip(left, right, strict=True)], pa.string()),
        "uid_b": pa.array([max(uids[a], uids[b]) for a, b in zip(left, right, strict=True)], pa.string()),
        "kind": pa.repeat(pa.scalar(kind), len(left)),
        "distance": pa.array(distance, pa.float64()),
    }
    decisions = Decisions.of(
        reason=np.where(merged, reason, ""),
        value=pa.array(values, from_pandas=True),
        into=[uids[to] if gone else None for to, gone in zip(survivor, merged, strict=True)],
    )
    return Duplicates(
        decisions=decisions, edges=pa.table(edges).sort_by([("uid_a", "ascending"), ("uid_b", "ascending")])
    )


def _survivors(batch: pa.Table, component: Ints) -> Ints:
    """Row of the survivor per component: largest picture, then highest score, then smallest uid."""
    keys: Mapping[str, npt.NDArray[np.float64]] = {
        name: np.nan_to_num(column(batch, name, pa.float64()).to_numpy(zero_copy_only=False))
        for name in ("width", "height", "score")
        if name in batch.column_names
    }
    area = keys["width"] * keys["height"]
    score = keys.get("score", np.zeros(len(area)))
    by_uid = np.argsort(np.asarray(batch["uid"].to_pylist(), dtype=np.str_), kind="stable").argsort()
    order = np.lexsort((by_uid, -score, -area, component))
    first = np.concatenate([[True], np.diff(component[order]) > 0]) if len(order) else np.empty(0, bool)
    return np.asarray(order[first], dtype=np.int64)
