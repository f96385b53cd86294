"""Robustness to corrupted pictures: accuracy over strengths, its mean, and the drop relative to clean ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, Interval, percentile_interval, resampled_means
from evenly.adapters.evaluation.measures.effective_robustness import models_table
from evenly.adapters.features import Floats

CLEAN = "clean"
Cell = tuple[str, int]
"""A corruption and a strength."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Robustness:
    """The result of `corruption_robustness`; intervals are 95 %.

    `curves`, one row per corruption and strength, first "clean" at 0: corruption, strength, n, accuracy, low, high,
    drop, drop_low, drop_high (clean accuracy minus this one, paired). `corruptions`, one row each: corruption,
    strengths (how many), accuracy, low, high (mean over strengths), relative_drop, relative_drop_low,
    relative_drop_high. `clean`, `mean_accuracy` (mean over corruptions of the mean over strengths) and `relative_drop`
    ((clean - mean) / clean; NaN where clean is 0) over all. `missing`: cells of the full grid that were not handed in;
    means leave them out.
    """

    curves: pd.DataFrame
    corruptions: pd.DataFrame
    clean: Interval
    mean_accuracy: Interval
    relative_drop: Interval
    missing: tuple[Cell, ...]


def corruption_robustness(
    clean: npt.ArrayLike,
    corrupted: Mapping[Cell, npt.ArrayLike],
    *,
    seed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    n: int = REPLICATES,
) -> Robustness:
    """Curves of `corrupted`, (corruption, strength) -> (rows,) of 0 and 1, against `clean` (rows,) on the same rows.

    Intervals resample whole groups (None: rows), the same for every cell, so that drops are paired. Unlike the mean
    corruption error of ImageNet-C (arXiv:1903.12261), no reference model divides the numbers.
    """
    names = list(dict.fromkeys(name for name, _ in corrupted))
    cells = sorted(corrupted, key=lambda cell: (names.index(cell[0]), cell[1]))
    columns = [_column(clean), *(_column(corrupted[cell]) for cell in cells)]
    if not cells or len({column.shape for column in columns}) > 1:
        raise SplitError(
            f"`corrupted` must hold at least one array, each of the shape of `clean`, {columns[0].shape}; got "
            f"{sorted({column.shape for column in columns[1:]})}. Judge the same rows clean and corrupted."
        )
    values = np.stack(columns, axis=1)
    estimate = values.mean(axis=0, keepdims=True) if len(values) else np.full((1, len(columns)), np.nan)
    drawn = np.concatenate([estimate, resampled_means(values, seed=seed, groups=groups, n=n)])
    by_cell = dict(zip([(CLEAN, 0), *cells], drawn.T, strict=True))
    reference = by_cell[CLEAN, 0]
    means = {name: np.mean([by_cell[cell] for cell in cells if cell[0] == name], axis=0) for name in names}
    overall = np.mean(list(means.values()), axis=0)
    strengths = sorted({strength for _, strength in cells})
    return Robustness(
        curves=pd.DataFrame(
            [
                {"corruption": name, "strength": strength, "n": len(values)}
                | _columns("", accuracy)
                | _columns("drop", reference - accuracy)
                for (name, strength), accuracy in by_cell.items()
            ]
        ),
        corruptions=pd.DataFrame(
            [
                {"corruption": name, "strengths": sum(cell[0] == name for cell in cells)}
                | _columns("", accuracy)
                | _columns("relative_drop", _relative_drop(reference, accuracy))
                for name, accuracy in means.items()
            ]
        ),
        clean=_interval(reference),
        mean_accuracy=_interval(overall),
        relative_drop=_interval(_relative_drop(reference, overall)),
        missing=tuple((name, strength) for name in names for strength in strengths if (name, strength) not in by_cell),
    )


def robustness_tables(
    correct: Mapping[tuple[str, str], Mapping[Cell, npt.ArrayLike]],
    groups: Sequence[str],
    *,
    families: Mapping[str, Sequence[str]],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """`curves` and `corruptions` as Robustness has them, and `models_table`, of adapters by name and texts.

    correct: by corruption and strength, ("clean", 0) among them. families: the names of the corruptions of each.
    """
    family_of = {name: family for family, names in families.items() for name in names}
    curves, corruptions, models = [], [], []
    for (name, texts), cells in correct.items():
        robustness = _of_cells(cells, groups, seed)
        family = robustness.curves["corruption"].map(family_of).fillna("")
        curves.append(robustness.curves.assign(name=name, texts=texts, family=family))
        corruptions.append(robustness.corruptions.assign(name=name, texts=texts))
        models.append({"name": name, "texts": texts} | robustness_measures(cells, groups, seed=seed))
    return {
        "curves": pd.concat(curves, ignore_index=True),
        "corruptions": pd.concat(corruptions, ignore_index=True),
        "models": models_table(models),
    }


def robustness_measures(cells: Mapping[Cell, npt.ArrayLike], groups: Sequence[str], *, seed: int) -> dict[str, float]:
    """Accuracy on clean and on corrupted pictures and the relative drop, each with its interval."""
    robustness = _of_cells(cells, groups, seed)
    intervals = {"clean": robustness.clean, "corrupted": robustness.mean_accuracy}
    intervals |= {"relative_drop": robustness.relative_drop}
    return {
        f"{name}{end}": value
        for name, interval in intervals.items()
        for end, value in zip(("", "_low", "_high"), interval, strict=True)
    }


def _of_cells(cells: Mapping[Cell, npt.ArrayLike], groups: Sequence[str], seed: int) -> Robustness:
    corrupted = {cell: rows for cell, rows in cells.items() if cell[1]}
    return corruption_robustness(cells["clean", 0], corrupted, seed=seed, groups=groups)


def _column(correct: npt.ArrayLike) -> Floats:
    return np.asarray(correct, dtype=np.float64)


def _relative_drop(reference: Floats, accuracy: Floats) -> Floats:
    return np.asarray(np.where(reference > 0, (reference - accuracy) / np.where(reference > 0, reference, 1), np.nan))


def _interval(values: Floats) -> Interval:
    """Of a value that is followed by its replicates."""
    return percentile_interval(float(values[0]), values[1:])


def _columns(name: str, values: Floats) -> dict[str, float]:
    interval = _interval(values)
    if not name:
        return {"accuracy": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
