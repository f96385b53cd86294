"""A leaderboard's runs averaged over seeds, with intervals over test groups and seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.evaluation.measures.bootstrap import LEVEL, REPLICATES, percentile_interval, resampled_means
from evenly.adapters.evaluation.protocols.leaderboard_runs import Booleans, RunKey
from evenly.adapters.features import Floats

INTERVALS = (
    f"{LEVEL:.0%} percentile intervals from {REPLICATES} resamples: each draws test groups with replacement and, apart "
    "from them, seeds with replacement, and averages over the drawn seeds; all adapters share the draws, so that "
    "differences are paired. They are not widened for the number of adapters compared. Few seeds understate how much "
    "the draw of the shots matters; one seed leaves it out."
)
_MEANS = ("top5", "mean_per_class", "calibration_error", "validation_accuracy")
_COLUMNS = (
    "name", "texts", "shots", "accuracy", "low", "high", "seed_deviation", "difference", "difference_low",
    "difference_high", *_MEANS, "validation_margin", "kept_zero_shot", "seeds", "runs", "seconds",
)  # fmt: skip


def summarise(
    cells: pd.DataFrame,
    correct: Mapping[RunKey, Booleans],
    groups: npt.NDArray[Any],
    *,
    baseline: tuple[str, str],
    seed: int = 0,
) -> pd.DataFrame:
    """One row per adapter, texts and shots, in the order of `cells`; `baseline` is (name, texts) of the reference.

    accuracy (mean over seeds), low, high, seed_deviation (standard deviation over seeds, NaN for one); difference,
    difference_low, difference_high (accuracy minus the baseline's, paired); means over seeds of top5, mean_per_class,
    calibration_error, validation_accuracy; validation_margin (smallest validation accuracy minus zero-shot's over the
    seeds: at least 0 under the guard); kept_zero_shot (seeds that kept zero-shot), seeds, runs (distinct ones),
    seconds (per run). `groups` (test rows,). Intervals: INTERVALS; NaN with fewer than two groups.
    """
    right = np.stack([run.astype(np.float32) for run in correct.values()], axis=1)
    resampled = resampled_means(right, seed=seed, groups=groups)
    column = {key: place for place, key in enumerate(correct)}
    rows, replicates = [], {}
    for (name, texts, shots), cell in cells.groupby(["name", "texts", "shots"], sort=False):
        runs = [column[_run_of(row)] for _, row in cell.iterrows()]
        replicates[name, texts, shots] = _over_seeds(resampled[:, runs], seed=seed)
        rows.append({"name": name, "texts": texts, "shots": shots} | _means(cell, runs=len(set(runs))))
    accuracy = {(row["name"], row["texts"], row["shots"]): row["accuracy"] for row in rows}
    for row, own in zip(rows, replicates.values(), strict=True):
        reference = (*baseline, row["shots"])
        _, row["low"], row["high"] = percentile_interval(row["accuracy"], own)
        gain = percentile_interval(row["accuracy"] - accuracy[reference], own - replicates[reference])
        row["difference"], row["difference_low"], row["difference_high"] = gain
    return pd.DataFrame(rows)[list(_COLUMNS)]


def _run_of(row: "pd.Series[Any]") -> RunKey:
    return RunKey(row["name"], row["texts"], row["run_shots"], row["run_seed"])


def _over_seeds(resampled: Floats, *, seed: int) -> Floats:
    """Accuracies (n, s) of the runs of s seeds to their mean (n,) over s seeds drawn with replacement."""
    drawn = np.random.default_rng([seed, 1]).integers(resampled.shape[1], size=resampled.shape)
    return np.asarray(np.take_along_axis(resampled, drawn, axis=1).mean(axis=1))


def _means(cell: pd.DataFrame, *, runs: int) -> dict[str, Any]:
    """What needs no resampling, over the seeds of one cell."""
    return {
        "accuracy": cell["accuracy"].mean(),
        "seed_deviation": cell["accuracy"].std(),
        **{name: cell[name].mean() for name in _MEANS},
        "validation_margin": (cell["validation_accuracy"] - cell["zero_shot_validation_accuracy"]).min(),
        "kept_zero_shot": int(cell["kept_zero_shot"].sum()),
        "seeds": len(cell),
        "runs": runs,
        "seconds": cell["seconds"].mean(),
    }
