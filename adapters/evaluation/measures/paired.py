"""Paired tests between classifiers on the same rows: exact McNemar, bootstrapped difference, Holm."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import ParameterError, SplitError
from evenly.adapters.evaluation.measures.bootstrap import (
    REPLICATES,
    group_numbers,
    percentile_interval,
    resampled_means,
)
from evenly.adapters.features import Floats


class McNemar(NamedTuple):
    """Rows that only a or only b gets right, and the two-sided exact p of the null that both are as likely."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> McNemar:
    """The exact McNemar test (1947): binomial on the rows where the two differ; p is 1 where they never do.

    It takes rows as independent: with several rows per group p comes out too small. Read the interval of
    `paired_tests`, which resamples groups, or hand in one row per group.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(correct_a, dtype=np.bool_), np.asarray(correct_b, dtype=np.bool_)
    if first.shape != second.shape:
        raise SplitError(
            f"`correct_b` must have the shape of `correct_a`, {first.shape}; got {second.shape}. "
            "Evaluate both on the same rows."
        )
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    differ = only_a + only_b
    p_value = float(binomtest(only_b, differ).pvalue) if differ else 1.0
    return McNemar(only_a, only_b, p_value)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's step-down adjustment (1979) of p values (m,): at most a share alpha of families has one at or below alpha.

    The i-th smallest, from 0, times m - i, never below an adjusted smaller one, at most 1. Valid whatever the
    dependence between the tests.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ParameterError(f"`p_values` must be numbers of 0 to 1 on one axis; got {values.tolist()}. Correct them.")
    order = values.argsort(kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def paired_tests(
    correct: Mapping[str, npt.ArrayLike],
    *,
    seed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    n: int = REPLICATES,
) -> pd.DataFrame:
    """One row per pair of `correct` (name -> (rows,) of 0 and 1), in its order: who is better, and how surely.

    Columns: a, b, n, groups, only_a, only_b, difference (accuracy of b minus a), low, high (95 %, resampling whole
    groups, the same resamples for all pairs), p_value (exact McNemar, rows taken as independent), p_holm (adjusted for
    all pairs). Fewer than two groups give no interval.
    """
    columns = _columns(correct)
    n_rows = len(next(iter(columns.values()))) if columns else 0
    means = resampled_means(np.stack(list(columns.values()), axis=1), seed=seed, groups=groups, n=n) if n_rows else None
    n_groups = len(np.unique(group_numbers(groups, n_rows=n_rows)))
    place = {name: number for number, name in enumerate(columns)}
    records = []
    for a, b in combinations(columns, 2):
        test = mcnemar(columns[a], columns[b])
        difference = float((columns[b] - columns[a]).mean()) if n_rows else float("nan")
        replicates = means[:, place[b]] - means[:, place[a]] if means is not None else np.empty(0)
        interval = percentile_interval(difference, replicates)
        records.append(
            {
                "a": a,
                "b": b,
                "n": n_rows,
                "groups": n_groups,
                "only_a": test.only_a,
                "only_b": test.only_b,
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "p_value": test.p_value,
            }
        )
    table = pd.DataFrame(records, columns=_COLUMNS)
    return table.assign(p_holm=holm(table["p_value"].to_numpy(np.float64)))


_COLUMNS = ["a", "b", "n", "groups", "only_a", "only_b", "difference", "low", "high", "p_value"]


def _columns(correct: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    """The arrays as float64, all of one shape (rows,)."""
    columns: dict[str, Floats] = {name: np.asarray(values, dtype=np.float64) for name, values in correct.items()}
    shapes = {name: values.shape for name, values in columns.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise SplitError(
            f"`correct` must hold arrays of one length; got {shapes}. Evaluate all classifiers on the same rows."
        )
    return columns
