"""Results of test logits: accuracy with interval, paired difference to zero-shot, calibration."""

from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.measures.bootstrap import Interval, bootstrap_accuracy, paired_bootstrap
from evenly.adapters.evaluation.measures.calibration import fit_temperature
from evenly.adapters.evaluation.measures.classification import (
    expected_calibration_error,
    mean_per_class_accuracy,
    softmax,
    top_k_accuracy,
)
from evenly.adapters.features import Floats, Integers


def judge(
    logits: Floats,
    labels: Integers,
    *,
    groups: npt.NDArray[Any],
    before: Integers,
    baseline: str,
    seed: int,
    validation: tuple[Floats, Integers] | None = None,
    ruled_out: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """The measures of logits (n, c) on rows of `labels` (n,), resampled by `groups` (n,).

    `before` (n,) are the predictions of the `baseline` named so. `validation`, logits and labels of other rows, fits
    the temperature of `calibrated_error`, without the classes `ruled_out` (c,). Where it is undetermined both are NaN
    and `temperature_why` says why.
    """
    predictions = logits.argmax(axis=1)
    own = bootstrap_accuracy(predictions == labels, groups=groups, seed=seed)
    gain = paired_bootstrap(before == labels, predictions == labels, groups=groups, seed=seed)
    none = (logits[:0], labels[:0])
    temperature = fit_temperature(*(none if validation is None else validation), ruled_out=ruled_out)
    return {
        "accuracy": own.estimate,
        "low": own.low,
        "high": own.high,
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
        "verdict": verdict(gain, baseline, same=bool(np.array_equal(predictions, before))),
    }


def verdict(gain: Interval, baseline: str, *, same: bool) -> str:
    """What the interval of the difference shows, in words."""
    if np.isnan(gain.estimate):
        return "no test rows: nothing is shown"
    if same:
        return f"same predictions as {baseline}"
    if np.isnan(gain.low):
        return "one test group: no interval, nothing is shown"
    if gain.spans_zero:
        return f"interval spans zero: no difference to {baseline} is shown"
    return f"{'better' if gain.low > 0 else 'worse'} than {baseline}: the interval excludes zero"
