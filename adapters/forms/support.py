"""A support set without labels: the images of a pool that lie nearest to each class text."""

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.features import Floats, Integers
from evenly.adapters.training import row_keys

SCORE_ENTRIES = 2**23
"""Scores held at a time: 64 MB of float64."""
SCORE_DIGITS = 12
"""Cosines are compared to so many digits: what differs less is a tie."""


def retrieved_support(prototypes: Floats, pool: Floats, per_class: int) -> tuple[Integers, Integers]:
    """Positions in `pool` (m, d) and classes (k,) of the `per_class` rows nearest to each of `prototypes` (c, d).

    By class, nearest first; rows of equal cosine by their digest, so the same rows are found however the pool is
    ordered. A pool of fewer rows gives them all to every class; a row may serve several classes.
    """
    check_positive("per_class", per_class, integer=True)
    kept = min(per_class, len(pool))
    places = np.empty((len(prototypes), kept), dtype=np.int64)
    if kept:
        digests = row_keys(pool)
        ranks = np.empty(len(pool), dtype=np.int64)
        ranks[sorted(range(len(pool)), key=digests.__getitem__)] = np.arange(len(pool))
        step = max(1, SCORE_ENTRIES // len(pool))
        for start in range(0, len(prototypes), step):
            scores = prototypes[start : start + step].astype(np.float64) @ pool.T.astype(np.float64)
            for place, row in enumerate(np.round(scores, SCORE_DIGITS), start=start):
                places[place] = _nearest(row, ranks, kept)
    return places.ravel(), np.repeat(np.arange(len(prototypes)), kept)


def _nearest(scores: Floats, ranks: Integers, kept: int) -> Integers:
    """The places of the `kept` largest of `scores` (m,), largest first; equal ones by rank."""
    least = np.partition(scores, len(scores) - kept)[len(scores) - kept]
    among = np.flatnonzero(scores >= least)
    return np.asarray(among[np.lexsort((ranks[among], -scores[among]))][:kept])
