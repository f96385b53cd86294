"""Settings of a recipe, judged by heads that are trained on the pairs that each would keep.

All are judged on the same held-out pairs. One half of their groups chooses a setting, and the other says what it gains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.adapters.evaluation.measures.bootstrap import Interval, percentile_interval, resampled_means
from evenly.adapters.features import Floats
from evenly.adapters.splits import unit_hash
from evenly.features.errors import RowsError
from evenly.features.refining.pairs import Names, PairRows
from evenly.features.refining.training import TrainingRule
from evenly.keys import places_in
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import BuildSamples
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.refining.measures import ALL_PAIRS, TO_LABEL, correct_of, difference_columns
from evenly.tasks.refining.pairs import GuardedList
from evenly.tasks.refining.worth import HeldOutPairs, Seeds, heads_by_seed, hold_out, rows_to_train
from evenly.tasks.run import Run

RECIPE, RANDOM = "the recipe", "random pairs of the build's pool"
CHOOSES, TESTS = "chooses", "tests"
"""The halves of the held-out groups."""
_BATCHES = 4
"""An epoch of the recipe's pairs has at least so many."""
_MOST_EPOCHS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """The pairs that a recipe would keep by a setting, uid, image_id and caption, and the number of unknown ones."""

    pairs: pa.Table
    unknown: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """A way to choose pairs, and what heads trained on them find: correct (queries, seeds), and their groups.

    queries: held-out captions and pictures, each at R@1 and R@10.
    """

    name: str
    available: int
    trained: int
    correct: Floats
    groups: Names


