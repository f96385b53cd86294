"""AUROC and FPR95 over near and far sets, averaged as COOkeD does (arXiv:2507.22576)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, percentile_interval
from evenly.adapters.features import Floats
from evenly.adapters.ood.metrics import Groups, RankedScores, aupr

AVERAGE = "mean"
MEASURES = ("auroc", "fpr95")


def ood_table(
    scores_id: Floats,
    scores_ood: Mapping[str, Mapping[str, Floats]],
    *,
    seed: int,
    groups_id: Groups = None,
    groups_ood: Mapping[str, Groups] | None = None,
    n: int = REPLICATES,
) -> pd.DataFrame:
    """One row per OOD set, then the average of each kind ("near", "far"), then the mean of the kinds.

    `scores_ood`: kind -> set -> scores (rows,); `groups_ood` by the name of the set. Columns: kind, set (both "mean"
    in the last row, set "mean" in averages), n_id, n_ood, auroc, auroc_low, auroc_high, fpr95, fpr95_low, fpr95_high,
    aupr. Sets count alike whatever their size, and so do kinds. Intervals are 95 %, over resamples of whole groups
    (None: rows) of ID and of each set on its own; one resample has the same ID rows in all sets. An average over a set
    without rows is NaN.
    """
    measured = measure_sets(scores_id, scores_ood, seed=seed, groups_id=groups_id, groups_ood=groups_ood, n=n)
    return pd.DataFrame([_row(kind, name, result) for (kind, name), result in measured.items()])


def compared_table(measured: "Sets", baseline: "Sets") -> pd.DataFrame:
    """`ood_table` of a score, and its differences to another on the same rows, each resample of both at once.

    Further columns: auroc_difference and fpr95_difference, each with _low and _high: the score minus the baseline.
    """
    rows = []
    for (kind, name), result in measured.items():
        reference = baseline[kind, name]
        row = _row(kind, name, result)
        pairs = zip(
            MEASURES, result.measured - reference.measured, result.replicates - reference.replicates, strict=False
        )
        for measure, value, replicates in pairs:
            row |= _interval(f"{measure}_difference", float(value), replicates)
        rows.append(row)
    return pd.DataFrame(rows)


def measure_sets(
    scores_id: Floats,
    scores_ood: Mapping[str, Mapping[str, Floats]],
    *,
    seed: int,
    groups_id: Groups = None,
    groups_ood: Mapping[str, Groups] | None = None,
    n: int = REPLICATES,
) -> "Sets":
    """The measures behind each row of `ood_table`. Scores of the same rows and groups have the same resamples."""
    if not scores_ood or not all(scores_ood.values()):
        raise ParameterError(
            f"`scores_ood` must hold at least one set per kind; got { ({k: list(v) for k, v in scores_ood.items()}) }. "
            'Hand in {"near": {"name": scores}}.'
        )
    groups = groups_ood or {}
    measured: dict[tuple[str, str], _Measured] = {}
    for kind, sets in scores_ood.items():
        for name, scores in sets.items():
            ranked = RankedScores(scores_id, scores)
            measured[kind, name] = _Measured(
                sizes=ranked.sizes,
                measured=np.array([*ranked.measures(), aupr(scores_id, scores)]),
                replicates=np.stack(
                    ranked.replicates(groups_id, groups.get(name), seed=seed, name=f"{kind} {name}", n=n)
                ),
            )
    kinds = {kind: _mean([measured[kind, name] for name in sets]) for kind, sets in scores_ood.items()}
    averages = {(kind, AVERAGE): result for kind, result in kinds.items()}
    return measured | averages | {(AVERAGE, AVERAGE): _mean(list(kinds.values()))}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """`measured`: AUROC, FPR95, AUPR; `replicates` (2, n) of the first two; `sizes`: ID rows, OOD rows."""

    sizes: tuple[int, int]
    measured: Floats
    replicates: Floats


Sets = dict[tuple[str, str], _Measured]
"""Measures by kind and set."""


def _mean(results: Sequence[_Measured]) -> _Measured:
    """The plain mean, replicate by replicate; rows add up on the OOD side."""
    return _Measured(
        sizes=(results[0].sizes[0], sum(result.sizes[1] for result in results)),
        measured=np.mean([result.measured for result in results], axis=0),
        replicates=np.mean([result.replicates for result in results], axis=0),
    )


def _row(kind: str, name: str, result: _Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind, "set": name, "n_id": result.sizes[0], "n_ood": result.sizes[1]}
    for measure, value, replicates in zip(MEASURES, result.measured[:2], result.replicates, strict=True):
        row |= _interval(measure, float(value), replicates)
    return row | {"aupr": float(result.measured[2])}


def _interval(name: str, value: float, replicates: Floats) -> dict[str, float]:
    interval = percentile_interval(value, replicates)
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
