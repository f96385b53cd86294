"""Audit of descriptions: accuracy with them against shuffled and random texts, and what the gap shows of meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, Interval, bootstrap_accuracy, paired_bootstrap
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.vcd import Aggregate, DescribedClasses

NAMES, REAL, SHUFFLED, RANDOM = "names", "real", "shuffled", "random"
CAPTIONS, SELECTED, SELECTED_RANDOM = "captions", "selected", "selected at random"
_DIFFERENCES = ((REAL, NAMES), (REAL, SHUFFLED), (REAL, RANDOM), (SELECTED, CAPTIONS), (SELECTED, SELECTED_RANDOM))


@dataclass(frozen=True, kw_only=True, eq=False)
class DescriptionAudit:
    """The result of `compare_texts_and_controls`.

    `accuracies`: texts, draws, accuracy (mean over the draws), low, high (95 %, resampling groups), lowest, highest (of
    the draws). `differences`: texts, minus, difference (accuracy of the first minus that of the second), low, high,
    paired. `finding` is meaning, ensembling, none or harm; `verdict` says it in a sentence, with intervals.
    """

    accuracies: pd.DataFrame
    differences: pd.DataFrame
    finding: str
    verdict: str


def rightly_classified(
    features: Features, labels: Integers, texts: Sequence[Floats], *, aggregate: Aggregate
) -> npt.NDArray[np.bool_]:
    """Whether each image (n,) is nearest to the texts of its own class.

    `features` with the prototypes (c, d) of the names; `texts`: the vectors (t, d) of each class's texts, in class
    order; a class without any has its prototype. `aggregate` says how the texts of a class count together.
    """
    owners = np.repeat(np.arange(len(texts)), [len(vectors) for vectors in texts])
    described = replace(
        features,
        class_texts=np.concatenate([vectors.reshape(-1, features.dimension) for vectors in texts]),
        class_text_labels=owners,
    )
    return np.asarray(DescribedClasses(aggregate=aggregate).fit(described, labels).predict(described) == labels)


def compare_texts_and_controls(
    correct: Mapping[str, npt.ArrayLike],
    *,
    seed: int,
    groups: Sequence[object] | npt.NDArray[np.str_] | None = None,
    n: int = REPLICATES,
) -> DescriptionAudit:
    """Differences and intervals of the rows that each kind of texts classifies rightly, (n,) or (draws, n) of 0 and 1.

    `correct` holds at least names, real, shuffled and random, all on the same test rows; kinds that are drawn have a
    line per draw, of which the mean per row is compared. Selected texts, which learn from train pictures, are held
    against captions ("a photo of a {}"), by which neighbourhoods are made. Intervals resample whole `groups` (n,).
    """
    missing = [kind for kind in (NAMES, REAL, SHUFFLED, RANDOM) if kind not in correct]
    if missing:
        raise MissingFeaturesError(
            f"`correct` must hold {NAMES}, {REAL}, {SHUFFLED} and {RANDOM}; got none for {', '.join(missing)}. "
            "Judge the same rows with these texts as well."
        )
    draws = {kind: np.atleast_2d(np.asarray(values, dtype=np.float64)) for kind, values in correct.items()}
    means = {kind: values.mean(axis=0) for kind, values in draws.items()}
    intervals = {
        (kind, reference): paired_bootstrap(means[reference], means[kind], groups=groups, seed=seed, n=n)
        for kind, reference in _DIFFERENCES
        if kind in means and reference in means
    }
    finding, verdict = _verdict(intervals)
    return DescriptionAudit(
        accuracies=pd.DataFrame(
            [
                {
                    "texts": kind,
                    "draws": len(values),
                    **_columns("accuracy", bootstrap_accuracy(means[kind], groups=groups, seed=seed, n=n)),
                    "lowest": values.mean(axis=1).min() if values.size else float("nan"),
                    "highest": values.mean(axis=1).max() if values.size else float("nan"),
                }
                for kind, values in draws.items()
            ]
        ),
        differences=pd.DataFrame(
            [
                {"texts": kind, "minus": reference, **_columns("difference", interval)}
                for (kind, reference), interval in intervals.items()
            ]
        ),
        finding=finding,
        verdict=verdict,
    )


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, "low": interval.low, "high": interval.high}


def _verdict(intervals: Mapping[tuple[str, str], Interval]) -> tuple[str, str]:
    """A word and a sentence on real against shuffled texts, then on real texts against names."""
    shuffled, names = intervals[REAL, SHUFFLED], intervals[REAL, NAMES]
    random = f"against random words {_shown(intervals[REAL, RANDOM])}"
    if np.isnan(shuffled.low):
        return "none", "nothing is shown: fewer than two test groups allow no interval"
    if shuffled.high < 0:
        return "harm", (
            f"the descriptions mislead: they do worse than the same texts shuffled between classes, {_shown(shuffled)}"
        )
    if shuffled.low > 0:
        gain = (
            f"and beat the class names, {_shown(names)}"
            if names.low > 0
            else f"but do worse than the class names alone, {_shown(names)}"
            if names.high < 0
            else f"but no gain over the class names is shown, {_shown(names)}"
        )
        return "meaning", (
            f"the descriptions carry meaning: they beat the same texts shuffled between classes, {_shown(shuffled)}, "
            f"{gain}; {random}"
        )
    if names.low > 0:
        return "ensembling", (
            f"the gain is only an ensembling effect: real descriptions beat the class names, {_shown(names)}, but not "
            f"the same texts shuffled between classes, {_shown(shuffled)}; {random}"
        )
    loss = "the descriptions make it worse" if names.high < 0 else "no gain is shown"
    return "none", (
        f"{loss}: against the class names {_shown(names)}, against the same texts shuffled between classes "
        f"{_shown(shuffled)}; {random}"
    )


def _shown(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
