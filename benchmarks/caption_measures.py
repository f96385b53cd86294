"""Captions before and after a choice, held against the truth: shares with 95 % intervals by groups of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.measures.bootstrap import (
    Interval,
    bootstrap_accuracy,
    group_draws,
    group_numbers,
    percentile_interval,
)

SEED = 20261124
_UNKNOWN = (float("nan"), float("nan"))
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A caption held against what its picture shows: objects named, named wrongly, and missed; whether it errs."""

    named: int
    wrong: int
    missed: int
    has_error: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """A picture's given and chosen caption, each held against the truth, scored by the first encoder, and judged.

    group: pictures of one are not independent. referenced: RefCLIPScores by the first encoder, judged_referenced by
    the judge, where a true caption is known.
    """

    group: str
    is_changed: bool
    given: Held
    chosen: Held
    scores: tuple[float, float]
    judged: tuple[float, float]
    referenced: tuple[float, float] = _UNKNOWN
    judged_referenced: tuple[float, float] = _UNKNOWN

    @property
    def is_repaired(self) -> bool:
        """Whether the given caption errs, and the chosen one names something rightly and nothing wrongly."""
        return self.given.has_error and not self.chosen.has_error and self.chosen.named > 0

    @property
    def is_worse(self) -> bool:
        """Whether the given caption errs not, and the chosen one does or names less."""
        return not self.given.has_error and (self.chosen.has_error or self.chosen.named < self.given.named)


@dataclass(frozen=True, kw_only=True)
class ChangeMeasures:
    """What a choice did to captions.

    precision and recall of the objects that captions name, before and after; f1_gain: of the two together; repaired:
    share of captions that erred; worse: of those that did not; auc: of changed captions, the chance that a chosen one
    has a higher score than a given one, by the encoder that chose and by the judge; gains: mean change of these scores;
    ref_score: mean RefCLIPScore before and after, of all pictures.
    """

    n: int
    changed: int
    erred: int
    precision: tuple[Interval, Interval]
    recall: tuple[Interval, Interval]
    f1_gain: Interval
    repaired: Interval
    worse: Interval
    score_auc: Interval
    judge_auc: Interval
    score_gain: Interval
    judge_gain: Interval
    ref_score: tuple[Interval, Interval]
    judged_ref_score: tuple[Interval, Interval]


def measure_changes(changes: Sequence[Change]) -> ChangeMeasures:
    """The measures of some pictures' captions."""
    given, chosen = ([getattr(one, side) for one in changes] for side in ("given", "chosen"))
    before, after = _counts(given), _counts(chosen)
    is_changed = np.array([one.is_changed for one in changes])
    groups = [one.group for one in changes]
    changed = [one for one in changes if one.is_changed]

    def share(*parts: object, of: Callable[[Floats], Floats] = _first_of_second) -> Interval:
        return ratio_interval(np.column_stack(parts), groups, of)

    def gain(side: str) -> Interval:
        values = np.array([getattr(one, side)[1] - getattr(one, side)[0] for one in changes])
        return share(np.where(is_changed, values, 0.0), is_changed)

    def means(side: str) -> tuple[Interval, Interval]:
        before, after = (np.array([getattr(one, side)[place] for one in changes]) for place in (0, 1))
        return share(before, np.ones(len(changes))), share(after, np.ones(len(changes)))

    return ChangeMeasures(
        n=len(changes),
        changed=len(changed),
        erred=sum(one.given.has_error for one in changes),
        precision=(share(before, of=_precision), share(after, of=_precision)),
        recall=(share(before, of=_recall), share(after, of=_recall)),
        f1_gain=share(before, after, of=lambda sums: _f1(sums[:, 3:]) - _f1(sums[:, :3])),
        repaired=_share_of([one for one in changes if one.given.has_error], lambda one: one.is_repaired),
        worse=_share_of([one for one in changes if not one.given.has_error], lambda one: one.is_worse),
        score_auc=change_auc(changed, "scores"),
        judge_auc=change_auc(changed, "judged"),
        score_gain=gain("scores"),
        judge_gain=gain("judged"),
        ref_score=means("referenced"),
        judged_ref_score=means("judged_referenced"),
    )


