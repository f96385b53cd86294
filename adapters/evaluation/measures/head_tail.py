"""Head and tail: classes by how often a corpus names them, as in REAL (Parashar et al. 2024, arXiv:2401.12425)."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, group_draws, group_numbers, percentile_interval
from evenly.adapters.evaluation.measures.classification import per_class
from evenly.adapters.features import Floats, Integers

TailRule = Literal["lowest_fifth", "published"]
"""`lowest_fifth`: the rarest floor(c / 5) classes, as REAL means it. `published`: one more, which its code takes."""

TAIL_RULES: dict[TailRule, int] = {"lowest_fifth": 0, "published": 1}


def tail_classes(
    frequencies: npt.ArrayLike, classes: Sequence[str], *, rule: TailRule = "lowest_fifth"
) -> npt.NDArray[np.bool_]:
    """True for tail classes (c,), by the number of captions that name each, `frequencies` (c,).

    Of equally frequent classes the one whose name comes first in the alphabet is the rarer. With fewer than five
    classes `lowest_fifth` has no tail.
    """
    counts = np.asarray(frequencies, dtype=np.float64)
    if counts.shape != (len(classes),) or not (counts >= 0).all():
        raise ParameterError(
            f"`frequencies` must hold one count of at least 0 per class, ({len(classes)},); got {counts.tolist()}. "
            "Leave out classes whose frequency is unknown."
        )
    if rule not in TAIL_RULES:
        raise ParameterError(f"`rule` must be one of {', '.join(TAIL_RULES)}; got `{rule}`. Choose one of these.")
    order = sorted(range(len(classes)), key=lambda place: (counts[place], classes[place]))
    tail = np.zeros(len(classes), dtype=np.bool_)
    tail[order[: len(classes) // 5 + TAIL_RULES[rule]]] = True
    return tail


def head_tail(
    predictions: Integers,
    labels: Integers,
    classes: Sequence[str],
    frequencies: npt.ArrayLike,
    *,
    seed: int,
    rule: TailRule = "lowest_fifth",
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    n: int = REPLICATES,
) -> pd.DataFrame:
    """Mean per-class accuracy of the head, of the tail, and the gap, which is head minus tail: one row each.

    Columns: part ("head", "tail", "gap"), classes, without_rows, n, accuracy, low, high, rule. Classes without test
    rows leave the mean and are counted in `without_rows`; a part of such classes alone is NaN. Intervals (95 %)
    resample whole groups, the same for both parts; a class that a resample misses leaves its mean.
    They do not hold what is uncertain in `frequencies`, which may be extrapolated from a sample of captions.
    """
    table = per_class(predictions, labels, classes)
    tail = tail_classes(frequencies, classes, rule=rule)
    masks = [~tail, tail]
    estimates = [_mean(table["accuracy"].to_numpy()[None], mask)[0] for mask in masks]
    accuracies = np.concatenate(list(_resampled_per_class(predictions, labels, len(classes), groups, seed=seed, n=n)))
    replicates = [_mean(accuracies, mask) for mask in masks]
    estimates.append(estimates[0] - estimates[1])
    replicates.append(replicates[0] - replicates[1])
    sizes = table["n"].to_numpy()
    records = []
    for part, mask, estimate, values in zip(
        ("head", "tail", "gap"), [*masks, masks[0] | masks[1]], estimates, replicates, strict=True
    ):
        interval = percentile_interval(float(estimate), values)
        low, high = (interval.low, interval.high) if np.isfinite(estimate) else (np.nan, np.nan)
        records.append(
            {
                "part": part,
                "classes": int(mask.sum()),
                "without_rows": int((sizes[mask] == 0).sum()),
                "n": int(sizes[mask].sum()),
                "accuracy": interval.estimate,
                "low": low,
                "high": high,
                "rule": rule,
            }
        )
    return pd.DataFrame(records)


def _resampled_per_class(
    predictions: Integers,
    labels: Integers,
    n_classes: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None,
    *,
    seed: int,
    n: int,
) -> Iterator[Floats]:
    """Accuracy per class (at most 100, c) of each resample, NaN where it has no rows of the class."""
    numbers = group_numbers(groups, n_rows=len(labels))
    n_groups = int(numbers.max(initial=-1)) + 1
    if n_groups < 2:
        yield np.full((n, n_classes), np.nan)
        return
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(np.asarray(labels)[order], return_index=True)
    right = (np.asarray(predictions) == np.asarray(labels))[order].astype(np.float64)
    for drawn in group_draws(n_groups, seed, n):
        weights = drawn[:, numbers[order]]
        rows = np.add.reduceat(weights, starts, axis=1)
        hits = np.add.reduceat(weights * right, starts, axis=1)
        accuracies = np.full((len(drawn), n_classes), np.nan)
        accuracies[:, present] = np.where(rows > 0, hits / np.maximum(rows, 1), np.nan)
        yield accuracies


def _mean(accuracies: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """The mean over the classes of `mask` of each row (b,), NaN left out, and NaN where nothing is left."""
    chosen = accuracies[:, mask]
    defined = ~np.isnan(chosen)
    total = np.where(defined, chosen, 0.0).sum(axis=1)
    return np.asarray(np.where(defined.any(axis=1), total / np.maximum(defined.sum(axis=1), 1), np.nan))
