"""Centroids of the pictures of all partitions: fitted to all, or to FIT_PICTURES drawn of more."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, Singles
from evenly.curation.draws import draws
from evenly.curation.exclusions.clusters import (
    FIT_PICTURES,
    ImageBased,
    draw_order,
    fit_centroids,
    number_of_clusters,
)
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.run import Each, Run

_BINS = 1 << 16
PictureIds = Callable[[Run], pa.Array]
"""The ids of the pictures of the run's partition, each once."""


def fitted_centroids(run: Run, engine: Each, ids: PictureIds, rule: ImageBased) -> Singles:
    """The unit centroids (k, d) of the pictures, the same in any number of partitions."""
    bins = np.sum(engine.partitions("drawing pictures", partial(_count_draws, ids)), axis=0)
    n = int(bins.sum())
    last = int(np.searchsorted(np.cumsum(bins), min(n, FIT_PICTURES)))
    parts = engine.partitions("reading pictures", partial(_drawn, ids, last))
    names = np.concatenate([names for names, _ in parts])
    order = draw_order(names.tolist(), seed=run.seed)[: min(n, FIT_PICTURES)]
    rows = np.concatenate([rows for _, rows in parts if len(rows)])[order]
    k = number_of_clusters(n, len(order), rule)
    with run.progress.bar("clustering pictures", None):
        return fit_centroids(names[order].tolist(), rows, rule, seed=run.seed, k=k)


def _bins_of(run: Run, ids: pa.Array) -> Ints:
    drawn = draws(seed=run.seed, step="image_based", uids=ids.to_pylist(), entries=[""] * len(ids))
    return (drawn * _BINS).astype(np.int64)


def _count_draws(ids: PictureIds, run: Run) -> Ints:
    return np.bincount(_bins_of(run, ids(run)), minlength=_BINS)


def _drawn(ids: PictureIds, last: int, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The pictures whose draw is in a bin up to the last, and their features."""
    names = ids(run)
    names = names.filter(pa.array(_bins_of(run, names) <= last))
    return np.asarray(names.to_pylist(), dtype=np.str_), rows_of_pictures(run, names)
