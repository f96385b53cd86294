"""Twins: rows of features so near to each other that they are one picture, found exactly among any number of rows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from evenly.adapters.features import Booleans, Floats, Integers
from evenly.adapters.splits import joined_groups
from evenly.adapters.training import row_keys

TWIN_COSINE = 0.9999
"""Rows over it are one picture: one saved again, scaled, or encoded in another batch or precision."""
MOST_GROUPS = 10
"""A picture in more groups, such as "image not available", does not join them: its pairs are a group of their own."""
_SLACK = 1e-4  # of a radius of 0.0141, for projections in single precision
_DIRECTIONS = 12
_ITERATIONS = 4
_SAMPLE = 20_000
_BLOCK = 8192
_PAIRS = 1 << 20  # so many candidates at once
_FEW = 8192  # of so many rows all pairs are compared: a matrix product, quicker than to load and build a tree
_FEW_BLOCK = 512
_ROUNDED = 1e-3  # a cosine in single precision is off by less, up to 10,000 dimensions


@dataclass(frozen=True, kw_only=True)
class Twins:
    """The pairs of pictures that have twins: the uids of each cluster, the smallest first."""

    clusters: tuple[tuple[str, ...], ...]

    @classmethod
    def numbered(cls, uids: npt.NDArray[np.str_], numbers: Integers) -> Self:
        """The twins among pairs (n,) by the number (n,) of each one's cluster."""
        order = np.argsort(numbers, kind="stable")
        bounds = np.flatnonzero(np.diff(numbers[order])) + 1
        clusters = [tuple(sorted(uids[members].tolist())) for members in np.split(order, bounds) if len(members) > 1]
        return cls(clusters=tuple(sorted(clusters)))

    def joined(self, uids: Sequence[str], groups: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
        """The groups (n,) of pairs after joining those of twins."""
        group_of = dict(zip(uids, groups.tolist(), strict=True))
        sizes = Counter(groups.tolist())
        edges: list[tuple[str, str]] = []
        placeholders: list[tuple[str, ...]] = []
        for cluster in self.clusters:
            inside = Counter(group_of[uid] for uid in cluster)
            if sum(sizes[name] > count for name, count in inside.items()) > MOST_GROUPS:
                placeholders.append(cluster)
            else:
                edges += [(uid, cluster[0]) for uid in cluster[1:]]
        joined = dict(zip(uids, joined_groups(uids, groups.tolist(), edges).tolist(), strict=True))
        for cluster in placeholders:
            joined |= dict.fromkeys(cluster, f"twins of {cluster[0]}")
        return np.array([joined[uid] for uid in uids], dtype=np.str_)

    def of(self, uids: Sequence[str]) -> frozenset[str]:
        """The pairs and their twins."""
        named = frozenset(uids)
        return named.union(*(cluster for cluster in self.clusters if not named.isdisjoint(cluster)))

    def notes(self, uids: Sequence[str]) -> tuple[str, ...]:
        """A sentence on how many of these pairs have twins."""
        of_clusters = frozenset(uid for cluster in self.clusters for uid in cluster)
        count = sum(uid in of_clusters for uid in uids)
        return (f"{count:,} pictures have twins (cosine over {TWIN_COSINE}): in one part with them",) if count else ()


def twin_clusters(rows: Floats) -> Integers:
    """The cluster of each row (n,), named by the position of its first row: a row without a twin is alone.

    Rows (n, d) of any length whose cosine is over TWIN_COSINE are of one cluster, and so are twins of twins. Rows of
    zeros and such that are not finite have no twins.

    Candidates are found in single precision, and each is measured in double precision: none is missed.
    """
    clusters = np.arange(len(rows))
    usable = np.flatnonzero(_has_direction(rows))
    if len(usable) < 2:
        return clusters
    first_of: dict[bytes, int] = {}
    firsts = [first_of.setdefault(key, place) for place, key in zip(usable.tolist(), _keys(rows, usable), strict=True)]
    distinct = np.array(sorted(first_of.values()))
    joined: Integers = np.arange(len(distinct))
    find = _among_few if len(distinct) <= _FEW else _among_many
    for left, right in find(rows, distinct):
        joined = _joined(rows, distinct, joined, left, right)
    clusters[distinct] = distinct[joined]
    clusters[usable] = clusters[np.array(firsts)]
    return clusters


def twins_of(rows: Floats, judged: Floats) -> Booleans:
    """Whether each of `rows` (n,) is a twin, or a twin of twins, of one of the `judged` rows (m, d)."""
    clusters = twin_clusters(np.concatenate([rows, judged]))
    return np.isin(clusters[: len(rows)], clusters[len(rows) :])


def _among_few(rows: Floats, places: Integers) -> Iterator[tuple[Integers, Integers]]:
    """The first and second of pairs that may be twins, of all pairs."""
    unit = _unit(rows[places]).astype(np.float32)
    for begin in range(0, len(unit), _FEW_BLOCK):
        left, right = np.nonzero(unit[begin : begin + _FEW_BLOCK] @ unit[begin:].T > TWIN_COSINE - _ROUNDED)
        yield left + begin, right + begin


def _among_many(rows: Floats, places: Integers) -> Iterator[tuple[Integers, Integers]]:
    """The first and second of pairs that may be twins, by a tree.

    Near rows are also near in any projection: candidates are near in the directions in which the rows differ most.
    """
    from scipy.spatial import KDTree

    projected = _projected(rows, places)
    tree, radius = KDTree(projected), float(np.sqrt(2 - 2 * TWIN_COSINE)) + _SLACK
    counts = tree.query_ball_point(projected, radius, return_length=True)
    crowded = np.flatnonzero(counts > 1)
    for block in np.split(crowded, _cuts(counts[crowded])):
        neighbours = tree.query_ball_point(projected[block], radius, return_sorted=True)
        left = np.repeat(block, counts[block])
        yield left, np.concatenate([np.asarray(places, np.int64) for places in neighbours]) if len(block) else left


def _joined(rows: Floats, distinct: Integers, joined: Integers, left: Integers, right: Integers) -> Integers:
    """The clusters after joining those pairs of different ones that are twins; what is joined is measured no more."""
    while len(left):
        is_new = (left < right) & (joined[left] != joined[right])
        left, right = left[is_new], right[is_new]
        first, second = left[:_BLOCK], right[:_BLOCK]
        is_twin = _cosines(rows, distinct[first], distinct[second]) > TWIN_COSINE
        left, right = left[_BLOCK:], right[_BLOCK:]
        if is_twin.any():
            from scipy.sparse import coo_array
            from scipy.sparse.csgraph import connected_components

            ends = joined[first[is_twin]], joined[second[is_twin]]
            links = coo_array((np.ones(len(ends[0])), ends), shape=(len(joined), len(joined)))
            components = connected_components(links, directed=False)[1][joined]
            _, firsts, places = np.unique(components, return_index=True, return_inverse=True)
            joined = firsts[places]
    return joined


def _cosines(rows: Floats, left: Integers, right: Integers) -> Floats:
    left_rows, right_rows = rows[left].astype(np.float64), rows[right].astype(np.float64)
    lengths = np.linalg.norm(left_rows, axis=1) * np.linalg.norm(right_rows, axis=1)
    cosines: Floats = np.einsum("ij,ij->i", left_rows, right_rows) / lengths
    return cosines


def _has_direction(rows: Floats) -> Booleans:
    usable = np.empty(len(rows), np.bool_)
    for begin in range(0, len(rows), _BLOCK):
        lengths = np.linalg.norm(rows[begin : begin + _BLOCK].astype(np.float64), axis=1)
        usable[begin : begin + _BLOCK] = np.isfinite(lengths) & (lengths > 0)
    return usable


def _keys(rows: Floats, places: Integers) -> list[bytes]:
    """A digest of each row, equal for equal numbers: -0 is 0."""
    blocks = (places[begin : begin + _BLOCK] for begin in range(0, len(places), _BLOCK))
    return [key for block in blocks for key in row_keys(rows[block] + rows.dtype.type(0))]


def _projected(rows: Floats, places: Integers) -> Floats:
    """The unit rows (m, k) in directions in which a sample of them differs much, by subspace iteration."""
    sample = _unit(rows[places[:: -(-len(places) // _SAMPLE)]])
    centred = sample - sample.mean(axis=0)
    waves = np.arange(min(_DIRECTIONS, rows.shape[1]))
    directions = np.cos(np.outer(np.arange(rows.shape[1]) + 0.5, waves) * (np.pi / rows.shape[1]))
    for _ in range(_ITERATIONS):
        directions, _ = np.linalg.qr(centred.T @ (centred @ directions))
    blocks = (places[begin : begin + _BLOCK] for begin in range(0, len(places), _BLOCK))
    return np.concatenate([_unit(rows[block]) @ directions for block in blocks])


def _unit(rows: Floats) -> Floats:
    wide = rows.astype(np.float64)
    unit: Floats = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _cuts(counts: npt.NDArray[np.integer]) -> Integers:
    """Where to cut rows so that about _PAIRS candidates are looked at together."""
    blocks = np.cumsum(counts) // _PAIRS
    cuts: Integers = np.flatnonzero(np.diff(blocks)) + 1
    return cuts
