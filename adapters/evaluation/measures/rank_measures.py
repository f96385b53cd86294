"""Measures of an order: how far scores rank images as their values do, with intervals over resampled groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import group_draws, group_numbers, percentile_interval
from evenly.adapters.features import Floats

REPLICATES = 500
"""Each ranks its rows anew: a quarter of what means get."""
MEASURES = ("spearman", "kendall", "pairwise_accuracy")


@dataclass(frozen=True, kw_only=True)
class RankMeasures:
    """Agreement of scores and values on `n` images; NaN where fewer than two scores or values differ.

    `spearman` and `kendall` (tau-b) in -1 to 1; `pairwise_accuracy` in 0 to 1: the share of pairs of different value
    whose scores are in the right order, a tie of scores counted half. It is 0.5 where all scores are equal.
    """

    spearman: float
    kendall: float
    pairwise_accuracy: float
    n: int


def rank_measures(scores: Floats, values: Floats) -> RankMeasures:
    """Agreement in order of `scores` (n,) with `values` (n,) of images; both finite, larger is higher."""
    first, second = checked_values(scores, name="scores"), checked_values(values, name="values", n=len(scores))
    return RankMeasures(
        spearman=spearman(first, second),
        kendall=kendall(first, second),
        pairwise_accuracy=pairwise_accuracy(first, second),
        n=len(first),
    )


def spearman(scores: Floats, values: Floats) -> float:
    """Spearman's rank correlation, ties by mean rank; NaN where either is constant or there are no rows."""
    from scipy.stats import spearmanr

    return float(spearmanr(scores, values).statistic) if _differ(scores, values) else float("nan")


def kendall(scores: Floats, values: Floats) -> float:
    """Kendall's tau-b; NaN where either is constant or there are no rows."""
    from scipy.stats import kendalltau

    return float(kendalltau(scores, values).statistic) if _differ(scores, values) else float("nan")


def pairwise_accuracy(scores: Floats, values: Floats) -> float:
    """Share of pairs of different value that the scores order right, ties half; NaN where all values are equal.

    From tau-b in n log n steps: pairs right minus pairs wrong is tau-b times the roots of the counts of untied pairs.
    """
    untied_scores, untied_values = _untied_pairs(scores), _untied_pairs(values)
    if not untied_values:
        return float("nan")
    balance = kendall(scores, values) * np.sqrt(untied_scores) * np.sqrt(untied_values) if untied_scores else 0.0
    return float(0.5 + balance / (2 * untied_values))


def checked_values(values: Floats, *, name: str, n: int | None = None) -> npt.NDArray[np.float64]:
    """`values` as finite float64 (n,), or InvalidFeaturesError."""
    array = np.asarray(values)
    rows = len(array) if n is None and array.ndim else n
    if array.shape != (rows,) or (array.size and not np.issubdtype(array.dtype, np.number)):
        raise InvalidFeaturesError(
            f"`{name}` must hold one number per image, shape ({'n' if rows is None else rows},); "
            f"got {array.dtype} of shape {array.shape}. Hand in numbers and features of the same rows."
        )
    wide = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(wide))
    if bad.size:
        raise InvalidFeaturesError(
            f"`{name}` must be finite; got {wide[bad[0]]} at row {bad[0]} ({bad.size} such rows). Leave these rows out."
        )
    return wide


def _differ(scores: Floats, values: Floats) -> bool:
    return all(array.size and array.min() < array.max() for array in (scores, values))


def _untied_pairs(values: Floats) -> int:
    """Number of pairs of two different values."""
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    pairs = len(values) * (len(values) - 1) // 2
    return int(pairs - (counts * (counts - 1) // 2).sum())


def judge_order(
    scores: Floats, values: Floats, *, groups: npt.NDArray[Any], text_scores: Floats, seed: int, n: int = REPLICATES
) -> dict[str, Any]:
    """The measures of `scores` (m,) on images graded by `values` (m,), resampled `n` times by `groups` (m,).

    Each of MEASURES with `_low` and `_high`; `text_spearman`, that of the scores `text_scores` (m,), and `difference`,
    Spearman's minus it, paired, with its interval; `n` images in `groups` groups. NaN where nothing is ordered, or
    where fewer than two groups allow no interval. A row drawn twice ties with itself, and counts as no pair.
    """
    measures = rank_measures(scores, values)
    text = spearman(text_scores, values)
    numbers = group_numbers(groups, n_rows=len(values))
    drawn = [_measured(scores[rows], values[rows], text_scores[rows]) for rows in _resamples(numbers, seed, n)]
    replicates = np.array(drawn).reshape(-1, len(MEASURES) + 1)
    estimates = [*(getattr(measures, name) for name in MEASURES), measures.spearman - text]
    row: dict[str, Any] = {}
    for name, estimate, column in zip((*MEASURES, "difference"), estimates, replicates.T, strict=True):
        interval = percentile_interval(estimate, column)
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {**row, "text_spearman": text, "n": measures.n, "groups": int(numbers.max(initial=-1)) + 1}


def _measured(scores: Floats, values: Floats, text_scores: Floats) -> list[float]:
    measures = rank_measures(scores, values)
    return [*(getattr(measures, name) for name in MEASURES), measures.spearman - spearman(text_scores, values)]


def _resamples(numbers: npt.NDArray[np.intp], seed: int, n: int) -> list[npt.NDArray[np.intp]]:
    """Rows of each resample of the groups `numbers` (m,); none with fewer than two groups."""
    n_groups = int(numbers.max(initial=-1)) + 1
    if n_groups < 2:
        return []
    draws = (counts for block in group_draws(n_groups, seed, n) for counts in block)
    return [np.repeat(np.arange(len(numbers)), counts[numbers].astype(np.intp)) for counts in draws]
