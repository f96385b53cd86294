"""Fit a ranking head on arrays, choose on validation, judge once on test."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.evaluation.measures.rank_measures import checked_values, judge_order
from evenly.adapters.features import Features, Floats
from evenly.adapters.own_features.arrays import (
    Arrays,
    groups_of,
    in_keys,
    record_of,
    require_keys,
    settled,
    shared_fields,
)
from evenly.adapters.ranking import STRENGTHS, RankingHead, TunedRanking, tune_ranking
from evenly.adapters.splits import PARTS

REQUIRED = ("prototypes", "train_features", "train_values")


@dataclass(frozen=True, kw_only=True, eq=False)
class GradedPart:
    """Images of one part with their values (n,), larger is more, and the groups (n,) that belong together."""

    features: Features
    values: Floats
    groups: npt.NDArray[Any]

    def rows(self, index: npt.NDArray[np.bool_]) -> Self:
        """The part with some of its rows."""
        return replace(self, features=self.features.rows(index), values=self.values[index], groups=self.groups[index])

    def with_features(self, features: Features) -> Self:
        """The same images with another record."""
        return replace(self, features=features)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingFit:
    """The result of `fit_ranking`: the choice, test scores (n,), and measures as `judge_order` has them.

    `fallback` says why images could not be learned from, else "".
    """

    tuned: TunedRanking
    test_scores: Floats
    metrics: Mapping[str, Any]
    fallback: str


def graded_parts(arrays: Arrays, *, normalise: bool = False) -> tuple[dict[str, GradedPart], tuple[str, ...]]:
    """Train, val and test from arrays of the names that docs/adapters.md lists; parts without features are empty.

    `prototypes` are the texts of low and high (2, d), or one text (1, d); labels are not asked for. Beside them what is
    said of rows that were left out: see `parts_of`.
    """
    require_keys(arrays, REQUIRED)
    shared = shared_fields({"prototypes": arrays["prototypes"]}, normalise=normalise)
    return settled(arrays, {part: _part(arrays, part, shared, normalise=normalise) for part in PARTS})


def fit_ranking(
    parts: Mapping[str, GradedPart],
    *,
    parameters: Mapping[str, Any] | None = None,
    guard: bool | None = None,
    seed: int = 0,
) -> RankingFit:
    """Fit on train, choose the strength on validation by Spearman's correlation, judge once on test.

    `parameters` may hold strength, pair_weight and neighbours of RankingHead. `guard` keeps the order of the texts
    where validation shows no gain; None: unless a strength is given. Without validation rows the default is fitted.
    """
    fixed = dict(parameters or {})
    settled = "strength" in fixed
    strengths = (fixed.pop("strength"),) if settled else STRENGTHS if len(parts["val"].values) else _default()
    for strength in strengths:
        check_positive("strength", strength)
    train, val, test = (parts[name] for name in PARTS)
    try:
        tuned = tune_ranking(
            train.features,
            train.values,
            val.features,
            val.values,
            strengths=strengths,
            guard=not settled if guard is None else guard,
            **fixed,
        )
    except InvalidFeaturesError as error:
        raise InvalidFeaturesError(in_keys(str(error))) from None
    if not len(val.values):
        kept = "text order kept" if tuned.kept_text else "as given" if settled else "defaults"
        tuned = replace(tuned, why=f"{kept}: no validation rows")
    text = RankingHead().fit(train.features.rows(slice(0)), np.empty(0))
    scores = tuned.head.score(test.features)
    judged = (
        judge_order(scores, test.values, groups=test.groups, text_scores=text.score(test.features), seed=seed)
        if len(scores)
        else {}
    )
    different = len(np.unique(train.values))
    too_few = f"text order: ranking needs images of 2 different values; got {different}"
    return RankingFit(tuned=tuned, test_scores=scores, metrics=judged, fallback="" if different > 1 else too_few)


def _default() -> tuple[float]:
    return (RankingHead().strength,)


def _part(arrays: Arrays, part: str, shared: Mapping[str, Any], *, normalise: bool) -> GradedPart:
    if f"{part}_features" in arrays and f"{part}_values" not in arrays:
        raise MissingFeaturesError(
            f"`{part}_values` must come with `{part}_features`; there are none. Add a number per row."
        )
    features = record_of(arrays, part, shared, normalise=normalise)
    values = checked_values(arrays.get(f"{part}_values", np.empty(0)), name=f"{part}_values", n=len(features))
    return GradedPart(features=features, values=values, groups=groups_of(arrays, part, len(features)))
