"""Calibration: a temperature fitted on validation rows, the calibration error before and after it, and its diagram."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from adapters.errors import ParameterError
from adapters.evaluation.measures import expected_calibration_error, softmax
from adapters.features_record import Floats, Integers, checked_labels

BINS = 15
LARGEST_TEMPERATURE = 1e3
"""The search lies between 1 / this and this: wide, because some logits carry a scale of 100 and some carry none."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a temperature changes on `n` rows: negative log-likelihood in nats and calibration error of 15 bins.

    `determined` is false where the validation rows have no likeliest temperature: see `fit_temperature`.
    """

    temperature: float
    determined: bool
    validation_rows: int
    n: int
    likelihood_loss: float
    likelihood_loss_calibrated: float
    error: float
    error_calibrated: float


def fit_temperature(logits: Floats, labels: Integers) -> float:
    """The temperature by which to divide logits so that rows (n, c) with `labels` (n,) are likeliest; above 0.

    Guo et al. 2017, arXiv:1706.04599. A bounded search in the logarithm, where the loss has a single minimum. 1 where
    no temperature is likeliest: there are no rows, all logits of each row are equal, or every label has the largest
    logit of its row, so that a smaller temperature is always likelier. 1000 where the logits are worse than none. Hand
    in validation rows only.
    """
    from scipy.optimize import minimize_scalar

    checked = checked_labels(labels, n=len(logits), n_classes=logits.shape[1])
    wide = logits.astype(np.float64)
    if not _has_likeliest(wide, checked):
        return 1.0
    end = float(np.log(LARGEST_TEMPERATURE))
    found = minimize_scalar(
        lambda log_t: log_likelihood_loss(wide / np.exp(log_t), checked),
        bounds=(-end, end),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def log_likelihood_loss(logits: Floats, labels: Integers) -> float:
    """Mean over rows of minus log probability of the label, in nats; NaN without rows."""
    if not len(labels):
        return float("nan")
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(shifted).sum(axis=1)) - own).mean())


def calibration(
    logits: Floats, labels: Integers, *, validation_logits: Floats, validation_labels: Integers, bins: int = BINS
) -> Calibration:
    """The temperature of the validation rows, and what it does to other rows: loss and error before and after."""
    temperature = fit_temperature(validation_logits, validation_labels)
    checked = checked_labels(labels, n=len(logits), n_classes=logits.shape[1])
    scaled = logits.astype(np.float64) / temperature
    return Calibration(
        temperature=temperature,
        determined=_has_likeliest(validation_logits, validation_labels) and temperature < 0.999 * LARGEST_TEMPERATURE,
        validation_rows=len(validation_labels),
        n=len(checked),
        likelihood_loss=log_likelihood_loss(logits, checked),
        likelihood_loss_calibrated=log_likelihood_loss(scaled, checked),
        error=expected_calibration_error(softmax(logits), checked, bins=bins),
        error_calibrated=expected_calibration_error(softmax(scaled), checked, bins=bins),
    )


def reliability(probabilities: Floats, labels: Integers, *, bins: int = BINS) -> pd.DataFrame:
    """One row per bin of the top probability, for a diagram: lower, upper, n, confidence, accuracy, gap.

    Bins (lower, upper] of equal width, as in `expected_calibration_error`, which is the sum of |gap| n over all n.
    `confidence` and `accuracy` are means over the bin's rows, `gap` is accuracy minus confidence; NaN in empty bins.
    """
    if bins < 1:
        raise ParameterError(f"`bins` must be at least 1; got {bins}. 15 is usual.")
    checked = checked_labels(labels, n=len(probabilities), n_classes=probabilities.shape[1])
    confidence = probabilities.max(axis=1).astype(np.float64) if len(checked) else np.empty(0)
    right = (probabilities.argmax(axis=1) == checked).astype(np.float64) if len(checked) else np.empty(0)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    per_row = np.where(rows > 0, 1 / np.maximum(rows, 1), np.nan)
    mean_confidence = np.bincount(place, weights=confidence, minlength=bins) * per_row
    accuracy = np.bincount(place, weights=right, minlength=bins) * per_row
    edges = np.arange(bins + 1) / bins
    return pd.DataFrame(
        {
            "lower": edges[:-1],
            "upper": edges[1:],
            "n": rows,
            "confidence": mean_confidence,
            "accuracy": accuracy,
            "gap": accuracy - mean_confidence,
        }
    )


def _has_likeliest(logits: Floats, labels: Integers) -> bool:
    """Whether some label is not the largest logit of its row, and some row has unequal logits."""
    if not len(labels):
        return False
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    return bool((logits > own).any())
