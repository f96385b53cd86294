"""An effect: what a method gains over its rival on the same rows, its interval over groups, and the verdict.

An arm is a method, its rival, its control or its ceiling, given as a function of the weights of the groups: the same
resamples of the groups for all arms, so that differences are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, erfc, sqrt
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import Interval, group_draws, percentile_interval
from evenly.adapters.evaluation.measures.paired import holm
from evenly.adapters.features import Floats, Integers

Arm: TypeAlias = Callable[[Floats], Floats]
"""Weights of groups (r, g) to the measure under each of them (r,)."""
Verdict = Literal["shown", "likely", "not shown", "refuted"]
ALPHA = 0.05
_SURE, _POWER = 1.959964, 0.841621
"""Standard normal quantiles of a two-sided 5 % and of a power of 80 %."""


@dataclass(frozen=True, kw_only=True)
class PairedArms:
    """A method and its rival judged on the same rows of `n_groups` groups under one seed.

    control: what should gain nothing, such as permuted texts. ceiling: what no method of this input can exceed.
    """

    method: Arm
    rival: Arm
    n_groups: int
    control: Arm | None = None
    ceiling: Arm | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Means over the seeds of method and rival; gain of the method, and of the control, over the rival.

    over_control: gain of the method over the control. seeds: the least and largest gain of a seed. p_value: of no gain,
    two-sided, by the normal approximation with the bootstrap's standard error; `p_holm` adjusted for all claims of a
    table. deciding: the groups with which an effect of this size would be seen four times in five; None where the gain
    is 0 or has no interval.
    """

    value: float
    rival_value: float
    gain: Interval
    seeds: tuple[float, float]
    n_groups: int
    p_value: float
    deciding: int | None
    control_gain: Interval | None = None
    over_control: Interval | None = None
    ceiling_value: float | None = None
    p_holm: float = 1.0
    verdict: Verdict = "not shown"


def mean_arm(values: npt.ArrayLike, groups: Integers, *, n_groups: int) -> Arm:
    """The mean of `values` (n,) over rows whose groups are numbered `groups` (n,)."""
    return worst_arm(values, groups, np.zeros(len(groups), dtype=np.int64), n_groups=n_groups)


def worst_arm(values: npt.ArrayLike, groups: Integers, cells: Integers, *, n_groups: int) -> Arm:
    """The least of the means of `values` (n,) in each cell, numbered `cells` (n,), of those that a resample has."""
    numbers = np.asarray(values, dtype=np.float64)
    n_cells = int(cells.max(initial=0)) + 1
    places = groups * n_cells + cells
    shape = (n_groups, n_cells)
    sums = np.bincount(places, numbers, minlength=n_groups * n_cells).reshape(shape)
    sizes = np.bincount(places, minlength=n_groups * n_cells).reshape(shape).astype(np.float64)

    def arm(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (weights @ sums) / (weights @ sizes)
        return np.asarray(np.nanmin(means, axis=1), dtype=np.float64)

    return arm


def auroc_arm(known: Floats, known_groups: Integers, unknown: Floats, unknown_groups: Integers) -> Arm:
    """The area under the ROC curve of scores, higher for known rows; groups weigh the rows of both."""
    less = (unknown[:, None] < known).astype(np.float64) + 0.5 * (unknown[:, None] == known)

    def arm(weights: Floats) -> Floats:
        of_unknown, of_known = weights[:, unknown_groups], weights[:, known_groups]
        pairs = of_unknown.sum(axis=1) * of_known.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((of_unknown @ less) * of_known).sum(axis=1) / pairs, dtype=np.float64)

    return arm


def harmonic_arm(first: Arm, second: Arm) -> Arm:
    """The harmonic mean of two arms, such as of the accuracies of two kinds of classes; 0 where both are 0."""

    def arm(weights: Floats) -> Floats:
        shares = first(weights), second(weights)
        return np.asarray(2 * shares[0] * shares[1] / np.maximum(shares[0] + shares[1], np.finfo(float).tiny))

    return arm


def effect_of(by_seed: Sequence[PairedArms], *, seed: int) -> Effect:
    """The effect over the comparisons of several seeds, which have the same groups; without a verdict.

    Raises SplitError without two groups, or where the seeds have different ones.
    """
    n_groups = by_seed[0].n_groups
    if n_groups < 2 or any(pair.n_groups != n_groups for pair in by_seed):
        raise SplitError(
            f"`groups` must be the same of every seed, two or more; got {[pair.n_groups for pair in by_seed]}. "
            "Judge on one test part."
        )
    method, rival = (_values([getattr(pair, name) for pair in by_seed], n_groups, seed) for name in ("method", "rival"))
    gains = method - rival
    gain = _interval(gains)
    error = float(np.nanstd(gains[:, 1:].mean(axis=0), ddof=1))
    by_chance = erfc(abs(gain.estimate) / error / sqrt(2)) if error else float(gain.estimate == 0)
    needed = ceil(n_groups * ((_SURE + _POWER) * error / gain.estimate) ** 2) if gain.estimate else None
    effect = Effect(
        value=float(method[:, 0].mean()),
        rival_value=float(rival[:, 0].mean()),
        gain=gain,
        seeds=(float(gains[:, 0].min()), float(gains[:, 0].max())),
        n_groups=n_groups,
        p_value=by_chance,
        deciding=needed,
    )
    controls = [pair.control for pair in by_seed if pair.control is not None]
    if controls:
        control = _values(controls, n_groups, seed)
        effect = replace(effect, control_gain=_interval(control - rival), over_control=_interval(method - control))
    ceilings = [pair.ceiling for pair in by_seed if pair.ceiling is not None]
    if ceilings:
        effect = replace(effect, ceiling_value=float(_values(ceilings, n_groups, seed)[:, 0].mean()))
    return effect


def with_verdicts(effects: Sequence[Effect]) -> list[Effect]:
    """The effects of a table with their verdicts, p values adjusted for all of them by Holm.

    "shown": a gain at the adjusted 5 %, over the control as well where there is one. "likely": an interval above 0, and
    not shown. "refuted": an interval below 0. "not shown": all else.
    """
    adjusted = holm([effect.p_value for effect in effects])
    return [
        replace(effect, p_holm=float(p_holm), verdict=_verdict(effect, float(p_holm)))
        for effect, p_holm in zip(effects, adjusted, strict=True)
    ]


def _verdict(effect: Effect, p_holm: float) -> Verdict:
    if effect.gain.high < 0:
        return "refuted"
    if not effect.gain.low > 0:
        return "not shown"
    beats_control = effect.over_control is None or effect.over_control.low > 0
    return "shown" if p_holm <= ALPHA and beats_control else "likely"


def _values(arms: Sequence[Arm], n_groups: int, seed: int) -> Floats:
    """Each arm (s,) under the weights of the rows themselves, then of each resample: (s, 1 + r)."""
    uniform = np.ones((1, n_groups))
    return np.stack(
        [np.concatenate([arm(weights) for weights in (uniform, *group_draws(n_groups, seed))]) for arm in arms]
    )


def _interval(differences: Floats) -> Interval:
    means = differences.mean(axis=0)
    return percentile_interval(float(means[0]), means[1:])
