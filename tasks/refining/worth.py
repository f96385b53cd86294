"""The step measure_worth: heads trained on other builds of one pool, judged on the same pairs and pictures."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from annotated_types import Ge

from evenly.adapters.evaluation.measures.bootstrap import difference_columns, paired_bootstrap
from evenly.adapters.splits import PARTS, unit_hash
from evenly.adapters.twins import twins_of
from evenly.features.errors import RowsError
from evenly.features.refining.heads import Heads
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.refinement import Refinement
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.features.unit_rows import Single
from evenly.storage.artifacts.kinds import heads_of_seeds
from evenly.storage.builds import Builds
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.labelled_rows import all_groups, kept_pairs
from evenly.tasks.refining.measures import Correct, correct_of, judged, mean_recall
from evenly.tasks.refining.needs import held_texts, truth_inputs
from evenly.tasks.refining.outside import OtherPictures, other_inputs, other_rows, with_outside
from evenly.tasks.refining.pairs import (
    ClassRows,
    GuardedList,
    RefiningParts,
    dealt_parts,
    list_inputs,
    pair_rows,
    refining_parts,
)
from evenly.tasks.refining.refine import REFINE_ENCODER
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import build_inputs
from evenly.tasks.step import Step

WHOLE, FROZEN = "the whole pipeline", "frozen encoder"
BEFORE_BALANCE = "pairs before balancing"
_OBJECTIVE = "contrastive"
_TRAINING = TrainingRule()


@dataclass(frozen=True, kw_only=True)
class PoolVariant:
    """A build of the same pool by another recipe, and what it is called."""

    name: str
    build: str


@dataclass(frozen=True, kw_only=True)
class WorthRule:
    """The comparison: the build of the whole pipeline and other builds of its pool, by heads of so many seeds.

    unbalanced: the build of all but the balancing; its held-out pairs are judged on too. others: pictures that the pool
    does not hold.
    """

    build: str
    variants: tuple[PoolVariant, ...] = ()
    seeds: Annotated[int, Ge(1)] = 5
    training: TrainingRule = _TRAINING
    lists: tuple[GuardedList, ...] = ()
    unbalanced: str | None = None
    others: tuple[OtherPictures, ...] = ()

    def __post_init__(self) -> None:
        names = [*(entry.list for entry in self.lists), *(entry.name for entry in self.others)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                f"folders of pictures must have names that no other and no class list has; got `{repeated[0]}` twice. "
                "Rename the folder."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutPairs:
    """The parts of the whole pipeline's build, by which all are judged.

    group_of: of every pair of the pool, by uid. part_of: of every group, that of the whole pipeline's build, by hash
    where it has none of it.
    """

    parts: RefiningParts
    group_of: Mapping[str, str]
    part_of: Mapping[str, str]

    @property
    def trained(self) -> PairRows:
        """The pairs of the whole pipeline that are trained on: of no picture that is held out."""
        pairs = self.parts.pairs["train"]
        return pairs.rows(~twins_of(pairs.image, self.judged))

    @property
    def judged(self) -> Single:
        """The rows of the pictures that the epoch is chosen by or that are judged by."""
        further = (*self.parts.further.values(), *self.parts.outside.values())
        pairs = [self.parts.pairs["val"], self.parts.pairs["test"], *further]
        lists = [rows.image for part in self.parts.lists.values() for rows in part.values()]
        return np.concatenate([*(rows.image for rows in pairs), *lists])


@dataclass(frozen=True, kw_only=True, eq=False)
class WorthVariant:
    """A way to make the pairs that are trained on: its name, how many pairs there were, and what came of it.

    correct: by measure and what it is of, the mean over seeds for each test query.
    """

    name: str
    available: int
    trained: int
    correct: Mapping[tuple[str, str], Correct]


def compare_variants(run: Run, _upstream: Records, rule: WorthRule) -> StepOutput:
    """Train and judge all variants: table `worth`; notes say on how many pairs, and why a variant is missing."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    builds = Builds(run.workspace)
    other_pictures = {source.name: other_rows(run, source) for source in rule.others}
    unbalanced = None if rule.unbalanced is None else builds.read(rule.unbalanced)
    held_out = hold_out(run, builds.read(rule.build), rule.lists, unbalanced=unbalanced, other_pictures=other_pictures)
    train = held_out.trained
    variants, skipped = [], {}
    bar = run.progress.bar("worth: heads", (len(rule.variants) + 1) * rule.seeds)
    with threadpool_limits(1), bar as advance:  # by more threads, sums may come in another order
        seeds = Seeds(run=run, rule=rule.training, count=len(train), numbers=range(1, rule.seeds + 1), advance=advance)
        variants.append(judge_variant(WHOLE, train, held_out, seeds))
        for variant in rule.variants:
            try:
                pairs = training_pairs(run, builds.read(variant.build), held_out)
                variants.append(judge_variant(variant.name, pairs, held_out, seeds))
            except (InputError, RowsError) as error:
                skipped[variant.name] = str(error)
    rows = worth_table([*variants, frozen_variant(held_out)], seed=run.seed)
    return StepOutput(tables={"worth": pa.Table.from_pylist(rows)}, notes={"trained": len(train), "skipped": skipped})


