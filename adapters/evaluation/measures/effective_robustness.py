"""Effective robustness: accuracy under a shift beyond what accuracy without it predicts.

Taori et al. 2020, arXiv:2007.00644; a line per training source as in Quality Not Quantity (Nguyen et al. 2022,
arXiv:2208.05516).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Floats

NO_LOGIT = "an accuracy of 0 or 1 has no logit"


@dataclass(frozen=True, kw_only=True)
class LogitLine:
    """logit(shifted accuracy) = `intercept` + `slope` * logit(accuracy), least squares over `n` models.

    `r_squared` of the fit on logits. All NaN where fewer than two models of different accuracy allow no line; with
    exactly two it is the line through both, and no residual means anything.
    """

    slope: float
    intercept: float
    r_squared: float
    n: int

    def expected(self, accuracy: npt.ArrayLike) -> Floats:
        """The shifted accuracy that the line gives, in 0 to 1."""
        return np.asarray(1 / (1 + np.exp(-(self.intercept + self.slope * logit(accuracy)))))


def logit(accuracy: npt.ArrayLike) -> Floats:
    """log(a / (1 - a)); NaN for 0, 1 and NaN, which have none."""
    share = np.asarray(accuracy, dtype=np.float64)
    inside = (share > 0) & (share < 1)
    safe = np.where(inside, share, 0.5)
    return np.asarray(np.where(inside, np.log(safe / (1 - safe)), np.nan))


def fit_logit_line(accuracy: npt.ArrayLike, shifted: npt.ArrayLike) -> LogitLine:
    """The line over models (m,), from accuracy on the usual test set to accuracy on the shifted one.

    Models with an accuracy of 0 or 1 do not take part.
    """
    x, y = logit(accuracy), logit(shifted)
    if x.shape != y.shape or x.ndim != 1:
        raise ParameterError(
            f"`shifted` must hold one accuracy per model, {x.shape}; got {y.shape}. Hand in both of the same models."
        )
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < 2 or np.ptp(x) == 0:
        return LogitLine(slope=np.nan, intercept=np.nan, r_squared=np.nan, n=len(x))
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    spread = float(((y - y.mean()) ** 2).sum())
    left = float(((y - intercept - slope * x) ** 2).sum())
    return LogitLine(slope=slope, intercept=intercept, r_squared=1 - left / spread if spread else np.nan, n=len(x))


def effective_robustness(
    models: Sequence[str],
    accuracy: npt.ArrayLike,
    shifted: npt.ArrayLike,
    *,
    baselines: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, LogitLine]:
    """The line over the `baselines` (None: all models), and each model's residual from it.

    Columns: model, baseline (whether it is in the fit), accuracy, shifted, expected (shifted accuracy on the line),
    effective_robustness (shifted minus expected, in accuracy), residual (the same in logits), state ("" or why there
    is none). A model in the fit pulls the line towards itself: its residual is too small.
    """
    names = list(models)
    x, y = np.asarray(accuracy, dtype=np.float64), np.asarray(shifted, dtype=np.float64)
    if x.shape != (len(names),) or y.shape != x.shape:
        raise ParameterError(
            f"`accuracy` and `shifted` must hold one value per model, ({len(names)},); got {x.shape} and {y.shape}. "
            "Hand in both of the same models."
        )
    unknown = [name for name in baselines or () if name not in names]
    if unknown:
        raise ParameterError(f"`baselines` must be among the models; got `{unknown[0]}`. Name models of the table.")
    chosen = np.array([baselines is None or name in baselines for name in names], dtype=np.bool_)
    line = fit_logit_line(x[chosen], y[chosen])
    expected, finite = line.expected(x), np.isfinite(logit(x)) & np.isfinite(logit(y))
    table = pd.DataFrame(
        {
            "model": names,
            "baseline": chosen & finite,
            "accuracy": x,
            "shifted": y,
            "expected": np.where(finite, expected, np.nan),
            "effective_robustness": np.where(finite, y - expected, np.nan),
            "residual": logit(y) - logit(expected),
            "state": np.where(finite, "", NO_LOGIT) if np.isfinite(line.slope) else "no line: too few baselines",
        }
    )
    return table, line


def lines_per_source(sources: Sequence[str], accuracy: npt.ArrayLike, shifted: npt.ArrayLike) -> pd.DataFrame:
    """A line per training source, sources sorted: source, models (in the fit), slope, intercept, r_squared.

    A model trained on mixed sources is a source of its own: mixing interpolates between the lines.
    """
    names = np.asarray(sources, dtype=np.str_)
    x, y = np.asarray(accuracy, dtype=np.float64), np.asarray(shifted, dtype=np.float64)
    lines = {name: fit_logit_line(x[names == name], y[names == name]) for name in sorted(set(names.tolist()))}
    return pd.DataFrame(
        [
            {"source": name, "models": line.n, "slope": line.slope, "intercept": line.intercept,
             "r_squared": line.r_squared}
            for name, line in lines.items()
        ],
        columns=["source", "models", "slope", "intercept", "r_squared"],
    )  # fmt: skip


LEAST_MODELS = 3
"""A line through two models leaves no residual: fewer that differ are not told apart from it."""


def models_table(models: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of `models` (name, texts, clean, corrupted, ...) with what the line over all of them says.

    Further columns: expected (accuracy on corrupted pictures that the line gives), effective_robustness (corrupted
    minus expected), residual (the same in logits), slope, intercept, state ("" or why there is none). Adapters of equal
    accuracies count as one model; with fewer than LEAST_MODELS there is no line. The models are adapters of one
    encoder, not independent ones: the line says which of them lose more than the others.
    """
    table = pd.DataFrame(models)
    names = [f"{row['name']} {row['texts']}" for row in models]
    table_of_models, line = effective_robustness(names, table["clean"], table["corrupted"])
    columns = ["expected", "effective_robustness", "residual"]
    table = table.assign(
        **{name: table_of_models[name].to_numpy() for name in columns},
        slope=line.slope,
        intercept=line.intercept,
        state=table_of_models["state"].to_numpy(),
    )
    different = len(table.loc[table_of_models["baseline"].to_numpy(), ["clean", "corrupted"]].drop_duplicates())
    if different < LEAST_MODELS:
        table[[*columns, "slope", "intercept"]] = np.nan
        table["state"] = f"no line: models of different accuracy must be at least {LEAST_MODELS}; there are {different}"
    return table


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceModel:
    """A probe fitted on `rows` train pictures, a `share` of those of a `source`."""

    source: str
    share: float
    rows: int
    adapter: Adapter


def source_tables(models: Sequence[SourceModel], measures: Sequence[Mapping[str, float]]) -> dict[str, pd.DataFrame]:
    """`sources` and `source_lines`, from the `measures` of each model: clean and corrupted, with their intervals.

    `sources`, a row per model: source, share, rows, the measures, and expected, effective_robustness, residual and
    state of a line through all of them. `source_lines`, a row per source: its own line (`lines_per_source`), and the
    mean effective_robustness of its models. Without a line these are NaN, and `state` says why.
    """
    if not models:
        return {}
    table = pd.DataFrame(
        [
            {"source": model.source, "share": model.share, "rows": model.rows, **row}
            for model, row in zip(models, measures, strict=True)
        ]
    )
    names = [f"{model.source} {model.share:g}" for model in models]
    robust, _ = effective_robustness(names, table["clean"], table["corrupted"])
    for name in ("expected", "effective_robustness", "residual", "state"):
        table[name] = robust[name].to_numpy()
    lines = lines_per_source(table["source"].tolist(), table["clean"], table["corrupted"])
    means = table.groupby("source")["effective_robustness"].mean()
    return {"sources": table, "source_lines": lines.assign(effective_robustness=lines["source"].map(means))}