def f1_gain(changes: Sequence[Change]) -> float:
    """How much the F1 of named objects rises by the choice."""
    before, after = (_counts([getattr(one, side) for one in changes]).sum(axis=0) for side in ("given", "chosen"))
    return float(_f1(after[None])[0] - _f1(before[None])[0])


def _first_of_second(sums: Floats) -> Floats:
    return _divided(sums[:, 0], sums[:, 1])


def ratio_interval(
    values: Floats, groups: Sequence[str], of: Callable[[Floats], Floats] = _first_of_second
) -> Interval:
    """What `of` makes of the sums of the columns of `values` (n, k), with its interval over resampled groups.

    Without `of`, the sum of the first column over that of the second.
    """
    numbers = group_numbers(groups, n_rows=len(values))
    n_groups = int(numbers.max(initial=-1)) + 1
    sums = np.stack([np.bincount(numbers, weights=column, minlength=n_groups) for column in values.T], axis=1)
    estimate = float(of(sums.sum(axis=0)[None])[0])
    if n_groups < 2:
        return Interval(estimate, float("nan"), float("nan"))
    return percentile_interval(estimate, np.concatenate([of(drawn @ sums) for drawn in group_draws(n_groups, SEED)]))


def auc_interval(
    higher: Sequence[float], lower: Sequence[float], higher_groups: Sequence[str], lower_groups: Sequence[str]
) -> Interval:
    """The chance that a value of `higher` is larger than one of `lower`, ties half, with its interval over groups."""
    if not higher or not lower:
        return Interval(float("nan"), float("nan"), float("nan"))
    numbers = group_numbers([*higher_groups, *lower_groups], n_rows=len(higher) + len(lower))
    of_higher, of_lower = np.split(numbers, [len(higher)])
    n_groups = int(numbers.max()) + 1
    wins = np.zeros((n_groups, n_groups))
    larger = np.sign(np.array(higher)[:, None] - np.array(lower)[None]) / 2 + 0.5
    np.add.at(wins, (of_higher[:, None], of_lower[None]), larger)
    sizes = [np.bincount(of, minlength=n_groups).astype(np.float64) for of in (of_higher, of_lower)]
    estimate = float(wins.sum() / (len(higher) * len(lower)))
    if n_groups < 2:
        return Interval(estimate, float("nan"), float("nan"))
    replicates = [
        _divided(((drawn @ wins) * drawn).sum(axis=1), (drawn @ sizes[0]) * (drawn @ sizes[1]))
        for drawn in group_draws(n_groups, SEED)
    ]
    replicated = np.concatenate(replicates)
    return percentile_interval(estimate, replicated[~np.isnan(replicated)])


def change_auc(changes: Sequence[Change], side: str) -> Interval:
    """The chance that a chosen caption has a higher score (`scores` or `judged`) than a given one, ties half."""
    pairs, groups = [getattr(one, side) for one in changes], [one.group for one in changes]
    return auc_interval([after for _, after in pairs], [before for before, _ in pairs], groups, groups)


def _share_of(changes: Sequence[Change], is_so: Callable[[Change], bool]) -> Interval:
    return bootstrap_accuracy([is_so(one) for one in changes], seed=SEED, groups=[one.group for one in changes])


def _counts(held: Sequence[Held]) -> Floats:
    return np.array([[one.named, one.wrong, one.missed] for one in held], dtype=np.float64).reshape(-1, 3)


def _precision(sums: Floats) -> Floats:
    return _divided(sums[:, 0], sums[:, 0] + sums[:, 1])


def _recall(sums: Floats) -> Floats:
    return _divided(sums[:, 0], sums[:, 0] + sums[:, 2])


def _f1(sums: Floats) -> Floats:
    return _divided(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])


def _divided(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
