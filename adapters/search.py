"""Choosing hyper-parameters on validation data. Nothing here can receive test data.

A grid of up to FULL_GRID points is tried whole. A larger one (TIP-X publishes 200,000 points, CapS 2.2 million) is
searched coarse to fine: each axis is thinned by one power of two until the product fits, the best point is found, then
the stride is halved and the neighbours of the best point at that stride are tried, again and again until none is
better, down to stride 1. What is tried is on the curve; what is skipped is its complement.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from evenly.adapters.contract import Adapter, Grid
from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Integers, LabelledFeatures, checked_labels
from evenly.adapters.folds import RANK_DIGITS, Fold, folds_of, judging_rows, reciprocal_ranks
from evenly.adapters.methods.zero_shot import ZeroShot

FULL_GRID = 5000
"""Most points that are tried without thinning: Tip-Adapter's published 4,000 are."""
BISECTION_WIDTH = 1.0
"""Decades to either side of the grid's peak where a binary search starts (CoOp's linear probe)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A fitted adapter with the values that validation chose, and how.

    `curve` has one row per point tried, in order: the parameters, `stage` ("grid", "refine" or "bisect"),
    `validation_accuracy`. `chosen` is empty where nothing was to be chosen or the guard kept zero-shot, in which case
    `adapter` is a ZeroShot and `kept_zero_shot` true. Accuracies are in 0 to 1, NaN without validation rows;
    `best_accuracy` is the best point's, `validation_accuracy` that of `adapter`. They are of `validation_rows` rows:
    with few labels those of train are among them, as `folds_of` says. `why` says the choice in words.
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
    train: LabelledFeatures,
    validation: LabelledFeatures,
    grid: Grid | None = None,
    fixed: Mapping[str, Any] | None = None,
    guard: bool = True,
    fits: dict[Any, Adapter] | None = None,
) -> Tuned:
    """Fit `adapter` on train at each point of `grid` (None: its own) and keep the best on validation.

    Top-1 accuracy decides, or the loss that the adapter is `chosen_by`; of equal points the first tried wins. With few
    labels the rows of train judge too, by fits on validation (see `folds_of`), and of equal points that of the largest
    mean reciprocal rank wins. Parameters that act after `fit` vary fastest and share one fit, which is calibrated on
    the rows that judge (no labels). `fixed` sets parameters that are not searched. With `guard`, zero-shot with the
    same prototypes is kept unless the best point beats it, and is not below it on validation alone, or a loss chooses.
    Without validation rows nothing is searched: the defaults are fitted. `fits` holds fits on these very train rows by
    their parameters, and gets the new ones: hand it in again where only the validation rows are others.
    """
    settings = dict(fixed or {})
    n_classes = len(train.features.required_prototypes(adapter=adapter.__name__))
    train, validation = (_checked(part, n_classes) for part in (train, validation))
    folds = folds_of(adapter, train=train, validation=validation, fits={} if fits is None else fits)
    search = _Search(adapter=adapter, folds=folds, fixed=settings)
    open_grid = adapter.open_grid(settings) if grid is None else grid
    search.run(open_grid if search.n_rows else Grid())
    zero_shot = ZeroShot(logit_scale=settings.get("logit_scale", 100.0)).fit(train.features, train.labels)
    right = [zero_shot.correct_counts(fold.judging.features, fold.judging.labels, [{}])[0] for fold in folds]
    baseline = float(sum(right) / (search.n_rows or np.nan))
    gains = search.best_accuracy > baseline and search.best_right >= right[0]
    learns_beside = bool(adapter.chosen_by) and not search.best_adapter().fallback_
    kept = guard and adapter is not ZeroShot and not learns_beside and not gains
    if kept and "zero-shot:" in search.best_adapter().fallback_:
        zero_shot.fallback_ = search.best_adapter().fallback_  # it never was the method: more than a lost comparison
    return Tuned(
        adapter=zero_shot if kept else search.best_adapter(),
        chosen={} if kept else search.best_point,
        curve=pd.DataFrame(search.curve),
        validation_accuracy=baseline if kept else search.best_accuracy,
        best_accuracy=search.best_accuracy,
        zero_shot_accuracy=baseline,
        validation_rows=search.n_rows,
        kept_zero_shot=kept,
        why=_why(search, baseline=baseline, kept=kept),
    )


@dataclass(kw_only=True)
class _Search:
    """One search under way: the curve so far and the best point's fit.

    Of the best point: its accuracy and reciprocal ranks, or minus its loss, on all rows that judge, its right rows of
    validation alone.
    """

    adapter: type[Adapter]
    folds: tuple[Fold, ...]
    fixed: Mapping[str, Any]
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_accuracy: float = float("nan")
    best_right: int = 0
    best_ranks: float = float("nan")
    best_point: dict[str, Any] = field(default_factory=dict)
    best_fit: Adapter | None = None
    best_place: tuple[int, ...] = ()
    tried: set[tuple[int, ...]] = field(default_factory=set)

    @cached_property
    def n_rows(self) -> int:
        """The number of rows that judge."""
        return sum(len(fold.judging.labels) for fold in self.folds)

    def run(self, grid: Grid) -> None:
        """Try the grid, whole or coarse to fine, then bisect around its peak."""
        axes = {name: list(values) for name, values in grid.parameters.items()}
        # Late parameters vary fastest: the points of one fit stand together.
        names = sorted(axes, key=lambda name: name in self.adapter.decided_late)
        stride = _stride([len(values) for values in axes.values()])
        places = list(itertools.product(*(range(0, len(axes[name]), stride) for name in names)))
        self._try_places(axes, names, places, stage="grid")
        while stride > 1:
            stride //= 2
            self._climb(axes, names, stride)
        if grid.bisect is not None:
            self._bisect(grid.bisect, grid.steps)

    def best_adapter(self) -> Adapter:
        """The fit of the best point, set to it."""
        if self.best_fit is None:  # a grid with an empty axis has no point
            raise ParameterError("`grid` must hold at least one value per parameter; got an empty one. Add a value.")
        return self.best_fit.set_params(**self.best_point)

    def _climb(self, axes: Mapping[str, list[Any]], names: list[str], stride: int) -> None:
        """Try the neighbours of the best place at this stride until none of them is better."""
        centre = None
        while self.best_place != centre:
            centre = self.best_place
            ranges = [
                [place for place in (middle - stride, middle, middle + stride) if 0 <= place < len(axes[name])]
                for name, middle in zip(names, centre, strict=True)
            ]
            new = [places for places in itertools.product(*ranges) if places not in self.tried]
            self._try_places(axes, names, new, stage="refine")

    def _try_places(
        self, axes: Mapping[str, list[Any]], names: list[str], places: Sequence[tuple[int, ...]], *, stage: str
    ) -> None:
        """Try points given as positions on the axes, one fit per run of equal early values."""
        early = [name for name in names if name not in self.adapter.decided_late]
        for _, group in itertools.groupby(places, key=lambda place: place[: len(early)]):
            run = list(group)
            points = [{name: axes[name][index] for name, index in zip(names, place, strict=True)} for place in run]
            self._try({name: points[0][name] for name in early}, points, stage=stage, places=run)
        self.tried.update(places)

    def _try(
        self,
        early: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]],
        *,
        stage: str,
        places: Sequence[tuple[int, ...]] | None = None,
    ) -> float:
        """Fit once at `early`, record each of `points`, and return the best accuracy among them."""
        late = [{name: value for name, value in point.items() if name not in early} for point in points]
        fitted = [self._fitted(fold, {**self.fixed, **early}) for fold in self.folds]
        judged = [(fit, fold.judging) for fit, fold in zip(fitted, self.folds, strict=True)]
        right = [fit.correct_counts(rows.features, rows.labels, late) for fit, rows in judged]
        counts = np.sum(right, axis=0)
        accuracies = counts / (self.n_rows or np.nan)
        self.curve += (
            {**point, "stage": stage, "validation_accuracy": float(accuracy)}
            for point, accuracy in zip(points, accuracies, strict=True)
        )
        best, ranks = int(np.argmax(counts)), 0.0
        if named := self.adapter.chosen_by:
            losses = np.sum([fit.losses(rows.features, rows.labels, late) for fit, rows in judged], axis=0)
            best = int(np.argmin(np.round(losses, RANK_DIGITS)))
            ranks = -float(np.round(losses[best], RANK_DIGITS))
            for row, loss in zip(self.curve[-len(points) :], losses, strict=True):
                row[named] = float(loss / (self.n_rows or np.nan))
        elif len(self.folds) > 1 and not accuracies[best] < self.best_accuracy:
            best, ranks = _of_best_ranks(judged, late, np.flatnonzero(counts == counts[best]))
        if self.best_fit is None or (accuracies[best], ranks) > (self.best_accuracy, self.best_ranks):
            self.best_accuracy, self.best_ranks, self.best_point = float(accuracies[best]), ranks, dict(points[best])
            self.best_fit, self.best_place = fitted[0], places[best] if places else ()
            self.best_right = int(right[0][best])
        return float(accuracies[best])

    def _fitted(self, fold: Fold, parameters: Mapping[str, Any]) -> Adapter:
        """A fit at these parameters of its own, calibrated, to be set; what it learned is shared."""
        key = tuple(sorted(parameters.items()))
        if key not in fold.fits:
            fold.fits[key] = self.adapter().set_params(**parameters).fit(fold.train.features, fold.train.labels)
        return copy(fold.fits[key]).calibrate(fold.judging.features)

    def _bisect(self, name: str, steps: int) -> None:
        """Halve the two decades around the peak `steps` times towards the better end; the lower end wins a tie."""
        accuracies: dict[float, float] = {}

        def accuracy(exponent: float) -> float:
            if exponent not in accuracies:
                accuracies[exponent] = self._try(point := {**peak, name: 10.0**exponent}, [point], stage="bisect")
            return accuracies[exponent]

        peak = dict(self.best_point)
        centre = float(np.log10(peak[name]))
        low, high = centre - BISECTION_WIDTH, centre + BISECTION_WIDTH
        for _ in range(steps):
            middle = (low + high) / 2
            low, high = (middle, high) if accuracy(low) < accuracy(high) else (low, middle)


def _checked(rows: LabelledFeatures, n_classes: int) -> LabelledFeatures:
    return replace(rows, labels=checked_labels(rows.labels, n=len(rows.features), n_classes=n_classes))


def _of_best_ranks(
    judged: Sequence[tuple[Adapter, LabelledFeatures]], points: Sequence[Mapping[str, Any]], places: Integers
) -> tuple[int, float]:
    """The first of `places` whose point has the largest sum of reciprocal ranks of the rows, and that sum."""
    tied = [points[place] for place in places]
    sums = np.zeros(len(tied))
    for fit, rows in judged:
        sums += [reciprocal_ranks(logits, rows.labels) for logits in fit.sweep(rows.features, tied)]
    best = int(np.argmax(np.round(sums, RANK_DIGITS)))
    return int(places[best]), float(np.round(sums[best], RANK_DIGITS))


def _stride(lengths: Sequence[int]) -> int:
    """The smallest power of two that thins axes of these lengths to a product of at most FULL_GRID points."""
    stride = 1
    while math.prod(-(-length // stride) for length in lengths) > FULL_GRID:
        stride *= 2
    return stride


def _why(search: _Search, *, baseline: float, kept: bool) -> str:
    if not search.n_rows:
        return "zero-shot kept: no validation rows" if kept else "defaults: no validation rows"
    rows = f"on {judging_rows(search.folds)}"
    if kept:
        but = ", but below it on validation alone" * (search.best_accuracy > baseline)
        return f"zero-shot kept: best point {search.best_accuracy:.4f}, zero-shot {baseline:.4f} {rows}{but}"
    if search.adapter is ZeroShot:
        return f"nothing to choose: {baseline:.4f} {rows}"
    named = f" by {search.adapter.chosen_by}" * bool(search.adapter.chosen_by)
    return f"best of {len(search.curve)} points{named}: {search.best_accuracy:.4f}, zero-shot {baseline:.4f} {rows}"
