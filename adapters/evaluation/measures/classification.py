"""Measures of a classifier on labelled rows. Nothing here chooses anything."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Floats, Integers, checked_labels

if TYPE_CHECKING:
    import pandas as pd


def accuracy(predictions: Integers, labels: Integers) -> float:
    """Share of rows predicted right, in 0 to 1; NaN without rows."""
    right = _correct(predictions, labels)
    return float(right.mean()) if right.size else float("nan")


def top_k_accuracy(logits: Floats, labels: Integers, *, k: int = 5) -> float:
    """Share of rows whose label is among the `k` largest of the logits (n, c), in 0 to 1; NaN without rows.

    Of equal logits the class that comes first in the list ranks first, as in argmax: k = 1 is `accuracy`. With k of c
    or more it is 1.
    """
    if k < 1:
        raise ParameterError(f"`k` must be at least 1; got {k}. 5 is usual.")
    checked = checked_labels(labels, n=len(logits), n_classes=logits.shape[1])
    if np.isnan(logits).any():
        raise InvalidFeaturesError("`logits` must hold no NaN; got some. Look for NaN in the features of these rows.")
    if not len(checked):
        return float("nan")
    label_logits = np.take_along_axis(logits, checked[:, None], axis=1)
    precedes = np.arange(logits.shape[1]) < checked[:, None]
    return float((((logits > label_logits) | ((logits == label_logits) & precedes)).sum(axis=1) < k).mean())


def per_class(predictions: Integers, labels: Integers, classes: Sequence[str]) -> "pd.DataFrame":
    """One row per class in the order of `classes`: class, n, correct, accuracy (NaN where n is 0, never 0)."""
    import pandas as pd  # a quarter of a second, of which methods that only want `softmax` have no use

    right = _correct(predictions, labels)
    checked = checked_labels(labels, n=len(right), n_classes=len(classes))
    rows = np.bincount(checked, minlength=len(classes))
    hits = np.bincount(checked, weights=right, minlength=len(classes)).astype(np.int64)
    return pd.DataFrame(
        {
            "class": list(classes),
            "n": rows,
            "correct": hits,
            "accuracy": np.where(rows > 0, hits / np.maximum(rows, 1), np.nan),
        }
    )


def mean_per_class_accuracy(predictions: Integers, labels: Integers) -> float:
    """Mean over the classes that have rows of the accuracy within the class; NaN without rows."""
    right = _correct(predictions, labels)
    if not right.size:
        return float("nan")
    _, places, rows = np.unique(labels, return_inverse=True, return_counts=True)
    return float((np.bincount(places, weights=right) / rows).mean())


def softmax(logits: Floats) -> Floats:
    """Probabilities (n, c), float64."""
    from scipy import special

    return np.asarray(special.softmax(logits.astype(np.float64), axis=1))


def log_softmax(logits: Floats) -> Floats:
    """Logarithms of the probabilities (n, c) in the type of `logits`, finite however small they are."""
    from scipy import special

    return np.asarray(special.log_softmax(logits, axis=-1))


def expected_calibration_error(probabilities: Floats, labels: Integers, *, bins: int = 15) -> float:
    """Expected calibration error of the top class (Guo et al. 2017, arXiv:1706.04599), in 0 to 1; NaN without rows.

    `bins` intervals (lower, upper] of equal width on the top probability; the gap of each between accuracy and mean
    confidence, weighted by its rows. Binned estimates are biased upwards on few rows.
    """
    right = _correct(probabilities.argmax(axis=1), labels)
    if not right.size:
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def _correct(predictions: Integers, labels: Integers) -> Floats:
    """1.0 where right, else 0.0."""
    if np.shape(predictions) != np.shape(labels):
        raise InvalidFeaturesError(
            f"`predictions` must have the shape of `labels`, {np.shape(labels)}; got {np.shape(predictions)}. "
            "Hand in both from the same rows."
        )
    return np.asarray(np.equal(predictions, labels), dtype=np.float64)
