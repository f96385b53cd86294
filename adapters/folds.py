"""The rows that judge a choice: those of validation; with few labels those of train too, by fits on validation."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.features import Floats, Integers, LabelledFeatures

FEW_PER_CLASS = 4
"""Most validation rows per class that count as few: as many as CoOp's protocol draws."""
RANK_DIGITS = 9
"""Sums of reciprocal ranks are compared to so many digits, so that the order of the rows does not matter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Rows that judge fits on other rows, and these fits by their parameters."""

    train: LabelledFeatures
    judging: LabelledFeatures
    fits: dict[Any, Adapter]


def folds_of(
    adapter: type[Adapter], *, train: LabelledFeatures, validation: LabelledFeatures, fits: dict[Any, Adapter]
) -> tuple[Fold, ...]:
    """The fold of validation; with few labels a second one, in which the rows of train judge.

    Few: validation has at most FEW_PER_CLASS rows per class, and train has some but fewer than twice as many. No row
    judges a fit that has seen its label: those of train judge the fit on validation, where their class has a row there;
    any fit where the method learns from no label. There is one fold where validation lacks what `fit` needs. `fits` are
    those on train.
    """
    fold = Fold(train=train, judging=validation, fits=fits)
    n_train, n_validation = len(train.labels), len(validation.labels)
    n_classes = len(train.features.required_prototypes(adapter=adapter.__name__))
    if not 0 < n_train < 2 * n_validation <= 2 * FEW_PER_CLASS * n_classes:
        return (fold,)
    if "support" not in adapter.learns_from:
        return (fold, Fold(train=train, judging=train, fits=fits))
    support = _as_train(validation, reference=train)
    judging = train.rows(np.isin(train.labels, support.labels))
    if any(getattr(support.features, name) is None for name in adapter.needs) or not len(judging.labels):
        return (fold,)
    return (fold, Fold(train=support, judging=judging, fits={}))


def _as_train(rows: LabelledFeatures, *, reference: LabelledFeatures) -> LabelledFeatures:
    """The rows with the fields that those of `reference` have, and its texts and pool."""
    fields: dict[str, Any] = {"image": rows.features.image}
    for name in ("norms", "second", "captions", "views"):
        fields[name] = None if getattr(reference.features, name) is None else getattr(rows.features, name)
    return LabelledFeatures(features=replace(reference.features, **fields), labels=rows.labels)


def reciprocal_ranks(logits: Floats, labels: Integers) -> float:
    """The sum over rows of 1 / the place of the row's class by its logit; of equal ones the earlier class is ahead."""
    labelled = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ahead = (logits > labelled) | ((logits == labelled) & earlier)
    return float((1 / (1 + np.count_nonzero(ahead, axis=1))).sum())


def judging_rows(folds: tuple[Fold, ...]) -> str:
    """The number of rows that judge; where rows of train are among them, of each part."""
    counts = [len(fold.judging.labels) for fold in folds]
    parts = f" ({counts[0]} of validation, {counts[1]} of train)" if len(counts) > 1 else ""
    return f"{sum(counts)} validation rows{parts}"
