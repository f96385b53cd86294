"""Calibration: a temperature fitted on validation rows, the calibration error before and after it, and its diagram."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import expected_calibration_error, softmax
from evenly.adapters.features import Booleans, Floats, Integers, checked_labels

BINS = 15
LARGEST_TEMPERATURE = 1e3
"""The search lies between 1 / this and this: wide, because some logits carry a scale of 100 and some carry none."""
AT_THE_END = 1e-3
"""Distance in the logarithm from an end of the search within which a minimum is the end's."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """By what to divide logits, above 0; NaN where undetermined, and then `why` says so in words, else ""."""

    value: float
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The effect of a temperature on `n` rows: negative log-likelihood in nats and calibration error of 15 bins.

    What is said of the calibrated logits is NaN where the validation rows determine no temperature.
    """

    temperature: Temperature
    validation_rows: int
    n: int
    likelihood_loss: float
    likelihood_loss_calibrated: float
    error: float
    error_calibrated: float


def fit_temperature(logits: Floats, labels: Integers, *, ruled_out: Booleans | None = None) -> Temperature:
    """The temperature by which to divide logits so that rows (n, c) with `labels` (n,) are likeliest.

    Guo et al. 2017, arXiv:1706.04599. A bounded search in the logarithm, where the loss has a single minimum.
    `ruled_out` (c,) are classes that the adapter cannot name (`Adapter.ruled_out`): their rows and logits have no say,
    as no temperature makes these rows likely. Undetermined where there are no rows, all logits of each row are equal,
    every label has the largest logit of its row, so that a smaller temperature is always likelier, or the likeliest
    lies beyond the search, as where the logits are worse than none. Hand in validation rows only.
    """
    checked = checked_labels(labels, n=len(logits), n_classes=logits.shape[1])
    named = np.ones(logits.shape[1], dtype=np.bool_) if ruled_out is None else ~ruled_out
    rows = named[checked]
    wide = logits[rows][:, named].astype(np.float64)
    own_labels = (np.cumsum(named) - 1)[checked[rows]]
    if reason := _undetermined(wide, own_labels, of_all=bool(named.all())):
        return Temperature(value=float("nan"), why=f"undetermined: {reason}")
    return _likeliest(wide, own_labels)


def is_at_the_end(temperature: float) -> bool:
    """Whether a fitted temperature is an end of the search, and so says nothing."""
    return bool(abs(np.log(temperature)) > np.log(LARGEST_TEMPERATURE) - AT_THE_END)


def _likeliest(logits: Floats, labels: Integers) -> Temperature:
    """The minimum of the loss, or words where it lies at an end of the search."""
    from scipy.optimize import minimize_scalar

    end = float(np.log(LARGEST_TEMPERATURE))
    minimum = minimize_scalar(
        lambda log_t: log_likelihood_loss(logits / np.exp(log_t), labels),
        bounds=(-end, end),
        method="bounded",
        options={"xatol": 1e-6},
    )
    if not is_at_the_end(float(np.exp(minimum.x))):
        return Temperature(value=float(np.exp(minimum.x)))
    side = f"beyond {LARGEST_TEMPERATURE:g}" if minimum.x > 0 else f"below {1 / LARGEST_TEMPERATURE:g}"
    return Temperature(value=float("nan"), why=f"undetermined: the likeliest lies {side}, the end of the search")


def log_likelihood_loss(logits: Floats, labels: Integers) -> float:
    """Mean over rows of minus log probability of the label, in nats; NaN without rows."""
    if not len(labels):
        return float("nan")
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    label_logits = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(shifted).sum(axis=1)) - label_logits).mean())


def calibration(
    logits: Floats, labels: Integers, *, validation_logits: Floats, validation_labels: Integers, bins: int = BINS
) -> Calibration:
    """The temperature of the validation rows, and what it does to other rows: loss and error before and after."""
    temperature = fit_temperature(validation_logits, validation_labels)
    checked = checked_labels(labels, n=len(logits), n_classes=logits.shape[1])
    scaled = None if temperature.why else logits.astype(np.float64) / temperature.value
    nan = float("nan")
    return Calibration(
        temperature=temperature,
        validation_rows=len(validation_labels),
        n=len(checked),
        likelihood_loss=log_likelihood_loss(logits, checked),
        likelihood_loss_calibrated=nan if scaled is None else log_likelihood_loss(scaled, checked),
        error=expected_calibration_error(softmax(logits), checked, bins=bins),
        error_calibrated=nan if scaled is None else expected_calibration_error(softmax(scaled), checked, bins=bins),
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


def _undetermined(logits: Floats, labels: Integers, *, of_all: bool) -> str:
    """Why no temperature can be likeliest, in words; "" where one is, or may lie beyond the search."""
    rows = len(labels)
    if not rows:
        return "no validation rows" if of_all else "no validation rows of the classes that have training rows"
    label_logits = np.take_along_axis(logits, labels[:, None], axis=1)
    if (logits > label_logits).any():
        return ""
    if (logits == label_logits).all():
        return f"all logits of each of the {rows} validation rows are equal"
    return f"all {rows} validation rows are right, so the smaller the likelier"
