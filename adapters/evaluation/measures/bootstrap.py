"""Percentile bootstrap intervals that resample whole groups, because the rows of one group are not independent."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import ParameterError, SplitError
from evenly.adapters.features import Floats

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


def difference_columns(difference: Interval) -> dict[str, float | None]:
    """difference, difference_low and difference_high, to 4 digits; None for an end that is not defined."""
    names = ("difference", "difference_low", "difference_high")
    return {name: None if np.isnan(end) else round(end, 4) for name, end in zip(names, difference, strict=True)}


def bootstrap_accuracy(
    correct: npt.ArrayLike, *, seed: int, groups: Sequence[Any] | npt.NDArray[Any] | None = None, n: int = REPLICATES
) -> Interval:
    """Accuracy of `correct` (rows,) of 0 and 1, with its interval over `n` resamples of the groups (None: of the rows).

    A resample draws as many groups as there are, with replacement, and divides its right rows by its rows. Randomness
    comes from numpy's default generator seeded with `seed`. Where all rows are right, or all wrong, resamples cannot
    differ: the other end is then the exact one of Clopper and Pearson (1934) for as many draws as there are groups.
    """
    values = np.asarray(correct, dtype=np.float64)
    interval = _bootstrap(values, groups, seed=seed, n=n)
    if interval.estimate not in (0.0, 1.0) or np.isnan(interval.low):
        return interval
    end = ((1 - LEVEL) / 2) ** (1 / (1 + group_numbers(groups, n_rows=len(values)).max()))
    return interval._replace(low=float(end)) if interval.estimate else interval._replace(high=float(1 - end))


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


def resampled_means(
    values: Floats, *, seed: int, groups: Sequence[Any] | npt.NDArray[Any] | None = None, n: int = REPLICATES
) -> Floats:
    """The mean over rows of each column of `values` (rows, k) in each of `n` resamples of the groups: (n, k).

    The same resamples for all columns, so that differences and means of columns are paired. NaN with fewer than two
    groups.
    """
    names = group_numbers(groups, n_rows=len(values))
    n_groups = int(names.max(initial=-1)) + 1
    if n_groups < 2:
        return np.full((_checked_replicates(n), values.shape[1]), np.nan)
    sums = np.stack([np.bincount(names, weights=column, minlength=n_groups) for column in values.T], axis=1)
    sizes = np.bincount(names, minlength=n_groups).astype(np.float64)
    return np.concatenate([(drawn @ sums) / (drawn @ sizes)[:, None] for drawn in group_draws(n_groups, seed, n)])


def group_draws(n_groups: int, seed: int | Sequence[int], n: int = REPLICATES) -> Iterator[Floats]:
    """Draws of each group in `n` resamples with replacement: counts (at most 100, groups) at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, _checked_replicates(n), _BATCH):  # bounds memory at 100 draws of all groups
        drawn = generator.integers(n_groups, size=(min(_BATCH, n - start), n_groups))
        drawn += n_groups * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def group_numbers(groups: Sequence[Any] | npt.NDArray[Any] | None, *, n_rows: int) -> npt.NDArray[np.intp]:
    """The position (rows,) of each row's group among the sorted names; None makes each row a group of its own."""
    if groups is None:
        return np.arange(n_rows)
    names = np.asarray(groups)
    if names.shape != (n_rows,):
        raise SplitError(
            f"`groups` must hold one name per row, {(n_rows,)}; got {names.shape}. Hand in both from the same rows."
        )
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.intp)


def percentile_interval(estimate: float, replicates: Floats) -> Interval:
    """`estimate` with the 2.5 and 97.5 % quantiles of its `replicates` (n,); NaN ones are left out."""
    defined = replicates[~np.isnan(replicates)]
    if not defined.size:
        return Interval(float(estimate), float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(estimate), float(low), float(high))


def _bootstrap(values: Floats, groups: Sequence[Any] | npt.NDArray[Any] | None, *, seed: int, n: int) -> Interval:
    """The mean of `values` over rows and its interval over resampled groups."""
    replicates = resampled_means(values[:, None], seed=seed, groups=groups, n=n)[:, 0]
    return percentile_interval(float(values.mean()) if values.size else float("nan"), replicates)


def _checked_replicates(n: int) -> int:
    if n < 1:
        raise ParameterError(f"`n` must be at least 1; got {n}. 2000 is usual.")
    return n
