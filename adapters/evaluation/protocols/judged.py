"""Results of test logits: accuracy with interval, paired difference to zero-shot, calibration."""

from typing import Any

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import Interval, bootstrap_accuracy, paired_bootstrap
from evenly.adapters.evaluation.measures.calibration import Temperature
from evenly.adapters.evaluation.measures.classification import (
    expected_calibration_error,
    mean_per_class_accuracy,
    softmax,
    top_k_accuracy,
)
from evenly.adapters.features import Floats, GroupedFeatures, Integers


def judge(
    logits: Floats,
    test: GroupedFeatures,
    *,
    baseline_predictions: Integers,
    baseline: str,
    seed: int,
    temperature: Temperature,
) -> dict[str, Any]:
    """The measures of logits (n, c) of test rows, whose groups are resampled.

    `baseline_predictions` (n,) are those of the `baseline` named so. `temperature` is that of `calibrated_error`; where
    it is undetermined that is NaN and `temperature_why` says why.
    """
    labels, groups = test.labels, test.groups
    predictions = logits.argmax(axis=1)
    accuracy = bootstrap_accuracy(predictions == labels, groups=groups, seed=seed)
    gain = paired_bootstrap(baseline_predictions == labels, predictions == labels, groups=groups, seed=seed)
    return {
        "accuracy": accuracy.estimate,
        "low": accuracy.low,
        "high": accuracy.high,
        "difference": gain.estimate,
        "difference_low": gain.low,
        "difference_high": gain.high,
        "n": len(labels),
        "groups": len(np.unique(groups)),
        "top5": top_k_accuracy(logits, labels, k=min(5, logits.shape[1])),
        "mean_per_class": mean_per_class_accuracy(predictions, labels),
        "calibration_error": expected_calibration_error(softmax(logits), labels),
        "temperature": temperature.value,
        "temperature_why": temperature.why,
        "calibrated_error": (
            float("nan") if temperature.why else expected_calibration_error(softmax(logits / temperature.value), labels)
        ),
        "verdict": verdict(gain, baseline, identical=bool(np.array_equal(predictions, baseline_predictions))),
    }


def verdict(gain: Interval, baseline: str, *, identical: bool) -> str:
    """The finding that the interval of the difference allows, in words."""
    if np.isnan(gain.estimate):
        return "no test rows: nothing is shown"
    if identical:
        return f"same predictions as {baseline}"
    if np.isnan(gain.low):
        return "one test group: no interval, nothing is shown"
    if gain.spans_zero:
        return f"interval spans zero: no difference to {baseline} is shown"
    return f"{'better' if gain.low > 0 else 'worse'} than {baseline}: the interval excludes zero"
