"""Paired tests between classifiers on the same rows: exact McNemar, bootstrapped difference, Holm, cross-fitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import ParameterError, SplitError
from evenly.adapters.evaluation.measures.bootstrap import (
    REPLICATES,
    Interval,
    group_draws,
    group_numbers,
    percentile_interval,
    resampled_means,
)
from evenly.adapters.features import Booleans, Floats, Integers, Strings
from evenly.adapters.splits import unit_hash


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


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitAnswers:
    """Correctness of the answers of several arms (arms, n) to the same queries; the group and the split of each (n,).

    splits: numbers from 0; of each all arms have the same draws.
    """

    correct: Floats
    groups: Strings
    splits: Integers


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """The candidate that each half of the groups chooses, and the gain of these choices over some arms, in their order.

    values: the mean of each arm; differences: of each to the first arm, by itself. A gain is over all queries: those of
    each half as the choice of the other half answers them, less as the other arm does. Where both halves choose one
    candidate, that is its difference; else it is what choosing gains, and not of any one candidate.
    """

    values: Sequence[float]
    differences: Sequence[Interval]
    choices: tuple[int, int]
    gains: Sequence[Interval]


def cross_fit(answers: SplitAnswers, candidates: Sequence[int], rivals: Sequence[int], *, seed: int) -> CrossFit:
    """Choose among arms, each by its place, on either half, and test the choice on the other one.

    Groups and splits are resampled. The interval of a gain is as wide as gains come out by choosing anew in resamples
    where no arm is better than another: their differences to what was measured. With the choice held fast it would
    exclude 0 too often, up to 6 % of all times above it where 2.5 % is meant, since one choice of both halves favours
    candidates that are lucky in both.
    """
    totals, count = _resampled_totals(answers, seed=seed)
    with np.errstate(invalid="ignore"):
        means, shares = totals / count[:, None], count / count.sum(axis=0)
        overall = totals.sum(axis=0) / count.sum(axis=0)
    gains, choices = _gains(means[:, :, :1], shares[:, :1], candidates, rivals)
    by_chance, _ = _gains(means[:, :, 1:] - means[:, :, :1], shares[:, 1:], candidates, rivals)
    return CrossFit(
        values=[float(mean[0]) for mean in overall],
        differences=[percentile_interval(float(row[0]), row[1:]) for row in overall - overall[0]],
        choices=(int(choices[0, 0]), int(choices[1, 0])),
        gains=[percentile_interval(gain, gain - errors) for (gain,), errors in zip(gains, by_chance, strict=True)],
    )


def is_first_half(groups: Strings, *, seed: int) -> Booleans:
    """Whether each of different groups (g,) is of the first half by the rank of its hash."""
    ranks = np.argsort(np.argsort([unit_hash(seed, "halves", str(name)) for name in groups]))
    return np.asarray(ranks < len(groups) / 2)


def _gains(
    means: Floats, shares: Floats, candidates: Sequence[int], rivals: Sequence[int]
) -> tuple[list[Floats], Integers]:
    """Of each rival the gains (n,), and the choices (2, n); of the halves: means (2, arms, n) and shares (2, n)."""
    choices = np.take(candidates, means[:, candidates].argmax(axis=1))
    by_other_half = np.take_along_axis(means, choices[::-1, None], axis=1)[:, 0]
    return [(shares * (by_other_half - means[:, rival])).sum(axis=0) for rival in rivals], choices


def _resampled_totals(answers: SplitAnswers, *, seed: int) -> tuple[Floats, Floats]:
    """Right answers by half of the groups and arm (2, arms, 1 + resamples), and queries by half (2, 1 + resamples).

    The first is of the queries themselves. NaN with fewer than two groups.
    """
    names, places = np.unique(answers.groups, return_inverse=True)
    n_groups, n_splits = len(names), int(answers.splits.max()) + 1
    cells = places * n_splits + answers.splits
    weights = [*answers.correct, np.ones(len(cells))]
    sums = np.stack([np.bincount(cells, row, n_groups * n_splits) for row in weights])
    is_first = is_first_half(names, seed=seed)
    halves = [sums.reshape(-1, n_groups, n_splits) * is_half[:, None] for is_half in (is_first, ~is_first)]
    generator, shares = np.random.default_rng([seed, n_splits]), [1 / n_splits] * n_splits
    blocks = [np.stack([half.sum(axis=(1, 2))[:, None] for half in halves])]
    for drawn in group_draws(n_groups, seed, REPLICATES):
        of_splits = generator.multinomial(n_splits, shares, size=len(drawn))
        blocks.append(np.stack([np.einsum("rg,kgs,rs->kr", drawn, half, of_splits, optimize=True) for half in halves]))
    totals = np.concatenate(blocks, axis=2)
    if n_groups < 2:
        totals[:, :, 1:] = np.nan
    return totals[:, :-1], totals[:, -1]
