"""TIP-X: Tip-Adapter plus the divergence between distributions over the classes, on labelled or retrieved support.

A retrieved support needs no labels: it is the images of a pool that lie nearest to each class text.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from evenly.adapters.contract import Grid, check_positive
from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.divergence import DivergenceCache
from evenly.adapters.forms.key_cache import class_order, mean_rows
from evenly.adapters.training import row_keys

SCORE_ENTRIES = 2**23
"""Scores held at a time: 64 MB of float64."""
SCORE_DIGITS = 12
"""Cosines are compared to so many digits: what differs less is a tie."""
SupportKind = Literal["labelled", "retrieved"]

PUBLISHED_AXES: dict[str, tuple[float, ...]] = {
    "alpha": tuple(0.1 + i * (50 - 0.1) / 20 for i in range(20)),
    "beta": tuple(1 + i * (50 - 1) / 200 for i in range(200)),
    "gamma": tuple(0.1 + i * (30 - 0.1) / 50 for i in range(50)),
}
"""20 x 200 x 50 points, the upper ends 50, 50 and 30 excluded; the last axis varies fastest."""


@dataclass(kw_only=True, eq=False)
class TIPX(DivergenceCache):
    """logits = zero-shot + `alpha` * exp(-`beta` (1 - x K^T)) Y + `gamma` * R Y (SuS-X, ICCV 2023, arXiv:2211.16198).

    R is minus the KL divergence between the row's and each support row's softmax(x T^T / `tau`), rescaled to the range
    of the affinities (see `DivergenceCache`). `support` "labelled" learns from the labelled rows (their mean over
    `views` where given); "retrieved" makes SuS-X's name-only support from `unlabelled`: the `per_class` rows nearest
    to each prototype, whatever the labels, and `support_` then counts these. Differs from the published code: the range
    is that of the validation rows for every row (there each evaluated matrix is rescaled by its own divergences), no
    row of a last partial block keeps divergence 0, retrieval is from the own pool. Without a search `gamma` is 0, which
    is Tip-Adapter, so that `alpha` 0 is zero-shot; `alpha` and `beta` start as Tip's. No support: zero-shot, said in
    `fallback_`.
    """

    grid: ClassVar[Grid] = Grid(parameters=PUBLISHED_AXES)
    decided_late: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma")

    support: SupportKind = "labelled"
    per_class: int = 16

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("per_class", self.per_class, integer=True)
        if self.support not in get_args(SupportKind):
            raise ParameterError(
                f"`support` must be one of {', '.join(get_args(SupportKind))}; got {self.support!r}. "
                "Choose one of these."
            )

    def _learn(self, features: Features, labels: Integers) -> None:
        rows, classes = self._support_rows(features, labels)
        self.support_ = np.bincount(classes, minlength=len(self.prototypes_))
        order = class_order(rows, classes)
        self._learn_cache(rows[order], classes[order])
        if not len(order):
            self.fallback_ = f"zero-shot: no {'unlabelled' if self.support == 'retrieved' else 'support'} rows"

    def _support_rows(self, features: Features, labels: Integers) -> tuple[Floats, Integers]:
        if self.support == "labelled":
            return mean_rows(features), labels
        features.require("unlabelled", adapter="TIPX with `support` retrieved")
        if features.unlabelled is None:  # unreachable: tells the type checker what `require` found
            raise MissingFeaturesError("`unlabelled` must be given.")
        places, classes = retrieved_support(self.prototypes_, features.unlabelled, self.per_class)
        return features.unlabelled[places], classes


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
    candidates = np.flatnonzero(scores >= least)
    return np.asarray(candidates[np.lexsort((ranks[candidates], -scores[candidates]))][:kept])
