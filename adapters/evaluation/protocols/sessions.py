"""Class-incremental evaluation: after each session of new classes, the accuracy over the classes seen so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import (
    Interval,
    bootstrap_accuracy,
    percentile_interval,
    resampled_means,
)
from evenly.adapters.evaluation.measures.classification import accuracy
from evenly.adapters.evaluation.protocols.base_to_new import of_classes
from evenly.adapters.features import Floats, GroupedFeatures, Integers, LabelledFeatures, Strings, checked_labels
from evenly.adapters.forms.sessions import SessionLearner


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionResults:
    """The result of `evaluate_sessions`, accuracies in 0 to 1.

    `sessions`, one row per session: session (from 1), classes (seen so far), rows (test rows of these), accuracy over
    them with its 95 % interval low to high, and of it old (test rows of classes of earlier sessions) and new (of this
    one); NaN without such rows.
    `average` is the mean of the accuracies, `drop` the first minus the last. `right` (n, s): 1 where a session names
    a test row rightly, 0 where not, NaN where it does not judge the row.
    """

    sessions: pd.DataFrame
    right: Floats
    average: float
    drop: float


def evaluate_sessions(
    adapter: SessionLearner,
    sessions: Iterable[LabelledFeatures],
    *,
    test: GroupedFeatures,
    seed: int = 0,
) -> SessionResults:
    """Hand `adapter` one session after the other and judge it after each on the test rows of the classes seen so far.

    A row is judged among the seen classes only. The labels of `test` are positions in the class list of the last
    session; rows of classes that never come are never judged. Intervals resample its groups by `seed`. The adapter goes
    on from what it knows: hand in a new one.
    """
    labels = checked_labels(test.labels, n=len(test.features), n_classes=int(np.max(test.labels, initial=0)) + 1)
    features = replace(test.features, prototypes=None)
    table: list[dict[str, float]] = []
    right: list[Floats] = []
    earlier: set[int] = set()
    for session in sessions:
        adapter.partial_fit(session.features, session.labels)
        classes = np.flatnonzero(adapter.support_)
        rows = np.flatnonzero(np.isin(labels, classes))
        truth = predictions = labels[rows]
        if len(rows):
            logits = adapter.decision_function(features.rows(rows))[:, classes]
            predictions = classes[logits.argmax(axis=1)]
        old = np.isin(truth, list(earlier))
        right.append(np.full(len(labels), np.nan))
        right[-1][rows] = predictions == truth
        over_all = bootstrap_accuracy(predictions == truth, groups=test.groups[rows], seed=seed)
        table.append(
            {
                "session": len(table) + 1,
                "classes": len(classes),
                "rows": len(rows),
                "accuracy": over_all.estimate,
                "low": over_all.low,
                "high": over_all.high,
                "old": accuracy(predictions[old], truth[old]),
                "new": accuracy(predictions[~old], truth[~old]),
            }
        )
        earlier.update(classes.tolist())
    if not table:
        raise ParameterError("`sessions` must hold at least one session; got none. Hand in one per group of classes.")
    frame = pd.DataFrame(table)
    average, drop = mean_and_drop(frame["accuracy"].tolist())
    return SessionResults(sessions=frame, right=np.stack(right, axis=1), average=average, drop=drop)


def average_gain(results: SessionResults, rival: SessionResults, *, groups: Strings, seed: int = 0) -> Interval:
    """The average less that of a rival in the same sessions, with its interval over resampled `groups` (n,)."""
    judged = ~np.isnan(results.right)
    differences = np.where(judged, results.right - rival.right, 0.0)
    means = resampled_means(np.concatenate([differences, judged], axis=1), seed=seed, groups=groups)
    gains, shares = np.split(means, 2, axis=1)
    with np.errstate(invalid="ignore"):
        return percentile_interval(results.average - rival.average, (gains / shares).mean(axis=1))


def mean_and_drop(accuracies: Sequence[float]) -> tuple[float, float]:
    """The mean accuracy over the sessions and the performance drop, the first minus the last."""
    return float(np.mean(accuracies)), float(accuracies[0] - accuracies[-1])


def split_sessions(n_classes: int, *, first: int, step: int) -> list[Integers]:
    """Class indices of each session: `first` classes, then `step` at a time; the last may be smaller.

    The usual 9 sessions of miniImageNet are 60 of its 100 classes, then 5 at a time.
    """
    for name, value in {"n_classes": n_classes, "first": first, "step": step}.items():
        check_positive(name, value, integer=True)
    starts = [0, *range(first, n_classes, step)]
    return [np.arange(start, stop) for start, stop in zip(starts, [*starts[1:], n_classes], strict=True)]


def session_of(train: LabelledFeatures, classes: Integers) -> LabelledFeatures:
    """The train rows of some classes, under the class list up to the last of them."""
    rows = train.rows(np.flatnonzero(np.isin(train.labels, classes)))
    return rows.with_features(of_classes(rows.features, np.arange(int(classes[-1]) + 1)))
