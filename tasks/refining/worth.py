"""What curation is worth to an encoder: heads trained on other builds of one pool, judged on the same pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.splits import PARTS, unit_hash
from evenly.features.refining.heads import Heads
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.refinement import Refinement
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.storage.errors import InputError
from evenly.tasks.labelled_rows import all_groups, kept_pairs
from evenly.tasks.refining.measures import Correct, correct_of, difference_columns, mean_recall
from evenly.tasks.refining.pairs import GuardedList, RefiningParts, pair_rows, refining_parts
from evenly.tasks.run import Run

MEASURES = ("text to picture R@1", "text to picture R@10", "picture to text R@1", "picture to text R@10", "zero-shot")


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutPairs:
    """What all are judged by: the parts of the whole pipeline's build, and the group of every pair of the pool by uid.

    groups: those with a pair in val or test.
    """

    parts: RefiningParts
    group_of: Mapping[str, str]
    groups: frozenset[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class WorthVariant:
    """A way to make the pairs that are trained on: its name, how many pairs there were, and what came of it.

    correct: by measure and what it is of, the mean over seeds for each test query.
    """

    name: str
    available: int
    trained: int
    correct: Mapping[tuple[str, str], Correct]


def hold_out(run: Run, manifest: Mapping[str, Any], lists: Sequence[GuardedList]) -> HeldOutPairs:
    """The held-out pairs of a build, and which groups they are of, among all pairs of its pool."""
    parts = refining_parts(run, manifest, lists)
    everyone, groups = all_groups(run, manifest)
    held = {name for part in PARTS[1:] for name in parts.pairs[part].groups.tolist()}
    group_of = dict(zip(everyone["uid"].to_pylist(), groups.tolist(), strict=True))
    return HeldOutPairs(parts=parts, group_of=group_of, groups=frozenset(held))


def training_pairs(run: Run, manifest: Mapping[str, Any], held_out: HeldOutPairs) -> PairRows:
    """The kept pairs of another build of the pool that may be trained on: none of a group that is held out."""
    kept = kept_pairs(run, manifest)
    groups = np.array([held_out.group_of.get(uid, uid) for uid in kept["uid"].to_pylist()], np.str_)
    is_free = ~np.isin(groups, sorted(held_out.groups))
    if not is_free.any():
        raise InputError(f"`{manifest['build']}` must keep pairs to train on; it keeps none that are not held out.")
    return pair_rows(run, kept.filter(pa.array(is_free)), groups[is_free])


def judge_variant(
    name: str, pairs: PairRows, held_out: HeldOutPairs, rule: TrainingRule, *, count: int, seeds: Sequence[int]
) -> WorthVariant:
    """Heads trained on `count` of the pairs by each seed, drawn by it; val chooses the epoch, test judges."""
    of_seeds: dict[tuple[str, str], list[Correct]] = {}
    for seed in seeds:
        drawn = sorted(range(len(pairs)), key=lambda place: unit_hash(seed, "worth", str(pairs.uids[place])))[:count]
        best: Refinement = Heads.start(pairs.image.shape[1], rule.rank, seed=seed)
        highest = -1.0
        for _, heads, _ in train_heads(pairs.rows(np.sort(drawn)), OBJECTIVES["contrastive"](), rule, seed=seed):
            recall = mean_recall(correct_of(held_out.parts, "val", heads))
            if recall > highest:
                best, highest = heads, recall
        for key, one in correct_of(held_out.parts, "test", best).items():
            of_seeds.setdefault(key, []).append(one)
    correct = {
        key: Correct(values=np.mean([one.values for one in ones], axis=0), groups=ones[0].groups)
        for key, ones in of_seeds.items()
    }
    return WorthVariant(name=name, available=len(pairs), trained=min(count, len(pairs)), correct=correct)


def frozen_variant(held_out: HeldOutPairs) -> WorthVariant:
    """What the frozen encoder does."""
    frozen = Heads.start(held_out.parts.pairs["test"].image.shape[1], 1, seed=0)
    return WorthVariant(
        name="frozen encoder", available=0, trained=0, correct=correct_of(held_out.parts, "test", frozen)
    )


def worth_table(variants: Sequence[WorthVariant], *, seed: int) -> list[dict[str, Any]]:
    """A row per variant, measure and what it is of: mean, and the paired difference to the first with its interval."""
    first = variants[0]
    rows = []
    for variant in variants:
        for (measure, of), one in variant.correct.items():
            if measure not in MEASURES:
                continue
            was = first.correct[measure, of]
            difference = paired_bootstrap(was.values, one.values, seed=seed, groups=was.groups)
            about = {"pairs": variant.name, "available": variant.available, "trained": variant.trained}
            found = {"measure": measure, "of": of, "n": len(one.values), "value": round(one.mean, 4)}
            rows.append({**about, **found, **difference_columns(difference)})
    return rows
