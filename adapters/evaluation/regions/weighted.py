"""Measures as functions of the weights of rows, so that what is a ratio of sums, or an order, is resampled as such.

Rows are pictures, or regions: whatever has a group. mIoU and average precision are no means over rows: a resample adds
up intersections and unions of its pictures, and ranks its regions. `measure(np.ones((1, n)))[0]` has the values (c,)
of the rows themselves; adapters/effects/regions.py has intervals.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evenly.adapters.features import Floats

Measure: TypeAlias = Callable[[Floats], Floats]
"""Weights of n rows (r, n) to the measure of each of c classes (r, c): NaN of a class that the weighted rows lack."""
BINS = 4096


def ratio_measure(numerators: npt.ArrayLike, denominators: npt.ArrayLike, present: Floats | None = None) -> Measure:
    """Sums of `numerators` over sums of `denominators`, each (n, c), or (n,) for one class.

    NaN where `present` (n, c), such as a class's true pixels, adds up to 0; by default it is `denominators`.
    """
    above, below = (np.asarray(values, dtype=np.float64) for values in (numerators, denominators))
    above, below = above.reshape(len(above), -1), below.reshape(len(below), -1)
    exists = below if present is None else present
    return lambda weights: quotients(weights @ above, np.where(weights @ exists > 0, weights @ below, 0))


def area_measure(scores: Sequence[npt.ArrayLike], positives: Sequence[npt.ArrayLike]) -> Measure:
    """The area under the ROC curve of the scores of all pixels, or of pictures: n arrays of one picture each.

    Exact up to BINS different scores, equal ones counted half; of more, scores between two of BINS quantiles are equal.
    """
    flat = [np.ravel(np.asarray(of_row, dtype=np.float64)) for of_row in scores]
    edges = np.unique(np.concatenate([np.unique(of_row) for of_row in flat]))
    if len(edges) > BINS:
        edges = edges[np.linspace(0, len(edges) - 1, BINS).astype(np.int64)]
    counts = np.zeros((2, len(flat), len(edges)))
    for row, (of_row, is_positive) in enumerate(zip(flat, positives, strict=True)):
        places = np.searchsorted(edges, of_row, side="right") - 1
        np.add.at(counts[:, row], (np.ravel(np.asarray(is_positive)).astype(np.int64), places), 1)

    def measure(weights: Floats) -> Floats:
        negative, positive = weights @ counts[0], weights @ counts[1]
        below = (positive * (negative.cumsum(axis=1) - negative / 2)).sum(axis=1, keepdims=True)
        return quotients(below, negative.sum(axis=1, keepdims=True) * positive.sum(axis=1, keepdims=True))

    return measure


def quotients(above: Floats, below: Floats) -> Floats:
    """`above` over `below`, of one shape; NaN where `below` is 0."""
    return np.asarray(np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0))


def class_mean(measure: Measure, weights: Floats) -> Floats:
    """The mean (r,) over the classes that the weighted rows have; NaN where they have none."""
    values = measure(weights)
    return quotients(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64))
