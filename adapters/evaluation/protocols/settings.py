"""Settings of a recipe against one another: heads trained on the pairs of each, judged on the same held-out pairs.

Each half of the groups of these pairs chooses a setting, and the other half says what that gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import Interval, difference_columns
from evenly.adapters.evaluation.measures.paired import SplitAnswers, cross_fit
from evenly.adapters.features import Floats, Integers, Strings

RECIPE, RANDOM = "the recipe", "random pairs of the build's pool"


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """A way to choose pairs, and what heads trained on them find: `correct` of the queries of all splits (n,).

    queries: held-out captions and pictures, each at R@1 and R@10. groups and splits (n,): that of each. available and
    trained: pairs of a split, in the mean.
    """

    name: str
    available: int
    trained: int
    correct: Floats
    groups: Strings
    splits: Integers


def compare_arms(arms: Sequence[Arm], *, seed: int) -> dict[str, Any]:
    """Every arm beside the recipe, which is the first; the settings that the halves of the groups choose, and the gain.

    choices: the setting that each half finds best; chosen: that of both, None where they differ. gain and
    against_random: how many more queries the choices find than the recipe, and than random pairs (`CrossFit`).
    """
    names = [arm.name for arm in arms]
    settings = [place for place, name in enumerate(names) if name not in {RECIPE, RANDOM}]
    answers = SplitAnswers(
        correct=np.stack([arm.correct for arm in arms]), groups=arms[0].groups, splits=arms[0].splits
    )
    rivals = [0, *(place for place, name in enumerate(names) if name == RANDOM)]
    result = cross_fit(answers, settings or [0], rivals, seed=seed)
    rows = [
        {"pairs": arm.name, "available": arm.available, "trained": arm.trained, "value": round(value, 4)}
        | difference_columns(difference)
        for arm, value, difference in zip(arms, result.values, result.differences, strict=True)
    ]
    if not settings:
        return {"rows": rows, "choices": [], "chosen": None, "gain": None, "verdict": "no setting could be judged."}
    (gain, *against), choices = result.gains, [names[place] for place in result.choices]
    return {
        "rows": rows,
        "choices": choices,
        "chosen": choices[0] if choices[0] == choices[1] else None,
        "gain": difference_columns(gain),
        "against_random": difference_columns(against[0]) if against else None,
        "verdict": _verdict(choices, gain, against),
    }


def _verdict(choices: Sequence[str], gain: Interval, against: Sequence[Interval]) -> str:
    first, second = choices
    if not gain.low > 0:
        chosen = (
            f"{first}, which both halves of the held-out groups choose,"
            if first == second
            else f"{first} or {second}, as the halves choose,"
        )
        return f"nothing beats the recipe: {chosen} differs by {_words(gain)}."
    verdict = f"{first} beats the recipe by {_words(gain)}"
    if first != second:
        verdict = f"{first} or {second} beats the recipe, and which is not shown: chosen by halves, by {_words(gain)}"
    if all(rival.low > 0 for rival in against):
        return f"{verdict}."
    return f"{verdict}, but not as many random pairs: {_words(against[0])}."


def _words(interval: Interval) -> str:
    if np.isnan(interval.low):
        return f"{interval.estimate:+.3f}, without an interval"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
