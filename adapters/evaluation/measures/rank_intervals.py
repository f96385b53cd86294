"""Intervals of measures of an order, and of the gain over another order, over resampled groups of images."""

from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.measures.bootstrap import group_draws, group_numbers, percentile_interval
from evenly.adapters.evaluation.measures.rank_measures import rank_measures, spearman
from evenly.adapters.features import Floats

REPLICATES = 500
"""Each ranks its rows anew: a quarter of what means get."""
MEASURES = ("spearman", "kendall", "pairwise_accuracy")


def judge_order(
    scores: Floats, values: Floats, *, groups: npt.NDArray[Any], before: Floats, seed: int, n: int = REPLICATES
) -> dict[str, Any]:
    """The measures of `scores` (m,) on images graded by `values` (m,), resampled `n` times by `groups` (m,).

    Each of MEASURES with `_low` and `_high`; `text_spearman`, that of the scores `before` (m,), and `difference`,
    Spearman's minus it, paired, with its interval; `n` images in `groups` groups. NaN where nothing is ordered, or
    where fewer than two groups allow no interval. A row drawn twice ties with itself, and counts as no pair.
    """
    own = rank_measures(scores, values)
    text = spearman(before, values)
    numbers = group_numbers(groups, n_rows=len(values))
    drawn = [_measured(scores[rows], values[rows], before[rows]) for rows in _resamples(numbers, seed, n)]
    replicates = np.array(drawn).reshape(-1, len(MEASURES) + 1)
    estimates = [*(getattr(own, name) for name in MEASURES), own.spearman - text]
    found: dict[str, Any] = {}
    for name, estimate, column in zip((*MEASURES, "difference"), estimates, replicates.T, strict=True):
        interval = percentile_interval(estimate, column)
        found |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {**found, "text_spearman": text, "n": own.n, "groups": int(numbers.max(initial=-1)) + 1}


def _measured(scores: Floats, values: Floats, before: Floats) -> list[float]:
    own = rank_measures(scores, values)
    return [*(getattr(own, name) for name in MEASURES), own.spearman - spearman(before, values)]


def _resamples(numbers: npt.NDArray[np.intp], seed: int, n: int) -> list[npt.NDArray[np.intp]]:
    """Rows of each resample of the groups `numbers` (m,); none with fewer than two groups."""
    n_groups = int(numbers.max(initial=-1)) + 1
    if n_groups < 2:
        return []
    draws = (counts for block in group_draws(n_groups, seed, n) for counts in block)
    return [np.repeat(np.arange(len(numbers)), counts[numbers].astype(np.intp)) for counts in draws]
