"""Measures of a score that tells in-distribution rows (ID) from out-of-distribution rows (OOD).

Scores come in one orientation, higher = more in-distribution. AUROC and AUPR count OOD as the positive class. FPR95 is
the share of OOD rows taken for ID at 95 % ID recall, the convention of COOkeD (arXiv:2507.22576).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import (
    REPLICATES,
    group_draws,
    group_numbers,
)
from evenly.adapters.features import Floats
from evenly.adapters.splits import unit_hash

Groups = Sequence[Any] | npt.NDArray[Any] | None


def auroc(scores_id: Floats, scores_ood: Floats) -> float:
    """Probability that an OOD row scores lower than an ID row, an equal score counting half; NaN without one of both.

    Exact by counting, so ties need no rule; it is the area under scikit-learn's curve.
    """
    return RankedScores(scores_id, scores_ood).measures()[0]


def fpr95(scores_id: Floats, scores_ood: Floats) -> float:
    """Share of OOD rows at or above the threshold of 95 % ID recall, in 0 to 1; NaN without rows of one of both.

    The threshold is the distinct score, of ID and OOD rows, whose ID recall is nearest to 0.95; of several scores with
    that recall the lowest, so every OOD row above the next lower ID row passes; at full recall the lowest ID score. So
    does the public `fpr_and_fdr_at_recall` that COOkeD's and most figures of the field come from. Of two recalls
    equally near, where rounding decides there, the higher one. Rows that tie with the threshold count as ID.
    """
    return RankedScores(scores_id, scores_ood).measures()[1]


def aupr(scores_id: Floats, scores_ood: Floats) -> float:
    """Average precision with OOD as the positive class: mean precision over the steps of recall, no interpolation."""
    first, second = checked_scores(scores_id, name="scores_id"), checked_scores(scores_ood, name="scores_ood")
    if not len(first) or not len(second):
        return float("nan")
    values, counts = np.unique(second, return_counts=True)  # ascending: what looks most like OOD comes first
    recalled = counts.cumsum()
    wrong = np.searchsorted(np.sort(first), values, side="right")
    return float((counts / counts.sum() * recalled / (recalled + wrong)).sum())


def checked_scores(scores: Floats, *, name: str) -> Floats:
    """The scores (n,) as float64, or InvalidFeaturesError where they are not one axis or hold NaN."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidFeaturesError(f"`{name}` must have shape (n,); got {array.shape}. Hand in one score per row.")
    bad = np.flatnonzero(np.isnan(array))
    if bad.size:
        raise InvalidFeaturesError(
            f"`{name}` must hold no NaN; got one at row {bad[0]} ({bad.size} such rows). Look for NaN in the logits."
        )
    return array


class RankedScores:
    """Scores of ID and OOD rows, sorted once, so that each measure of reweighted rows costs one pass."""

    def __init__(self, scores_id: Floats, scores_ood: Floats) -> None:
        first, second = checked_scores(scores_id, name="scores_id"), checked_scores(scores_ood, name="scores_ood")
        self._order_id, self._order_ood = first.argsort(kind="stable"), second.argsort(kind="stable")
        first, second = first[self._order_id], second[self._order_ood]
        self._below = np.searchsorted(first, second, side="left")
        self._up_to = np.searchsorted(first, second, side="right")
        values, self._starts_id = np.unique(first, return_index=True)
        self._ood_from = np.searchsorted(second, values, side="left")  # the first OOD row at or above an ID value
        self._ood_past = np.searchsorted(second, values, side="right")  # and the first above it
        self.sizes = len(first), len(second)

    def measures(self) -> tuple[float, float]:
        """AUROC and FPR95 of the rows as they are; NaN without rows of one of both."""
        if not all(self.sizes):
            return float("nan"), float("nan")
        area, share = self.weighted(np.ones((1, self.sizes[0])), np.ones((1, self.sizes[1])))
        return float(area[0]), float(share[0])

    def replicates(
        self, groups_id: Groups, groups_ood: Groups, *, seed: int, name: str, n: int = REPLICATES
    ) -> tuple[Floats, Floats]:
        """AUROC and FPR95, each (n,), of resamples of whole groups; NaN where one side has fewer than two groups.

        The draws of the ID groups depend on `seed` alone, those of the OOD groups on `seed` and `name`.
        """
        first = group_numbers(groups_id, n_rows=self.sizes[0])
        second = group_numbers(groups_ood, n_rows=self.sizes[1])
        counts = [int(numbers.max(initial=-1)) + 1 for numbers in (first, second)]
        if min(counts) < 2:
            return np.full(n, np.nan), np.full(n, np.nan)
        other_seed = int(unit_hash(seed, "ood", name) * 2**53)
        pairs = zip(group_draws(counts[0], seed, n), group_draws(counts[1], other_seed, n), strict=True)
        measures = [self.weighted(drawn[:, first], drawn_ood[:, second]) for drawn, drawn_ood in pairs]
        return np.concatenate([area for area, _ in measures]), np.concatenate([share for _, share in measures])

    def weighted(self, weights_id: Floats, weights_ood: Floats) -> tuple[Floats, Floats]:
        """AUROC and FPR95 (b,) where each row counts by its weight: (b, ID rows) and (b, OOD rows), whole numbers."""
        weights_ood = weights_ood[:, self._order_ood]
        below_id, below_ood = _sums(weights_id[:, self._order_id]), _sums(weights_ood)
        total_id, total_ood = below_id[:, -1:], below_ood[:, -1:]
        wins = total_id - (below_id[:, self._below] + below_id[:, self._up_to]) / 2
        area = (weights_ood * wins).sum(axis=1) / (total_id * total_ood)[:, 0]
        kept = total_id - below_id[:, self._starts_id]
        # 20 times the distance of the recall from 0.95, in whole rows; an equal distance above goes first
        distance = 2 * np.abs(20 * kept - 19 * total_id) - (20 * kept >= 19 * total_id)
        chosen = distance.argmin(axis=1)  # of equal recalls the lowest: the ID value below it is one of these rows
        lowest = (kept == total_id).sum(axis=1) - 1  # the lowest ID value of these rows: full recall
        start = np.where(chosen <= lowest, self._ood_from[lowest], self._ood_past[chosen - 1])[:, None]
        passed = total_ood - np.take_along_axis(below_ood, start, axis=1)
        return area, (passed / total_ood)[:, 0]


def _sums(weights: Floats) -> Floats:
    """The sum of the weights before each position, and of all: (b, rows + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(axis=1)], axis=1)