def hold_out(
    run: Run,
    manifest: Mapping[str, Any],
    lists: Sequence[GuardedList],
    *,
    unbalanced: Mapping[str, Any] | None = None,
    other_pictures: Mapping[str, ClassRows | PairRows] | None = None,
) -> HeldOutPairs:
    """The held-out pairs of a build, those of its pool that balancing alone dropped, and other pictures."""
    parts = refining_parts(run, manifest, lists)
    everyone, groups = all_groups(run, manifest)
    names = groups.astype(np.str_)
    part_of = dict(zip(names.tolist(), dealt_parts(names, seed=run.seed).tolist(), strict=True))
    group_of = dict(zip(everyone["uid"].to_pylist(), names.tolist(), strict=True))
    for part in PARTS:
        part_of |= {group_of[uid]: part for uid in parts.pairs[part].uids.tolist()}
    held_out = HeldOutPairs(
        parts=with_outside(parts, other_pictures or {}),
        group_of=group_of,
        part_of=part_of,
    )
    if unbalanced is None:
        return held_out
    further = _pairs_of_part(run, kept_pairs(run, unbalanced), held_out, "test", apart_from=parts.pairs["train"].image)
    return replace(held_out, parts=replace(held_out.parts, further={BEFORE_BALANCE: further}))


def training_pairs(run: Run, manifest: Mapping[str, Any], held_out: HeldOutPairs) -> PairRows:
    """The kept pairs of another build of the pool that may be trained on: no group, picture or twin that is held out.

    A pair that another build drops early was never merged there with those of the same picture. Raises InputError where
    there is none.
    """
    pairs = _pairs_of_part(run, kept_pairs(run, manifest), held_out, "train", apart_from=held_out.judged)
    if not len(pairs):
        raise InputError(f"`{manifest['build']}` must keep pairs to train on; it keeps none that are not held out.")
    return pairs


def _pairs_of_part(run: Run, kept: pa.Table, held_out: HeldOutPairs, part: str, *, apart_from: Single) -> PairRows:
    """The pairs whose group is of a part, but for those whose picture is a twin of one of the rows."""
    groups = np.array([held_out.group_of.get(uid, uid) for uid in kept["uid"].to_pylist()], np.str_)
    dealt = dealt_parts(groups, seed=run.seed)
    by_group = zip(groups.tolist(), dealt.tolist(), strict=True)
    is_of_part = np.array([held_out.part_of.get(group, drawn) == part for group, drawn in by_group], np.bool_)
    pairs = pair_rows(run, kept.filter(pa.array(is_of_part)), groups[is_of_part])
    return pairs.rows(~twins_of(pairs.image, apart_from))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seeds:
    """Trainings of heads: how often, by which rule and on how many pairs; `advance` counts them."""

    run: Run
    rule: TrainingRule
    count: int
    numbers: Sequence[int]
    advance: Callable[[int], None] = lambda _done: None


def judge_variant(name: str, pairs: PairRows, held_out: HeldOutPairs, seeds: Seeds) -> WorthVariant:
    """Heads trained on so many of the pairs by each seed, drawn by it; val chooses the epoch, test judges."""
    of_seeds: dict[tuple[str, str], list[Correct]] = {}
    for seed in seeds.numbers:
        drawn = drawn_pairs(pairs, seeds.count, seed=seed)
        heads = trained_heads(seeds.run, drawn, held_out.parts.pairs["val"], seeds.rule, seed=seed)
        for key, score in judged(held_out.parts, heads).items():
            of_seeds.setdefault(key, []).append(score)
        seeds.advance(1)
    correct = {
        key: Correct(values=np.mean([score.values for score in scores], axis=0), groups=scores[0].groups)
        for key, scores in of_seeds.items()
    }
    return WorthVariant(name=name, available=len(pairs), trained=min(seeds.count, len(pairs)), correct=correct)


