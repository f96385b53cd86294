"""Choosing hyper-parameters on validation data. Nothing here can receive test data."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from adapters.contract import Adapter, Grid
from adapters.errors import ParameterError
from adapters.features_record import Features, Floats, Integers, checked_labels
from adapters.methods.zero_shot import ZeroShot

BISECTION_WIDTH = 1.0
"""Decades to either side of the grid's peak where a binary search starts (CoOp's linear probe)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A fitted adapter with the values that validation chose, and how.

    `curve` has one row per point tried, in order: the parameters, `stage` ("grid" or "bisect"),
    `validation_accuracy`. `chosen` is empty where nothing was to be chosen or the guard kept zero-shot, in which case
    `adapter` is a ZeroShot and `kept_zero_shot` true. Accuracies are in 0 to 1, NaN without validation rows;
    `best_accuracy` is the best point's, `validation_accuracy` that of `adapter`. `why` says the choice in words.
    """

    adapter: Adapter
    chosen: Mapping[str, Any]
    curve: pd.DataFrame
    validation_accuracy: float
    best_accuracy: float
    zero_shot_accuracy: float
    validation_rows: int
    kept_zero_shot: bool
    why: str


def tune(
    adapter: type[Adapter],
    *,
    train: Features,
    train_labels: Integers,
    validation: Features,
    validation_labels: Integers,
    grid: Grid | None = None,
    fixed: Mapping[str, Any] | None = None,
    guard: bool = True,
) -> Tuned:
    """Fit `adapter` on train at each point of `grid` (None: its published one) and keep the best on validation.

    Top-1 accuracy decides; of equal points the first tried wins. Parameters that act after `fit` vary fastest and
    share one fit. `fixed` sets parameters that are not searched. With `guard`, zero-shot with the same prototypes is
    kept unless the best point beats it. Without validation rows nothing is searched: the defaults are fitted.
    """
    settings = dict(fixed or {})
    search = _Search(
        adapter=adapter,
        train=train,
        train_labels=train_labels,
        validation=validation,
        labels=checked_labels(
            validation_labels, n=len(validation), n_classes=len(train.required_prototypes(by=adapter.__name__))
        ),
        fixed=settings,
    )
    chosen_grid = adapter.grid if grid is None else grid
    search.run(chosen_grid if len(validation) else Grid())
    zero_shot = ZeroShot(logit_scale=settings.get("logit_scale", 100.0)).fit(train, train_labels)
    baseline = _accuracy(zero_shot.decision_function(validation), search.labels)
    kept = guard and adapter is not ZeroShot and not search.best_accuracy > baseline
    return Tuned(
        adapter=zero_shot if kept else search.best_adapter(),
        chosen={} if kept else search.best_point,
        curve=pd.DataFrame(search.curve),
        validation_accuracy=baseline if kept else search.best_accuracy,
        best_accuracy=search.best_accuracy,
        zero_shot_accuracy=baseline,
        validation_rows=len(validation),
        kept_zero_shot=kept,
        why=_why(search, baseline=baseline, kept=kept),
    )


@dataclass(kw_only=True)
class _Search:
    """One search under way: the curve so far and the best point's fit."""

    adapter: type[Adapter]
    train: Features
    train_labels: Integers
    validation: Features
    labels: Integers
    fixed: Mapping[str, Any]
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_accuracy: float = float("nan")
    best_point: dict[str, Any] = field(default_factory=dict)
    best_fit: Adapter | None = None

    def run(self, grid: Grid) -> None:
        """Try the grid, then bisect around its peak."""
        late = [name for name in grid.parameters if name in self.adapter.decided_late]
        early = [name for name in grid.parameters if name not in late]
        for point in _product(grid.parameters, early):
            self._try(point, list(_product(grid.parameters, late)), stage="grid")
        if grid.bisect is not None:
            self._bisect(grid.bisect, grid.steps)

    def best_adapter(self) -> Adapter:
        """The fit of the best point, set to it."""
        if self.best_fit is None:  # a grid with an empty axis has no point
            raise ParameterError("`grid` must hold at least one value per parameter; got an empty one. Add a value.")
        return self.best_fit.set_params(**self.best_point)

    def _try(self, early: Mapping[str, Any], late: list[dict[str, Any]], *, stage: str) -> float:
        """Fit once, record each point of `late`, and return the best accuracy among them."""
        fitted = self.adapter().set_params(**{**self.fixed, **early}).fit(self.train, self.train_labels)
        best = float("nan")
        for point, logits in zip(late, fitted.sweep(self.validation, late), strict=True):
            accuracy = _accuracy(logits, self.labels)
            self.curve.append({**early, **point, "stage": stage, "validation_accuracy": accuracy})
            best = accuracy if not best >= accuracy else best
            if self.best_fit is None or accuracy > self.best_accuracy:
                self.best_accuracy, self.best_point, self.best_fit = accuracy, {**early, **point}, fitted
        return best

    def _bisect(self, name: str, steps: int) -> None:
        """Halve the two decades around the peak `steps` times towards the better end; the lower end wins a tie."""
        known: dict[float, float] = {}

        def accuracy(exponent: float) -> float:
            if exponent not in known:
                known[exponent] = self._try({**peak, name: 10.0**exponent}, [{}], stage="bisect")
            return known[exponent]

        peak = dict(self.best_point)
        centre = float(np.log10(peak[name]))
        low, high = centre - BISECTION_WIDTH, centre + BISECTION_WIDTH
        for _ in range(steps):
            middle = (low + high) / 2
            low, high = (middle, high) if accuracy(low) < accuracy(high) else (low, middle)


def _product(parameters: Mapping[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*(parameters[name] for name in names)):
        yield dict(zip(names, combination, strict=True))


def _accuracy(logits: Floats, labels: Integers) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels)) if len(labels) else float("nan")


def _why(search: _Search, *, baseline: float, kept: bool) -> str:
    if not len(search.labels):
        return "zero-shot kept: no validation rows" if kept else "defaults: no validation rows"
    rows = f"on {len(search.labels)} validation rows"
    if kept:
        return f"zero-shot kept: best point {search.best_accuracy:.4f}, zero-shot {baseline:.4f} {rows}"
    if search.adapter is ZeroShot:
        return f"nothing to choose: {baseline:.4f} {rows}"
    return f"best of {len(search.curve)} points: {search.best_accuracy:.4f}, zero-shot {baseline:.4f} {rows}"
