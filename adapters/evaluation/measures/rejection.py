"""Open-set accuracy: known classes told apart, and pictures of no class rejected (OSLoPrompt, arXiv:2503.16106).

The threshold below which pictures are rejected is chosen on validation rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import percentile_interval, resampled_means
from evenly.adapters.evaluation.measures.classification import accuracy
from evenly.adapters.evaluation.measures.unseen import unseen_inputs
from evenly.adapters.evaluation.tables import ALL
from evenly.adapters.features import Booleans, Features, Floats, GroupedFeatures, Integers
from evenly.adapters.ood import OOD_SCORES
from evenly.adapters.splits import unit_hash

CHOOSES = 0.5
"""Share of the groups of each set that chooses the threshold, by hash; the others are judged."""


def judge_rejection(
    adapter: Adapter,
    validation: GroupedFeatures,
    test: GroupedFeatures,
    unseen: Mapping[str, Features],
    *,
    unseen_groups: Mapping[str, npt.NDArray[Any]] | None = None,
    seed: int,
    scorers: Sequence[Adapter | None] = (),
) -> pd.DataFrame:
    """Rows per out-of-distribution score and set: what rejecting below a threshold of the score gives.

    The threshold makes H largest on `validation` and on the half of each set's groups that a hash of (seed, group)
    draws; of equally good ones the lowest, which rejects least. Judged are `test` and the other halves. Columns: score,
    set (the last is ALL), threshold, closed (share of test rows told right and not rejected), opened (share of the set
    rejected), h (their harmonic mean), each with _low and _high (95 %, resampling groups), n_known, n_unknown, h_chosen
    (H where the threshold was chosen), chosen (whether the score has the largest of these). No rows without validation
    rows, without sets, or where a set has no group on one of the sides; scores that lack something are left out.
    """
    owners = {name: (unseen_groups or {}).get(name, np.arange(len(rows))) for name, rows in unseen.items()}
    chooses = {name: drawn_groups(groups, seed=seed) for name, groups in owners.items()}
    usable = all(half.any() and not half.all() for half in chooses.values())
    if not unseen or not usable or not len(validation.labels) or not len(test.labels):
        return pd.DataFrame()
    inputs = {name: unseen_inputs(adapter, scorers, rows) for name, rows in unseen.items()}
    known_inputs = [unseen_inputs(adapter, scorers, part.features) for part in (validation, test)]
    right = [adapter.predict(part.features) == part.labels for part in (validation, test)]
    rows: list[dict[str, Any]] = []
    for name, score in OOD_SCORES.items():
        if score.lacking(*known_inputs, *inputs.values()):
            continue
        of_known, of_sets = (
            [score(record) for record in known_inputs],
            {key: score(record) for key, record in inputs.items()},
        )
        drawn = {key: scores[chooses[key]] for key, scores in of_sets.items()}
        threshold, h_chosen = choose_threshold(of_known[0], right[0], drawn)
        accepted = right[1] & (of_known[1] >= threshold)
        rejected = {key: scores[~chooses[key]] < threshold for key, scores in of_sets.items()}
        left = {key: groups[~chooses[key]] for key, groups in owners.items()}
        facts: dict[str, Any] = {"score": name, "threshold": threshold, "h_chosen": h_chosen}
        rows += [facts | row for row in _measured(accepted, test.groups, rejected, left, seed)]
    best = max(rows, key=lambda row: row["h_chosen"], default={"score": ""})["score"]
    return pd.DataFrame([row | {"chosen": row["score"] == best} for row in rows])


def drawn_groups(groups: npt.NDArray[Any], *, seed: int) -> Booleans:
    """Whether each row (n,) is of a group that chooses."""
    return np.array([unit_hash(seed, "open set", str(group)) < CHOOSES for group in groups], dtype=np.bool_)


def choose_threshold(known_scores: Floats, right: Booleans, unknown: Mapping[str, Floats]) -> tuple[float, float]:
    """The threshold with the largest H, and that H: rows at or above it are accepted.

    `known_scores` (n,) of rows that the classifier tells `right` (n,) or not; `unknown` scores by set, whose shares of
    rejected rows are averaged. Tried are all these scores; of equally good ones the lowest.
    """
    tried = np.unique(np.concatenate([known_scores, *unknown.values()]))
    closed = (right.sum() - np.searchsorted(np.sort(known_scores[right]), tried)) / len(known_scores)
    opened = np.mean([np.searchsorted(np.sort(scores), tried) / len(scores) for scores in unknown.values()], axis=0)
    total = closed + opened
    h = np.divide(2 * closed * opened, total, out=np.zeros_like(total), where=total > 0)
    best = int(h.argmax())
    return float(tried[best]), float(h[best])


def _measured(
    accepted: Booleans,
    groups: npt.NDArray[Any],
    rejected: Mapping[str, Booleans],
    unknown_groups: Mapping[str, npt.NDArray[Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """A row per set, and one of all."""
    closed = _replicates(accepted, groups, seed)
    opened = {
        name: _replicates(set_rejected, unknown_groups[name], int(unit_hash(seed, "open set", name) * 2**53))
        for name, set_rejected in rejected.items()
    }
    share = {name: float(set_rejected.mean()) for name, set_rejected in rejected.items()}
    counts = {name: len(set_rejected) for name, set_rejected in rejected.items()}
    opened[ALL] = np.mean(list(opened.values()), axis=0)
    share[ALL], counts[ALL] = float(np.mean(list(share.values()))), sum(counts.values())
    rows = []
    for name, values in opened.items():
        total = closed + values
        h = np.divide(2 * closed * values, total, out=np.zeros_like(total), where=total > 0)
        measured = {
            "closed": percentile_interval(float(accepted.mean()), closed),
            "opened": percentile_interval(share[name], values),
            "h": percentile_interval(open_set_h(float(accepted.mean()), share[name]), h),
        }
        row: dict[str, Any] = {"set": name, "n_known": len(accepted), "n_unknown": counts[name]}
        for measure, interval in measured.items():
            row |= {measure: interval.estimate, f"{measure}_low": interval.low, f"{measure}_high": interval.high}
        rows.append(row)
    return rows


def _replicates(values: Booleans, groups: npt.NDArray[Any], seed: int) -> Floats:
    return resampled_means(values.astype(np.float64)[:, None], seed=seed, groups=groups)[:, 0]


class OpenSet(NamedTuple):
    """Accuracy on rows of known classes, share of unknown rows that were rejected, and their harmonic mean `h`."""

    closed: float
    opened: float
    h: float


def open_set_h(closed: float, opened: float) -> float:
    """H = 2 * closed * open / (closed + open), in 0 to 1; 0 where both are 0, NaN where one is."""
    if closed < 0 or opened < 0:
        raise ParameterError(f"accuracies must be at least 0; got {closed} and {opened}. Hand in shares of rows.")
    total = closed + opened
    return 2 * closed * opened / total if total != 0 else 0.0


def open_set(predictions: Integers, labels: Integers, *, unknown: int) -> OpenSet:
    """Closed and open accuracy and their H of predictions (n,); rows of no known class have the label `unknown`.

    A known row that is rejected (predicted as `unknown`) is wrong. NaN where there are no rows of a kind.
    """
    is_unknown = labels == unknown
    closed = accuracy(predictions[~is_unknown], labels[~is_unknown])
    opened = accuracy(predictions[is_unknown], labels[is_unknown])
    return OpenSet(closed, opened, open_set_h(closed, opened))