def drawn_pairs(pairs: PairRows, count: int, *, seed: int) -> PairRows:
    """At most so many of the pairs, drawn by the seed."""
    by_hash = sorted(range(len(pairs)), key=lambda place: unit_hash(seed, "worth", str(pairs.uids[place])))
    return pairs.rows(np.sort(by_hash[:count]))


def trained_heads(run: Run, pairs: PairRows, val: PairRows, rule: TrainingRule, *, seed: int) -> Refinement:
    """The heads of the epoch that finds most of val, of the first of equal ones.

    They are stored under the hash of all that they depend on: where they are, nothing is trained.
    """
    artifacts, name = heads_of_seeds(run.workspace), _heads_name(pairs, val, rule, seed)
    with suppress(NotFoundError, DamagedError):
        return Heads.from_bytes(artifacts.read(name)[1])
    best: Refinement = Heads.start(pairs.image.shape[1], rule.rank, seed=seed)
    highest, chosen = -1.0, 0
    texts = held_texts(run, rule)
    for epoch, heads, _ in train_heads(pairs, OBJECTIVES[_OBJECTIVE](), rule, seed=seed, texts=texts):
        recall = mean_recall(correct_of(RefiningParts(pairs={"val": val}), "val", heads))
        if recall > highest:
            best, highest, chosen = heads, recall, epoch
    made_of = {"encoder": encoder_identity(run), "rule": _facts(rule), "seed": seed}
    artifacts.put(name, {"epoch": chosen}, best.to_bytes(), made_of=made_of, force=True)
    return best


def _heads_name(pairs: PairRows, val: PairRows, rule: TrainingRule, seed: int) -> str:
    facts = {"objective": _OBJECTIVE, "rule": _facts(rule), "seed": seed, "version": REFINE_ENCODER.version}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for rows in (pairs, val):
        for field, values in vars(rows).items():
            if values is None:
                continue
            content = values if values.dtype.kind == "f" else np.array([content_hash(values.tolist())])
            digest.update(f"{field} {values.shape}".encode() + np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()[:32]


def _facts(rule: TrainingRule) -> dict[str, Any]:
    """The rule as heads of earlier versions were named by, which held nothing."""
    return {name: value for name, value in asdict(rule).items() if name != "hold" or value}


def frozen_variant(held_out: HeldOutPairs) -> WorthVariant:
    """The results of the frozen encoder."""
    frozen = Heads.start(held_out.parts.pairs["test"].image.shape[1], 1, seed=0)
    return WorthVariant(name=FROZEN, available=0, trained=0, correct=judged(held_out.parts, frozen))


def worth_table(variants: Sequence[WorthVariant], *, seed: int) -> list[dict[str, Any]]:
    """A row per variant, measure and what it is of: mean, and the paired difference to the first with its interval."""
    first = variants[0]
    rows = []
    for variant in variants:
        columns = {"pairs": variant.name, "available": variant.available, "trained": variant.trained}
        for (measure, subset), score in variant.correct.items():
            baseline = first.correct[measure, subset]
            difference = paired_bootstrap(baseline.values, score.values, seed=seed, groups=baseline.groups)
            values = {"measure": measure, "of": subset, "n": len(score.values), "value": round(score.mean, 4)}
            rows.append({**columns, **values, **difference_columns(difference)})
    return rows


def _inputs(run: Run, _upstream: Records, rule: WorthRule) -> dict[str, str]:
    builds = [rule.build, *(variant.build for variant in rule.variants)]
    inputs = {f"build {name}": build_inputs(run, name)["build"] for name in builds}
    inputs |= list_inputs(run, rule.build, rule.lists)
    trained = {"refine_encoder": str(REFINE_ENCODER.version)}
    return inputs | trained | truth_inputs(run) | other_inputs(rule.others)


MEASURE_WORTH = Step(
    name="measure_worth",
    rule=WorthRule,
    judge=compare_variants,
    version=2,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)
