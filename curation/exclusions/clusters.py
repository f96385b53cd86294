"""Keep pictures that lie in the same clusters as those of a target set: DataComp's image_based filter.

The pool's features are clustered by spherical k-means; a picture stays if its nearest centroid is the nearest of some
target picture (Gadre et al. 2023, arXiv:2304.14108, which takes the training pictures of ImageNet-1k as the target).
It needs features that tell things apart: published experience is that those of ViT-B/32 are of no use here.

The clustering is ours, not faiss's: centroids start at pictures drawn by hash and sums have a fixed order, so that the
same pool gives the same clusters to the bit. Of a large pool they are fitted to pictures drawn by hash; every picture
belongs to the nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from evenly.bounds import LocalPath, check_bounds
from evenly.curation.arrays import Floats, Ints, Rows, Singles
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import ColumnsError, RuleError

PER_CLUSTER = 128
FIT_PICTURES = 1 << 18
"""Pictures that centroids are fitted to at most, drawn by hash."""
_BLOCK = 8192


@dataclass(frozen=True, kw_only=True)
class ImageBased:
    """`clusters` of the pool's pictures, made in `iterations` of k-means; None: a cluster for each 128 pictures."""

    clusters: Annotated[int, Ge(1)] | None = None
    iterations: Annotated[int, Ge(1), Le(1000)] = 20

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class TargetClusters(ImageBased):
    """Keep pictures in a cluster that one of `target` is in: a folder, Parquet of pictures, or file of features.

    model: the encoder by whose features they are clustered; None: the build's.
    """

    target: LocalPath
    model: StepModel | None = None


def draw_order(names: Sequence[str], *, seed: int) -> Ints:
    """Return the places of the pictures `names` in the order in which they are drawn, whatever their order."""
    drawn = draws(seed=seed, step="image_based", uids=list(names), entries=[""] * len(names))
    return np.lexsort((np.asarray(names, dtype=np.str_), drawn))


def number_of_clusters(n: int, fitted: int, rule: ImageBased) -> int:
    """Return how many clusters `n` pictures make, of which as many as `fitted` are fitted to."""
    return min(fitted, max(1, n // PER_CLUSTER) if rule.clusters is None else rule.clusters)


def fit_centroids(names: Sequence[str], rows: Rows, rule: ImageBased, *, seed: int, k: int | None = None) -> Singles:
    """Return unit centroids (k, d) of unit `rows` (n, d), the features of the pictures `names`, in any order.

    k is the rule's for n pictures, unless it is given; at most n. A cluster that becomes empty keeps its centroid.
    """
    n = len(rows)
    if not n or len(names) != n:
        raise ColumnsError(f"`rows` must be the features of the {len(names)} pictures, at least one; got {n}.")
    k = number_of_clusters(n, n, rule) if k is None else k
    order = np.argsort(np.asarray(names, dtype=np.str_), kind="stable")
    rows = rows[order]
    first = draw_order([names[place] for place in order], seed=seed)[:k]
    centroids = _unit(rows[first].astype(np.float32))
    for _ in range(rule.iterations):
        sums = _sums(rows, nearest_centroids(rows, centroids)[0], k)
        moved = np.linalg.norm(sums, axis=1) > 0
        centroids[moved] = _unit(sums[moved])
    return centroids


def nearest_centroids(rows: Rows, centroids: Singles) -> tuple[Ints, Floats]:
    """Return for each of the unit `rows` (n, d) its nearest centroid (n,), the first of equals, and the cosine.

    Neither depends on the rows beside it: those that a product of matrices takes for nearest are compared again, each
    by sums in double precision whose order depends on d alone.
    """
    labels, cosines = np.empty(len(rows), np.int64), np.empty(len(rows))
    different, first = np.unique(centroids, axis=0, return_index=True)
    order = np.argsort(first)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        nearest, cosines[part] = exact_nearest(rows[part], different[order])
        labels[part] = first[order][nearest]
    return labels, np.round(cosines, 4) + 0.0


def exact_nearest(rows: Rows, centroids: Singles) -> tuple[Ints, Floats]:
    """Return for each of the unit `rows` (n, d) its nearest centroid (n,), the first of equals, and the cosine."""
    rough = rows.astype(np.float32) @ centroids.T
    # Sums of d products in single precision, in any order, are off by at most half of this: two differ by all of it.
    margin = np.float32(1.01 * rows.shape[1] * np.finfo(np.float32).eps)
    row, candidate = np.nonzero(~(rough < rough.max(axis=1, keepdims=True) - margin))
    exact = np.empty(len(row))
    for start in range(0, len(row), _BLOCK):
        part = slice(start, start + _BLOCK)
        exact[part] = (rows[row[part]].astype(np.float64) * centroids[candidate[part]]).sum(axis=1)
    ranked = np.lexsort((candidate, -exact, row))
    best = ranked[np.searchsorted(row, np.arange(len(rows)))]
    return candidate[best], exact[best]


def judge_clusters(labels: Ints, cosines: Floats, targets: Ints) -> Decisions:
    """Judge pictures by their cluster: a cluster without a target picture goes as off_target; the value is the cosine.

    `targets` (m,) are the clusters of the target pictures.
    """
    on_target = pa.array(np.isin(labels, targets))
    return Decisions.of(reason=pc.if_else(on_target, "", "off_target"), value=pa.array(cosines))


def _sums(rows: Rows, labels: Ints, k: int) -> Singles:
    """Return the sum (k, d) of the rows of each cluster, added up in their order."""
    from scipy.sparse import csr_array

    sums = np.zeros((k, rows.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        part_labels = labels[start : start + _BLOCK]
        membership = csr_array(
            (np.ones(len(part_labels)), (part_labels, np.arange(len(part_labels)))), shape=(k, len(part_labels))
        )
        sums += membership @ rows[start : start + _BLOCK].astype(np.float64)
    return np.asarray(sums, dtype=np.float32)


def _unit(rows: Singles) -> Singles:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
