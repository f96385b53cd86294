"""Several clusters per picture, and how evenly a pool fills its clusters: the offline half of MLCD.

An et al., Multi-label Cluster Discrimination for Visual Representation Learning, ECCV 2024, arXiv:2407.17331: pictures
are clustered by features, and each gets the nearest centres as labels. Centres are those of exclusions/clusters.py:
spherical k-means from pictures drawn by hash, the same to the bit for the same pool.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.curation.arrays import Flags, Floats, Ints, Rows, Singles
from evenly.curation.errors import RuleError

_BLOCK_SCORES = 8_000_000  # cosines held at once: 32 MB
_DIGITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterBalance:
    """The evenness with which n pictures fill k clusters by their nearest centre.

    `sizes` (k,). `entropy` is that of the shares over ln k: 1 is even, 0 all in one. `gini` of the sizes: 0 is even.
    `effective` is exp(entropy in nats): as many even clusters would be as diverse. `empty` counts clusters without a
    picture, `largest` pictures of the fullest.
    """

    sizes: Ints
    entropy: float
    gini: float
    effective: float
    empty: int
    largest: int


def nearest_clusters(rows: Rows, centroids: Singles, labels: int) -> tuple[Ints, Floats]:
    """The `labels` nearest of the unit `centroids` (k, d) of each of the unit `rows` (n, d), and their cosines.

    Both (n, labels), nearest first; cosines have 4 digits, and of equal ones the first centroid counts.
    """
    if not 1 <= labels <= len(centroids):
        raise RuleError(f"`labels` must be 1 to the number of clusters, {len(centroids)}; got {labels}. Ask for fewer.")
    clusters, cosines = np.empty((len(rows), labels), np.int64), np.empty((len(rows), labels))
    step = max(1, _BLOCK_SCORES // len(centroids))
    for start in range(0, len(rows), step):
        scores = np.round((rows[start : start + step].astype(np.float32) @ centroids.T).astype(np.float64), _DIGITS)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :labels]
        clusters[start : start + step] = order
        cosines[start : start + step] = np.take_along_axis(scores, order, axis=1) + 0.0
    return clusters, cosines


def measure_balance(nearest: Ints, k: int) -> ClusterBalance:
    """The balance of pictures whose nearest centres are `nearest` (n,), of `k` clusters."""
    sizes = np.bincount(nearest, minlength=k).astype(np.int64)
    shares = sizes[sizes > 0] / max(int(sizes.sum()), 1)
    nats = float(-(shares * np.log(shares)).sum()) + 0.0
    return ClusterBalance(
        sizes=sizes,
        entropy=nats / float(np.log(k)) if k > 1 else 1.0,
        gini=_gini(sizes),
        effective=float(np.exp(nats)) if len(shares) else 0.0,
        empty=int((sizes == 0).sum()),
        largest=int(sizes.max(initial=0)),
    )


def _gini(sizes: Ints) -> float:
    """Half the mean difference of two clusters over the mean size; 0 where there is no picture."""
    total, k = int(sizes.sum()), len(sizes)
    if not total:
        return 0.0
    ranked = np.sort(sizes)
    return float((2 * np.arange(1, k + 1) - k - 1) @ ranked / (k * total))


def near_duplicate_rows(rows: Rows, clusters: Ints, *, min_cosine: float) -> Flags:
    """Whether each of the unit `rows` (n, d) has another of the same cluster with a cosine of at least `min_cosine`.

    `clusters` (n,) are the nearest ones. Twins in different clusters are not looked for, so a share is a lower bound.
    """
    is_near = np.zeros(len(rows), dtype=np.bool_)
    order = np.argsort(clusters, kind="stable")
    bounds = np.flatnonzero(np.diff(clusters[order], prepend=-1, append=-1))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        is_near[order[start:end]] = _near(rows[order[start:end]], min_cosine)
    return is_near


def _near(rows: Rows, min_cosine: float) -> Flags:
    is_near = np.zeros(len(rows), dtype=np.bool_)
    wide = rows.astype(np.float32)
    step = max(1, _BLOCK_SCORES // max(len(rows), 1))
    for start in range(0, len(rows), step):
        cosines = np.round((wide[start : start + step] @ wide.T).astype(np.float64), _DIGITS)
        own_rows = np.arange(start, min(start + step, len(rows)))
        cosines[own_rows - start, own_rows] = -np.inf
        is_near[own_rows] = cosines.max(axis=1, initial=-np.inf) >= min_cosine
    return is_near


def coverage(cosines: Floats) -> dict[str, Any]:
    """The cosine (n,) of pictures to their nearest centre: mean, median, 5th percentile."""
    if not len(cosines):
        return {"mean": None, "p05": None, "median": None}
    low, median = (round(float(np.quantile(cosines, quantile)), _DIGITS) for quantile in (0.05, 0.5))
    return {"mean": round(float(cosines.mean()), _DIGITS), "p05": low, "median": median}
