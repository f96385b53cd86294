"""Density-based pruning (Abbas et al. 2024, arXiv:2401.04578): more pairs of concepts that are more complex.

Pictures are clustered. A cluster's complexity is the product of the mean distance of its pictures from its centre and
of that of its centre from the nearest others; a softmax of these shares out N pairs, as near to it as clusters are
large enough. Of each cluster the pairs farthest from the centre stay.

No cluster's quota falls as N grows, so that each pair has a least N with which it stays, whatever is kept of all. Its
value is 1 - N / n: the best share of pairs by it is what the published method keeps at that N.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE, check_bounds
from evenly.curation.arrays import Floats, Ints, Singles
from evenly.curation.errors import RuleError

_SCALE = 10_000
"""Cosines have 4 digits: whole numbers, which add up to the same in any order."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """`clusters` of pictures, made in `iterations` of k-means; a softmax of `temperature`; `neighbours` of a centre."""

    clusters: Annotated[int, Ge(2)] = 100
    iterations: Annotated[int, Ge(1), Le(1000)] = 20
    temperature: Annotated[float, Gt(0), FINITE] = 0.1
    neighbours: Annotated[int, Ge(1)] = 20

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quotas:
    """The quota of each cluster for all numbers of pairs that stay: lines between `quotas` (m, k) at `sizes` (m,)."""

    sizes: Floats
    quotas: Floats

    def values(self, cluster: int, pairs: int) -> Floats:
        """The values (pairs,) of a cluster's pairs, the farthest from its centre first; quotas are rounded."""
        entered = np.interp(np.arange(pairs) + 0.5, self.quotas[:, cluster], self.sizes)
        return np.asarray(1 - entered / self.sizes[-1])


def cluster_complexities(centroids: Singles, sums: Floats, counts: Ints, neighbours: int) -> Floats:
    """d_intra * d_inter (k,) of clusters whose pairs' cosine distances from the centre add up to `sums` (k,).

    An empty cluster has the mean of the others.
    """
    distances = np.sort(1 - centroids.astype(np.float64) @ centroids.T.astype(np.float64), axis=1)[:, 1:]
    inter = distances[:, :neighbours].mean(axis=1) if len(centroids) > 1 else np.ones(1)
    complexity = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0) * inter
    return np.asarray(np.where(counts > 0, complexity, np.nanmean(complexity)))


def with_distances(uids: pa.ChunkedArray, labels: Ints, cosines: Floats) -> pa.Table:
    """Pairs [uid, cluster, distance] by the cluster of their picture and its cosine with the centre."""
    return pa.table({"uid": uids, "cluster": labels, "distance": np.rint((1 - cosines) * _SCALE).astype(np.int64)})


def quotas_of(centroids: Singles, totals: Ints, rule: Density) -> Quotas:
    """The quotas of clusters by their `cluster_totals` (2, k)."""
    counts, sums = totals[0], totals[1] / _SCALE
    return share_out(cluster_complexities(centroids, sums, counts, rule.neighbours), counts, rule.temperature)


def cluster_totals(rows: pa.Table, k: int) -> Ints:
    """The number of pairs [cluster, distance] in each cluster, and the sum of their distances (2, k)."""
    totals, labels = np.zeros((2, k), np.int64), rows["cluster"].to_numpy()
    np.add.at(totals[0], labels, 1)
    np.add.at(totals[1], labels, rows["distance"].to_numpy())
    return totals


def share_out(complexities: Floats, counts: Ints, temperature: float) -> Quotas:
    """The quotas of clusters of `counts` pairs for every N: those nearest to softmax(complexity / temperature) * N.

    They add up to N, and each is at most its cluster's count, at least 1, or 0 for a cluster of one pair.
    """
    weights = np.exp((complexities - complexities.max()) / temperature)
    shares = weights / weights.sum()
    least, most = np.clip(counts - 1, 0, 1).astype(np.float64), counts.astype(np.float64)
    size, total = least.sum(), most.sum()
    low, free = most > least, np.zeros(len(counts), np.bool_)
    offsets = np.where(low, least - shares * size, np.inf)
    level = float(offsets.min())
    sizes, quotas = [0.0, size], [np.zeros(len(counts)), least]
    while size < total and (low.any() or free.any()):
        wanted = shares * size + level  # before it is cut to what a cluster has
        if not free.any():  # those that are full wait for the next
            level += float(np.where(low, least - wanted, np.inf).min())
            wanted = shares * size + level
            slope = 0.0
        else:
            slope = (1 - shares[free].sum()) / free.sum()
        rates = shares + slope
        bound = np.where(free, most, least)
        steps = np.where(low | free, np.maximum(bound - wanted, 0) / np.maximum(rates, 1e-300), np.inf)
        event = int(steps.argmin())
        step = float(min(steps[event], total - size)) if free.any() else 0.0
        size, level = size + step, level + slope * step
        low[event], free[event] = False, bool(low[event])
        sizes.append(size)
        quotas.append(np.clip(shares * size + level, least, most))
    sizes.append(total)
    quotas.append(most)
    return Quotas(sizes=np.asarray(sizes), quotas=np.maximum.accumulate(np.asarray(quotas), axis=0))


def values_by_rank(rows: pa.Table, quotas: Quotas) -> tuple[pa.ChunkedArray, Floats]:
    """The uids and values of pairs [uid, cluster, distance]: by rank in their cluster, farthest first, then uid."""
    rows = rows.sort_by([("cluster", "ascending"), ("distance", "descending"), ("uid", "ascending")])
    labels, counts = np.unique(rows["cluster"].to_numpy(), return_counts=True)
    values = [np.empty(0), *(quotas.values(int(label), int(n)) for label, n in zip(labels, counts, strict=True))]
    return rows["uid"], np.concatenate(values)
