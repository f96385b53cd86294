"""Ordering images by an attribute that is named in words: how many, how old, how good.

The order starts from the texts of the attribute and learns from graded images, where validation shows that this helps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import InvalidFeaturesError, NotFittedError
from evenly.adapters.evaluation.measures.rank_measures import checked_values, spearman
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.training import row_keys

if TYPE_CHECKING:
    import pandas as pd

Wide = npt.NDArray[np.float64]
STRENGTHS = (100.0, 10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths that `tune_ranking` tries: the closest to the text first, so that it wins a tie."""


@dataclass(kw_only=True, eq=False)
class RankingHead:
    """Score of an image = w x + b on global features, w drawn towards the direction of the attribute's texts.

    The prototypes are the texts of the two ends, low and high (2, d), whose difference is the direction, or one text
    (1, d). Minimised over w: half the mean squared error of the standardised values, plus `pair_weight` times the mean
    logistic loss of pairs of different value, plus `strength` / 2 * |w - s t|^2 with t the direction and s >= 0 its
    least-squares scale. Convex; L-BFGS in float64. A pair is each image with its `neighbours` successors in the order
    of the digests of the rows: all pairs of up to `neighbours` + 1 images, and never n^2 of them.

    The features-only analogue of the ranking-aware adapter (Yu et al., ICLR 2025, arXiv:2412.06760), whose heads are
    also a regression and a pairwise one: no tokens, no attention between images, a linear head. Without two different
    values the score is t x: the order of the texts, exactly.

    Learned: `direction_` (d,) of unit length, `weight_` (d,) and `bias_` (1,), which give scores in the units of the
    values, or cosines in the fallback; `encoder_`; `fallback_`, words that say so, else "".
    """

    strength: float = 1e-2
    pair_weight: float = 1.0
    neighbours: int = 64

    direction_: Wide = field(init=False, repr=False)
    weight_: Wide = field(init=False, repr=False)
    bias_: Wide = field(init=False, repr=False)
    encoder_: str = field(init=False, repr=False)
    fallback_: str = field(init=False, repr=False)

    def fit(self, features: Features, values: Floats) -> Self:
        """Learn from images graded by `values` (n,), larger is more of the attribute; forget any earlier fit."""
        check_positive("strength", self.strength)
        check_positive("pair_weight", self.pair_weight, or_zero=True)
        check_positive("neighbours", self.neighbours, integer=True)
        graded = checked_values(values, name="values", n=len(features))
        self.direction_ = _direction(features.required_prototypes(adapter=type(self).__name__))
        self.encoder_, self.fallback_ = features.encoder, ""
        different = len(np.unique(graded))
        if different < 2:
            self.fallback_ = f"text order: ranking needs images of 2 different values; got {different}"
            self.weight_, self.bias_ = self.direction_.copy(), np.zeros(1)
            return self
        image = features.image.astype(np.float64)
        middle, mean, spread = image.mean(axis=0), graded.mean(), graded.std()
        pairs = _pairs(row_keys(features.image), graded, self.neighbours)
        weight = self._solve(image - middle, (graded - mean) / spread, pairs)
        self.weight_ = spread * weight
        self.bias_ = np.array([mean - self.weight_ @ middle])
        return self

    def score(self, features: Features) -> Wide:
        """Scores (n,), float64; each does not depend on the other rows."""
        self._check_fitted_on(features)
        image = features.image.astype(np.float64)
        return np.asarray(np.einsum("nd,d->n", image, self.weight_) + self.bias_[0])

    def order(self, features: Features) -> npt.NDArray[np.int64]:
        """Positions (n,) of the images, highest score first; equal scores by the digest of the row."""
        keys = np.array([key.hex() for key in row_keys(features.image)], dtype=np.str_)
        return np.lexsort((keys, -self.score(features))).astype(np.int64)

    def _solve(self, image: Wide, values: Wide, pairs: tuple[Integers, Integers]) -> Wide:
        """The minimiser w (d,) for centred rows and standardised values."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        start, (higher, lower), n = self._anchor(image, values), pairs, len(values)

        def loss(weight: Wide) -> tuple[float, Wide]:
            scores = image @ weight
            errors, pull = scores - values, weight - start
            margins = scores[higher] - scores[lower]
            missing = self.pair_weight / len(margins) * np.exp(-np.logaddexp(0, margins))
            by_score = errors / n - np.bincount(higher, missing, n) + np.bincount(lower, missing, n)
            value = errors @ errors / (2 * n) + self.strength / 2 * (pull @ pull)
            value += self.pair_weight * np.logaddexp(0, -margins).mean()
            return float(value), image.T @ by_score + self.strength * pull

        with threadpool_limits(
            limits=1, user_api="blas"
        ):  # short products: on busy cores a second thread is waited for
            solution = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-7})
        return np.asarray(solution.x, dtype=np.float64)

    def _anchor(self, image: Wide, values: Wide) -> Wide:
        """The text's direction (d,) at its least-squares scale; zero where it orders the values backwards."""
        along = image @ self.direction_
        size = float(along @ along)
        scale = max(float(along @ values) / size, 0.0) if size > 0 else 0.0
        return scale * self.direction_

    def _check_fitted_on(self, features: Features) -> None:
        if not hasattr(self, "weight_"):
            raise NotFittedError("`RankingHead` must be fitted before it scores; it is not. Call `fit` first.")
        if features.dimension != len(self.weight_):
            raise InvalidFeaturesError(
                f"`image` must have dimension {len(self.weight_)}, as at `fit`; got {features.dimension}. "
                "Extract these images with the encoder of the fit."
            )
        if features.encoder and self.encoder_ and features.encoder != self.encoder_:
            raise InvalidFeaturesError(
                f"`encoder` must be `{self.encoder_}`, as at `fit`; got `{features.encoder}`. "
                "Extract these images with the encoder of the fit."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedRanking:
    """A ranking head with the strength that validation chose (None where the order of the texts is kept), and how.

    `curve`, one row per strength in the order tried: strength, validation_spearman (NaN where all scores or values are
    equal). `text_spearman` is that of the order of the texts, `validation_spearman` that of `head`.
    """

    head: RankingHead
    strength: float | None
    curve: "pd.DataFrame"
    validation_spearman: float
    text_spearman: float
    validation_rows: int
    kept_text: bool
    why: str


def tune_ranking(
    train: Features,
    train_values: Floats,
    validation: Features,
    validation_values: Floats,
    *,
    strengths: Sequence[float] = STRENGTHS,
    pair_weight: float = 1.0,
    neighbours: int = 64,
    guard: bool = True,
) -> TunedRanking:
    """Fit on train at each strength and keep the best Spearman correlation on validation, of equal ones the first.

    With `guard`, the order of the texts is kept unless the best is above its correlation (0 where it orders nothing).
    """
    import pandas as pd  # here, where it is used: what only ranks has no use for it

    graded = checked_values(validation_values, name="validation_values", n=len(validation))
    text = RankingHead().fit(train.rows(slice(0)), np.empty(0))
    text_correlation = spearman(text.score(validation), graded)
    untrained = [
        RankingHead(strength=strength, pair_weight=pair_weight, neighbours=neighbours) for strength in strengths
    ]
    heads = [head.fit(train, train_values) for head in untrained]
    correlations = [spearman(head.score(validation), graded) for head in heads]
    best = int(np.argmax(np.nan_to_num(correlations, nan=-np.inf))) if heads else -1
    kept = (
        not heads or bool(heads[best].fallback_) or (guard and not correlations[best] > np.nan_to_num(text_correlation))
    )
    reached = f"Spearman {correlations[best]:.4f}" if heads else "no strength tried"
    reason = f"{reached}, texts {text_correlation:.4f} on {len(graded)} validation rows"
    return TunedRanking(
        head=text if kept else heads[best],
        strength=None if kept else float(strengths[best]),
        curve=pd.DataFrame({"strength": list(strengths), "validation_spearman": correlations}),
        validation_spearman=text_correlation if kept else correlations[best],
        text_spearman=text_correlation,
        validation_rows=len(graded),
        kept_text=kept,
        why=f"text order kept: {reason}" if kept else reason,
    )


def _direction(prototypes: Floats) -> Wide:
    """The unit direction (d,) from low to high."""
    if len(prototypes) > 2:
        raise InvalidFeaturesError(
            "`prototypes` of a ranking must be one text, or two for low and high; "
            f"got {len(prototypes)}. Hand in these only."
        )
    wide = prototypes.astype(np.float64)
    difference = wide[-1] - wide[0] if len(wide) == 2 else wide[0]
    length = np.linalg.norm(difference)
    if not length > 0:
        raise InvalidFeaturesError("`prototypes` must differ from low to high; got twice the same. Reword one text.")
    return np.asarray(difference / length)


def _pairs(keys: Sequence[bytes], values: Wide, neighbours: int) -> tuple[Integers, Integers]:
    """Positions of the higher and of the lower image of each pair (p,) of different value.

    Where two values differ there is at least one: somewhere in the order two that follow each other differ.
    """
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    steps = range(1, min(neighbours, len(order) - 1) + 1)
    first = np.concatenate([order[:-step] for step in steps])
    second = np.concatenate([order[step:] for step in steps])
    differ = values[first] != values[second]
    first, second = first[differ], second[differ]
    rising = values[first] > values[second]
    return np.where(rising, first, second), np.where(rising, second, first)
