"""Soft cap sampling (Shechter and Carmon 2025, arXiv:2503.08805): draws by scores, each less likely after it was drawn.

Batches of pairs are drawn without repeats, by a softmax of their scores; a pair that was drawn loses `penalty` of its
score before the next batch. How often a pair was drawn is how often a training run sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from evenly.bounds import FINITE, check_bounds
from evenly.curation.arrays import Floats, Ints, Words
from evenly.curation.errors import RuleError

_BATCHES = 1280
_MOST = 100_000
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class SoftCap:
    """`draws` of pairs (None: as many as there are pairs) by the sum of the columns `of`, each times its number.

    `batch` pairs are drawn at once; None: 1,280 batches, of at most 100,000.
    """

    of: Mapping[str, float]
    draws: Annotated[int, Ge(1)] | None = None
    penalty: Annotated[float, Ge(0), FINITE] = 0.15
    batch: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)
        if not self.of or not np.isfinite(list(self.of.values())).all():
            raise RuleError(
                f"`of` must name columns, each with a finite number; got {dict(self.of)}. Write {{name: 1}}."
            )


def sampling_weights(scores: Floats) -> Floats:
    """The softmax (n,) of scores: how likely each pair is to be drawn first."""
    if not len(scores):
        return scores
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def sampled(scores: Floats, keys: Words, rule: SoftCap) -> tuple[Floats, Floats]:
    """The repeats and the weight of each pair; a pair without a score has NaN in both."""
    weights, repeats = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    is_scored = np.isfinite(scores)
    # In one order, so that sums of weights are the same however pairs were cut.
    order = np.flatnonzero(is_scored)[np.argsort(keys[is_scored], kind="stable")]
    weights[order] = sampling_weights(scores[order])
    repeats[order] = soft_cap(scores[order], keys[order], rule)
    return repeats, weights


def soft_cap(scores: Floats, keys: Words, rule: SoftCap) -> Ints:
    """The number of times (n,) that each pair is drawn; `keys` (n,) are hashes of the pairs, which all draws come from.

    A batch without repeats is the pairs of the highest scores, to each of which Gumbel noise is added (Kool et al.
    2019, arXiv:1903.06059): no draw depends on the order of the pairs.
    """
    left, scores = len(scores) if rule.draws is None else rule.draws, scores.copy()
    batch = rule.batch or min(_MOST, max(1, left // _BATCHES))
    repeats = np.zeros(len(scores), np.int64)
    number = 0
    while left and len(scores):
        size = min(batch, left, len(scores))
        noisy = scores + _gumbel(keys, number)
        drawn = np.argpartition(-noisy, size - 1)[:size]
        repeats[drawn] += 1
        scores[drawn] -= rule.penalty
        left, number = left - size, number + 1
    return repeats


def _gumbel(keys: Words, number: int) -> Floats:
    """Gumbel noise of each key for a batch, by splitmix64."""
    with np.errstate(over="ignore"):
        words = keys + _GOLDEN * np.uint64(number + 1)
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words ^= words >> np.uint64(31)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(-np.log(-np.log(uniform)))
