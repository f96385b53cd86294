"""Settings of a recipe, judged by heads that are trained on the pairs that each would keep.

All are judged on the same held-out pairs of the recipe, which each seed deals anew. Each half of their groups chooses a
setting, and the other half says what that gains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from evenly.adapters.evaluation.protocols.settings import RANDOM, RECIPE, Arm, compare_arms
from evenly.adapters.features import Floats
from evenly.adapters.splits import unit_hash
from evenly.adapters.twins import twins_of
from evenly.features.errors import RowsError
from evenly.features.refining.pairs import Names, PairRows
from evenly.features.refining.refinement import Refinement
from evenly.features.refining.training import TrainingRule
from evenly.keys import places_in
from evenly.storage.errors import InputError
from evenly.storage.samples import BuildSamples
from evenly.tasks.labelled_rows import all_groups, check_encoder, kept_pairs
from evenly.tasks.refining.measures import ALL_PAIRS, TO_LABEL, correct_of
from evenly.tasks.refining.pairs import RefiningParts, dealt_parts, pair_rows
from evenly.tasks.refining.worth import drawn_pairs, trained_heads
from evenly.tasks.run import Run

_BATCHES = 4
"""An epoch of the recipe's pairs has at least so many."""
_MOST_EPOCHS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """The pairs that a recipe would keep by a setting, uid, image_id and caption, and the number of unknown ones."""

    pairs: pa.Table
    unknown: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The recipe's pairs as a seed holds them out: `val` chooses the epoch, `test` judges; dealt_by: the deal's number.

    training: as for `most` pairs, all that the recipe leaves to train on.
    """

    seed: int
    dealt_by: int
    val: PairRows
    test: PairRows
    training: TrainingRule
    most: int = 0

    @classmethod
    def of(cls, recipe: PairRows, training: TrainingRule, *, seed: int, run_seed: int) -> Self:
        """The split of the recipe's pairs by a seed."""
        dealt_by = int(unit_hash(run_seed, "tune", "split", str(seed)) * 2**53)
        parts = dealt_parts(recipe.groups, seed=dealt_by)
        val, test = (recipe.rows(parts == part) for part in ("val", "test"))
        split = cls(seed=seed, dealt_by=dealt_by, val=val, test=test, training=training)
        most = len(split.train(recipe))
        batch_size = min(training.batch_size, max(2, most // _BATCHES))
        return replace(split, most=most, training=replace(training, batch_size=batch_size))

    def train(self, pairs: PairRows) -> PairRows:
        """The pairs that may be trained on: of no group and no picture that is held out."""
        pairs = pairs.rows(dealt_parts(pairs.groups, seed=self.dealt_by) == "train")
        return pairs.rows(~twins_of(pairs.image, np.concatenate([self.val.image, self.test.image])))

    def heads(self, run: Run, pairs: PairRows) -> Refinement:
        """Heads trained on the pairs, in as many batches as `most` would be trained in."""
        size, epochs = self.training.batch_size, self.training.epochs
        epochs = round(epochs * (self.most // size) / max(1, len(pairs) // size))
        rule = replace(self.training, epochs=min(_MOST_EPOCHS, max(1, epochs)))
        return trained_heads(run, pairs, self.val, rule, seed=self.seed)


def judge_settings(
    run: Run,
    manifest: Mapping[str, Any],
    settings: Mapping[str, Setting],
    *,
    seeds: int,
    training: TrainingRule | None = None,
) -> dict[str, Any]:
    """Heads trained by each setting of a build's recipe, by the recipe itself and on random pairs, and the verdict.

    `rows` of all, what `compare_arms` says, and `skipped` with the reason.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    check_encoder(run, manifest)
    everyone, names = all_groups(run, manifest)
    group_of = dict(zip(everyone["uid"].to_pylist(), names.tolist(), strict=True))

    def rows_of(pairs: pa.Table) -> PairRows:
        return pair_rows(run, pairs, np.array([group_of[uid] for uid in pairs["uid"].to_pylist()], np.str_))

    recipe, rule = rows_of(kept_pairs(run, manifest)), training or TrainingRule()
    arms, skipped = list[Arm](), dict[str, str]()
    tables = {name: _labelled(run, manifest, setting.pairs) for name, setting in settings.items()}
    bar = run.progress.bar("tune: heads", (len(settings) + 2) * seeds)
    with threadpool_limits(1), bar as advance:  # as worth does
        splits = [Split.of(recipe, rule, seed=seed, run_seed=run.seed) for seed in range(1, seeds + 1)]
        for name, table in {RECIPE: None, RANDOM: _random(run, manifest, 2 * len(recipe)), **tables}.items():
            try:
                pairs = recipe if table is None else rows_of(table)
                arms.append(judge_arm(run, name, pairs, splits, advance=advance))
            except (InputError, RowsError) as error:
                if name == RECIPE:
                    raise
                skipped[name] = str(error)
    sizes = {name: {"kept": len(setting.pairs), "unknown": setting.unknown} for name, setting in settings.items()}
    result = compare_arms(arms, seed=run.seed)
    rows = [row | sizes.get(row["pairs"], {}) for row in result["rows"]]
    return {**result, "rows": rows, "seeds": seeds, "trained": arms[0].trained, "skipped": skipped}


def _labelled(run: Run, manifest: Mapping[str, Any], pairs: pa.Table) -> pa.Table:
    """The pairs that have a picture, with their labels."""
    labels = BuildSamples(run.workspace, manifest).read(["uid", "label"])
    places = places_in(pairs["uid"].combine_chunks(), labels["uid"])
    pairs = pairs.append_column("label", labels["label"].combine_chunks().take(places))
    return pairs.filter(pairs["image_id"].is_valid())


def _random(run: Run, manifest: Mapping[str, Any], most: int) -> pa.Table:
    """At most so many pairs of the build that have a picture, kept or not, drawn by hash; with their own captions."""
    pairs = BuildSamples(run.workspace, manifest).read(["uid", "image_id", "caption", "label"], "image_id IS NOT NULL")
    drawn = sorted(
        range(len(pairs)), key=lambda place: unit_hash(run.seed, "tune", "random", pairs["uid"][place].as_py())
    )
    return pairs.take(np.sort(drawn[:most]))


def judge_arm(run: Run, name: str, pairs: PairRows, splits: Sequence[Split], *, advance: Callable[[int], None]) -> Arm:
    """Heads for each split, trained on at most as many of the pairs as the recipe has."""
    sizes, correct, groups = list[tuple[int, int]](), list[Floats](), list[Names]()
    for split in splits:
        train = split.train(pairs)
        if not len(train):
            raise InputError(f"`{name}` must keep pairs to train on; it keeps none that are not held out.")
        drawn = drawn_pairs(train, split.most, seed=split.seed)
        measures = correct_of(RefiningParts(pairs={"test": split.test}), "test", split.heads(run, drawn))
        scores = [score for (kind, subset), score in measures.items() if subset == ALL_PAIRS and TO_LABEL not in kind]
        if not scores:
            raise InputError("the build must hold out at least two pairs to judge by; it has fewer. Tune a larger one.")
        sizes.append((len(train), len(drawn)))
        correct.append(np.concatenate([score.values for score in scores]))
        groups.append(np.concatenate([score.groups for score in scores]))
        advance(1)
    available, trained = (round(float(np.mean(of_splits))) for of_splits in zip(*sizes, strict=True))
    return Arm(
        name=name,
        available=available,
        trained=trained,
        correct=np.concatenate(correct),
        groups=np.concatenate(groups),
        splits=np.repeat(np.arange(len(splits)), [len(values) for values in correct]),
    )