def judge_settings(
    run: Run,
    manifest: Mapping[str, Any],
    settings: Mapping[str, Setting],
    *,
    lists: Sequence[GuardedList] = (),
    seeds: int,
    training: TrainingRule | None = None,
) -> dict[str, Any]:
    """Heads trained by each setting of a build's recipe, by the recipe itself and on random pairs, and the verdict.

    `rows` of all, `verdict`, the setting that was `chosen` with its `gain`, and `skipped` with the reason.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    held_out = hold_out(run, manifest, lists)
    recipe = held_out.trained
    rule = training or TrainingRule()
    rule = replace(rule, batch_size=min(rule.batch_size, max(2, len(recipe) // _BATCHES)))
    bar = run.progress.bar("tune: heads", (len(settings) + 2) * seeds)
    arms, skipped = list[Arm](), dict[str, str]()
    with threadpool_limits(1), bar as advance:  # as worth does
        trainings = Seeds(run=run, rule=rule, count=len(recipe), numbers=range(1, seeds + 1), advance=advance)
        tables = {name: _labelled(run, manifest, setting.pairs) for name, setting in settings.items()}
        for name, table in {RECIPE: None, RANDOM: _encoded(run, manifest), **tables}.items():
            try:
                pairs = recipe if table is None else rows_to_train(run, table, held_out, name=name)
                arms.append(judge_arm(name, pairs, held_out, trainings))
            except (InputError, RowsError) as error:
                if name == RECIPE:
                    raise
                skipped[name] = str(error)
    about = {name: {"kept": len(one.pairs), "unknown": one.unknown} for name, one in settings.items()}
    result = compare_arms(arms, seed=run.seed)
    rows = [row | about.get(row["pairs"], {}) for row in result["rows"]]
    return {**result, "rows": rows, "seeds": seeds, "trained": len(recipe), "skipped": skipped}


def _labelled(run: Run, manifest: Mapping[str, Any], pairs: pa.Table) -> pa.Table:
    """The pairs that have a picture, with their labels."""
    labels = BuildSamples(run.workspace, manifest).read(["uid", "label"])
    places = places_in(pairs["uid"].combine_chunks(), labels["uid"])
    pairs = pairs.append_column("label", labels["label"].combine_chunks().take(places))
    return pairs.filter(pairs["image_id"].is_valid())


def _encoded(run: Run, manifest: Mapping[str, Any]) -> pa.Table:
    """All pairs of the build whose picture was encoded, kept or not, with the captions that they came with."""
    pairs = BuildSamples(run.workspace, manifest).read(["uid", "image_id", "caption", "label"], "image_id IS NOT NULL")
    missing = set(FeatureStore(run.workspace, encoder_identity(run), "images").missing(pairs["image_id"].to_pylist()))
    return pairs.filter(pa.array([name not in missing for name in pairs["image_id"].to_pylist()], pa.bool_()))


def judge_arm(name: str, pairs: PairRows, held_out: HeldOutPairs, seeds: Seeds) -> Arm:
    """Heads by each seed on at most so many of the pairs, in as many batches as so many pairs would be trained in."""
    trained, size = min(seeds.count, len(pairs)), seeds.rule.batch_size
    more = (seeds.count // size) / max(1, trained // size)
    rule = replace(seeds.rule, epochs=min(_MOST_EPOCHS, max(1, round(seeds.rule.epochs * more))))
    of_seeds = list[Floats]()
    groups = np.empty(0, np.str_)
    for heads in heads_by_seed(pairs, held_out, replace(seeds, rule=rule)):
        correct = correct_of(held_out.parts, "test", heads)
        ones = [one for (measure, of), one in correct.items() if of == ALL_PAIRS and TO_LABEL not in measure]
        if not ones:
            raise InputError("the build must hold out at least two pairs to judge by; it has fewer. Tune a larger one.")
        of_seeds.append(np.concatenate([one.values for one in ones]))
        groups = np.concatenate([one.groups for one in ones])
    return Arm(name=name, available=len(pairs), trained=trained, correct=np.stack(of_seeds, axis=1), groups=groups)


def compare_arms(arms: Sequence[Arm], *, seed: int) -> dict[str, Any]:
    """Every arm beside the recipe, which is the first, on both halves; the setting that is best on one, and its gain.

    The gain is what the other half says, with the interval over its groups and the seeds.
    """
    recipe, *others = arms
    settings = [arm for arm in others if arm.name != RANDOM]
    halves = {half: halves_of(recipe.groups, seed=seed) == half for half in (CHOOSES, TESTS)}
    rows = [
        {"pairs": arm.name, "available": arm.available, "trained": arm.trained}
        | {name: value for half, is_in in halves.items() for name, value in _columns(recipe, arm, half, is_in, seed)}
        for arm in arms
    ]
    if not settings:
        return {"rows": rows, "chosen": None, "gain": None, "verdict": "no setting could be judged."}
    best = max(settings, key=lambda arm: float(arm.correct[halves[CHOOSES]].mean()))
    gain = paired_gain(recipe, best, halves[TESTS], seed=seed)
    rival = next((arm for arm in others if arm.name == RANDOM), None)
    against = None if rival is None else paired_gain(rival, best, halves[TESTS], seed=seed)
    return {
        "rows": rows,
        "chosen": best.name,
        "gain": difference_columns(gain),
        "against_random": None if against is None else difference_columns(against),
        "verdict": _verdict(best.name, gain, against),
    }


def halves_of(groups: Names, *, seed: int) -> npt.NDArray[np.str_]:
    """The half of each group (n,): they are ranked by hash, and the first half chooses."""
    names, places = np.unique(groups, return_inverse=True)
    ranks = np.argsort(np.argsort([unit_hash(seed, "tune", str(name)) for name in names]))
    return np.where(ranks < len(names) / 2, CHOOSES, TESTS)[places]


def paired_gain(before: Arm, after: Arm, is_in: npt.NDArray[np.bool_], *, seed: int) -> Interval:
    """The share of the queries `is_in` that an arm finds more than another, with its interval.

    Groups and seeds are resampled, and both arms have the same: a seed has the same draws and the same first heads.
    """
    differences = after.correct[is_in] - before.correct[is_in]
    by_seed = resampled_means(differences, seed=seed, groups=before.groups[is_in])
    count = by_seed.shape[1]
    drawn = np.random.default_rng([seed, count]).multinomial(count, [1 / count] * count, size=len(by_seed)) / count
    estimate = float(differences.mean()) if differences.size else float("nan")
    return percentile_interval(estimate, (by_seed * drawn).sum(axis=1))


def _columns(
    recipe: Arm, arm: Arm, half: str, is_in: npt.NDArray[np.bool_], seed: int
) -> Iterator[tuple[str, float | None]]:
    """The recall of an arm on a half, and the difference to the recipe."""
    yield f"{half}_value", round(float(arm.correct[is_in].mean()), 4) if is_in.any() else None
    for name, value in difference_columns(paired_gain(recipe, arm, is_in, seed=seed)).items():
        yield f"{half}_{name}", value


def _verdict(name: str, gain: Interval, against: Interval | None) -> str:
    if not gain.low > 0:
        return f"nothing beats the recipe: {name}, the best on the half that chooses, differs by {_words(gain)}."
    if against is None or against.low > 0:
        return f"{name} beats the recipe by {_words(gain)}."
    return f"{name} beats the recipe by {_words(gain)}, but not as many random pairs: {_words(against)}."


def _words(interval: Interval) -> str:
    if np.isnan(interval.low):
        return f"{interval.estimate:+.3f}, without an interval"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
