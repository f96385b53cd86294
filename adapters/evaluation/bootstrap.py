"""Percentile bootstrap intervals that resample whole groups, because the rows of one group are not independent."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adapters.errors import ParameterError, SplitError
from adapters.features_record import Floats

LEVEL = 0.95
REPLICATES = 2000
_BATCH = 100


class Interval(NamedTuple):
    """An estimate with its 95 % interval; `low` and `high` are NaN where fewer than two groups allow none."""

    estimate: float
    low: float
    high: float

    @property
    def spans_zero(self) -> bool:
        """Whether 0 lies in the interval, ends included; true where there is no interval."""
        return not (self.low > 0 or self.high < 0)


def bootstrap_accuracy(
    correct: npt.ArrayLike, *, seed: int, groups: Sequence[Any] | npt.NDArray[Any] | None = None, n: int = REPLICATES
) -> Interval:
    """Accuracy of `correct` (rows,) of 0 and 1, with its interval over `n` resamples of the groups (None: of the rows).

    A resample draws as many groups as there are, with replacement, and divides its right rows by its rows. Randomness
    comes from numpy's default generator seeded with `seed`. All right or all wrong gives an interval of no width.
    """
    return _bootstrap(np.asarray(correct, dtype=np.float64), groups, seed=seed, n=n)


def paired_bootstrap(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    *,
    seed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    n: int = REPLICATES,
) -> Interval:
    """Accuracy of b minus accuracy of a on the same rows, with its interval; resampled as in `bootstrap_accuracy`."""
    first, second = np.asarray(correct_a, dtype=np.float64), np.asarray(correct_b, dtype=np.float64)
    if first.shape != second.shape:
        raise SplitError(
            f"`correct_b` must have the shape of `correct_a`, {first.shape}; got {second.shape}. "
            "Evaluate both on the same rows."
        )
    return _bootstrap(second - first, groups, seed=seed, n=n)


def _bootstrap(values: Floats, groups: Sequence[Any] | npt.NDArray[Any] | None, *, seed: int, n: int) -> Interval:
    """The mean of `values` over rows and its interval over resampled groups."""
    if n < 1:
        raise ParameterError(f"`n` must be at least 1; got {n}. 2000 is usual.")
    if not values.size:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums, sizes = _per_group(values, groups)
    estimate = float(values.mean())
    if len(sums) < 2:
        return Interval(estimate, float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    means = np.empty(n)
    for start in range(0, n, _BATCH):  # bounds memory at 100 draws of all groups
        drawn = generator.integers(len(sums), size=(min(_BATCH, n - start), len(sums)))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


def _per_group(values: Floats, groups: Sequence[Any] | npt.NDArray[Any] | None) -> tuple[Floats, Floats]:
    """Sum of the values and number of rows of each group, in the order of the group names."""
    if groups is None:
        return values, np.ones(len(values))
    names = np.asarray(groups)
    if names.shape != values.shape:
        raise SplitError(
            f"`groups` must hold one name per row, {values.shape}; got {names.shape}. Hand in both from the same rows."
        )
    _, places = np.unique(names, return_inverse=True)
    return np.asarray(np.bincount(places, weights=values), np.float64), np.bincount(places).astype(np.float64)
