"""The step refine_encoder: heads trained on pairs of train, chosen on val with a guard, and judged once on test.

Its cost beforehand: pairs of each part, what is trained, and the time, by a step that is run.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.features.errors import RowsError
from evenly.features.refining.heads import HeadTraining, read_refinement
from evenly.features.refining.hold import SLACK
from evenly.features.refining.mixture import MixtureTraining
from evenly.features.refining.objectives import OBJECTIVES, SAMPLERS, check_objective, training_versions
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.refinement import Refinement, Trainable
from evenly.features.refining.towers import TUNED, ReadPictures, TowerTraining
from evenly.features.refining.training import (
    HOLD_WEIGHT,
    Side,
    State,
    TrainingRule,
    Tune,
    check_trained,
    train_heads,
)
from evenly.features.refining.tuned import tuned_towers
from evenly.storage.artifacts.store import object_content, object_path, put_object
from evenly.storage.artifacts.training_states import TrainingStates
from evenly.storage.builds import Builds
from evenly.storage.errors import DamagedError, InputError, StorageError
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash, stored_fields
from evenly.storage.web.images import find_places, read_images
from evenly.tasks.encoders import open_encoder, step_encoder
from evenly.tasks.labelled_rows import kept_pairs
from evenly.tasks.refining.measures import ALL_PAIRS, Correct, compared, correct_of, label_rivals, mean_recall, shifts
from evenly.tasks.refining.needs import held_texts, needed_inputs, truth_inputs
from evenly.tasks.refining.outside import unseen_pictures, with_outside
from evenly.tasks.refining.pairs import ClassRows, GuardedList, RefiningParts, list_inputs, refining_parts
from evenly.tasks.refining.teacher import teacher_inputs
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step

SHIFTS = ("noun_shift", "picture_shift")
_NOTED = ("strength", "epoch", *SHIFTS, "hold_weight")
_ZERO_SHOT = "zero_shot "
_TRAINING = TrainingRule()
FEWEST = 20
"""Pairs that val must have, and test."""


@dataclass(frozen=True, kw_only=True)
class RefineRule:
    """The rule of refining: a loss of OBJECTIVES on a `build`, and a sampler of SAMPLERS where one is named.

    margin: how far zero-shot accuracy on val may fall for each of `lists`. experts: into how many the heads are parted,
    with a router. towers: of how many blocks of the encoder's towers `tune` says what is trained, in place of heads;
    side: of which towers. teacher: the fitted adapter, LIST/NAME, that labels train where the loss is of pseudo-labels.
    Where the training has `hold`, neither nouns nor pictures of val may move more than SLACK times as far.
    """

    build: str
    objective: str
    sampler: str | None = None
    training: TrainingRule = _TRAINING
    lists: tuple[GuardedList, ...] = ()
    margin: Annotated[float, Ge(0), Le(1)] = 0.01
    experts: Annotated[int, Ge(1), Le(64)] = 1
    towers: Annotated[int, Ge(0), Le(256)] = 0
    tune: Tune = "blocks"
    side: Side = "both"
    teacher: str | None = None

    def __post_init__(self) -> None:
        check_objective(self.objective, self.sampler, self.teacher)
        check_trained(self.experts, self.towers, self.training.rank, self.tune, self.side)


def choose_heads(run: Run, _upstream: Records, rule: RefineRule) -> StepOutput:
    """Train heads and choose epoch and strength; the heads lie in the workspace under their SHA-256.

    Tables: `choice`, a row per epoch and strength with recall and each list's accuracy on val, and whether the guard
    allows it; `measures`, what `compared` says of the chosen one on test, beside `label_rivals` where the objective
    learns from labels. Strength 0, the frozen encoder, is chosen where no other has a higher recall that the guard
    allows.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    parts = parts_of(run, rule)
    with threadpool_limits(1):  # by more, sums may come in another order
        best, rows = chosen_refinement(run, rule, parts, trainable_of(run, rule, parts.pairs["train"]))
        rivals = label_rivals(parts) if OBJECTIVES[rule.objective].learns_labels else {}
        measures = compared(parts, best, seed=run.seed, rivals=rivals)
    digest = put_object(run.workspace.objects, best.to_bytes())
    counts = {f"{part}_pairs": len(pairs) for part, pairs in parts.pairs.items()}
    chosen = next({name: row[name] for name in _NOTED if name in row} for row in rows if row["chosen"])
    tables = {
        "choice": pa.Table.from_pylist(rows),
        "measures": pa.Table.from_pylist(measures),
    }
    return StepOutput(tables=tables, notes={"heads": digest, **counts, **chosen})


def parts_of(run: Run, rule: RefineRule) -> RefiningParts:
    """The parts of the rule's build, with what its objective needs; InputError where val or test has too few pairs."""
    manifest = Builds(run.workspace).read(rule.build)
    objective = OBJECTIVES[rule.objective]
    parts = refining_parts(run, manifest, rule.lists, needs=objective.needs, teacher=rule.teacher)
    if not objective.reads_captions:
        if not parts.lists["val"]:
            raise InputError(
                f"`objective` `{rule.objective}` must be chosen by a class list with pictures in val; the recipe has "
                "none. Add one to `classes`, or take another objective."
            )
        train = parts.pairs["train"]
        parts = replace(parts, pairs={**parts.pairs, "train": train.rows(train.labels != "")})
    for part in ("val", "test"):
        if len(parts.pairs[part]) < FEWEST:
            raise InputError(
                f"`build` must have at least {FEWEST} pairs in {part}, by which it is chosen and judged; got "
                f"{len(parts.pairs[part])} of {sum(map(len, parts.pairs.values()))}. Take a larger build."
            )
    return replace(parts, nouns=held_texts(run, rule.training))


def trainable_of(run: Run, rule: RefineRule, pairs: PairRows) -> Trainable:
    """The refinement that the rule trains on pairs of its build."""
    if rule.towers:
        tuned = tuned_towers(open_encoder(run), TUNED[rule.tune], rule.towers, rule.side, seed=run.seed)
        pictures: ReadPictures = lambda _uids: []  # noqa: E731 - of a tower that is not tuned none are read
        if "image" in tuned.sides:
            pictures = _pictures_of(run, Builds(run.workspace).read(rule.build))
        return TowerTraining(tuned, pairs, pictures, captions=OBJECTIVES[rule.objective].reads_captions)
    if rule.experts > 1:
        return MixtureTraining(pairs, rule.training.rank, experts=rule.experts, seed=run.seed)
    return HeadTraining(pairs.image.shape[1], rule.training.rank, seed=run.seed)


def judge_outside(
    run: Run, rule: RefineRule, content: bytes, pictures: Mapping[str, ClassRows | PairRows]
) -> list[dict[str, Any]]:
    """Rows of `compared` for a refinement, by its bytes, on pictures outside the pool; twins of train are left out."""
    from threadpoolctl import threadpool_limits

    parts = parts_of(run, rule)
    train = parts.pairs["train"].image
    unseen = {name: unseen_pictures(rows, train) for name, rows in pictures.items()}
    arrays, strength, _ = read_refinement(content)
    refined = trainable_of(run, rule, parts.pairs["train"]).refinement(arrays).at(strength)
    test = RefiningParts(pairs={"test": parts.pairs["test"]})
    with threadpool_limits(1):
        rows = compared(with_outside(test, unseen), refined, seed=run.seed)
    return [row for row in rows if row["of"] != ALL_PAIRS]


def heads_of(run: Run, record: StepRecord, rule: RefineRule) -> bytes:
    """The heads that a record names; where they are gone or have changed they are trained again, to the same bits.

    Raises DamagedError where that gives others, as another version of torch may.
    """
    digest, objects = str(record.notes["heads"]), run.workspace.objects
    earlier = run.workspace.refined / "heads" / f"{digest[:32]}.safetensors"  # where 53a9c8b put them
    with suppress(FileNotFoundError):
        put_object(objects, earlier.read_bytes())
        earlier.unlink(missing_ok=True)
    for is_retry in (False, True):
        if is_retry:
            choose_heads(run, (), rule)
        with suppress(FileNotFoundError, DamagedError):
            return object_content(objects, digest)
    raise DamagedError(
        f"the heads of step `{record.key[:12]}` must be those that it recorded; they are gone or changed, and training "
        f"again gives others. Restore `{object_path(objects, digest)}`."
    )


def chosen_refinement(
    run: Run, rule: RefineRule, parts: RefiningParts, trained: Trainable
) -> tuple[Refinement, list[dict[str, Any]]]:
    """The chosen refinement, and a row for all that were tried, the frozen encoder first."""
    best = trained.frozen()
    frozen = correct_of(parts, "val", best)
    rows, chosen = [_choice(0, 0.0, frozen, _shifts(parts, best, None)) | {"allowed": True}], 0
    for epoch, refinement, state in _epochs(run, rule, parts, trained):
        for strength in trained.strengths:
            tried = refinement.at(strength)
            correct, moved = correct_of(parts, "val", tried), _shifts(parts, tried, state.get(HOLD_WEIGHT))
            allowed = all(
                score.mean >= frozen[key].mean - rule.margin for key, score in correct.items() if key[0] == "zero-shot"
            ) and all((moved.get(name) or 0.0) <= SLACK * rule.training.hold for name in SHIFTS)
            rows.append(_choice(epoch, strength, correct, moved) | {"allowed": allowed})
            if allowed and _worth(rule, rows[-1]) > _worth(rule, rows[chosen]):
                best, chosen = tried, len(rows) - 1
    return best, [row | {"chosen": place == chosen} for place, row in enumerate(rows)]


def _worth(rule: RefineRule, row: Mapping[str, Any]) -> float:
    """The value by which a row of the choice is chosen: recall, or without captions the mean of zero-shot accuracy."""
    if OBJECTIVES[rule.objective].reads_captions:
        return float(row["recall"])
    return float(np.mean([value for name, value in row.items() if name.startswith(_ZERO_SHOT)]))


def _shifts(
    parts: RefiningParts, refinement: Refinement, weight: npt.NDArray[np.float32] | None
) -> dict[str, float | None]:
    """Distances that held rows move, and the weight of the hold; nothing where none is."""
    if parts.nouns is None:
        return {}
    return {
        **shifts(refinement, parts.nouns, parts.pairs["val"]),
        "hold_weight": None if weight is None else float(weight[0]),
    }


def _choice(
    epoch: int, strength: float, correct: dict[tuple[str, str], Correct], moved: Mapping[str, float | None]
) -> dict[str, Any]:
    accuracy = {f"{_ZERO_SHOT}{subset}": score.mean for (kind, subset), score in correct.items() if kind == "zero-shot"}
    return {"epoch": epoch, "strength": strength, "recall": mean_recall(correct), **accuracy, **moved}


def _epochs(
    run: Run, rule: RefineRule, parts: RefiningParts, trained: Trainable
) -> Iterator[tuple[int, Refinement, State]]:
    """The refinement and state after each epoch, stored before they are looked at: a run broken off goes on there."""
    name = content_hash(
        {
            "rule": stored_fields(rule),
            "inputs": _inputs(run, (), rule),
            "model": step_encoder(run, rule),
            "seed": run.seed,
        }
    )
    states = TrainingStates(run.workspace.refined / "running" / name[:32])
    done = 0
    state: State | None = None
    with run.progress.bar("refining: epochs", rule.training.epochs) as advance:
        while (stored := states.get(f"{done + 1:04}")) is not None:
            state, done = stored, done + 1
            yield done, trained.refinement(state), state
            advance(1)
        objective = OBJECTIVES[rule.objective]()
        sampler = None if rule.sampler is None else SAMPLERS[rule.sampler]()
        epochs = train_heads(
            parts.pairs["train"],
            objective,
            rule.training,
            seed=run.seed,
            trained=trained,
            sampler=sampler,
            texts=parts.nouns,
            start=None if state is None else (done, state),
        )
        for epoch, refinement, after in epochs:
            states[f"{epoch:04}"] = after
            yield epoch, refinement, after
            advance(1)
    states.remove_touched()
    with suppress(OSError, StorageError):  # a store has no folders
        states.folder.rmdir()


def _inputs(run: Run, _upstream: Records, rule: RefineRule) -> dict[str, str]:
    objective = OBJECTIVES[rule.objective]
    needed = needed_inputs(run, objective.needs) | ({"rival": "logistic regression"} if objective.learns_labels else {})
    versions = {
        f"{name} version": version
        for name, version in training_versions(rule.objective, rule.sampler, rule.experts).items()
    }
    lists = list_inputs(run, rule.build, rule.lists)
    taught = teacher_inputs(run, rule.build, rule.teacher)
    return grouped_inputs(run, rule.build) | truth_inputs(run) | needed | versions | lists | taught


def _pictures_of(run: Run, manifest: Mapping[str, Any]) -> ReadPictures:
    """A reader of the files of pictures of the kept pairs of a build by uids, and of others by their paths.

    Raises DownloadError where one came as features alone, or is gone.
    """
    kept = kept_pairs(run, manifest)
    image_ids = dict(zip(kept["uid"].to_pylist(), kept["image_id"].to_pylist(), strict=True))
    folder, distinct = run.workspace.downloads, sorted(set(image_ids.values()))
    places = find_places(folder, distinct)
    read_images(folder, distinct, places)  # which looks for all of them first

    def read(uids: Sequence[str]) -> list[bytes]:
        ids = [image_ids[uid] for uid in uids if uid in image_ids]
        of_build = iter(read_images(folder, ids, places) if ids else ())
        return [next(of_build) if uid in image_ids else Path(uid).read_bytes() for uid in uids]

    return read


REFINE_ENCODER = Step(
    name="refine_encoder",
    rule=RefineRule,
    judge=choose_heads,
    version=4,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)


def plan_refining(run: Run, rule: RefineRule) -> dict[str, Any]:
    """Pairs of each part, parameters that are trained, steps of all epochs, and seconds: of one, of val once, of all.

    Two steps are trained on the first pairs; nothing is kept but rows that had to be made.
    """
    parts = parts_of(run, rule)
    train, training = parts.pairs["train"], rule.training
    if len(train) < training.batch_size:
        raise RowsError(
            f"`batch_size` must be at most {len(train)}, the pairs there are; got {training.batch_size}. Take less."
        )
    first = train.rows(np.arange(training.batch_size))
    trained = trainable_of(run, rule, first)
    two = replace(training, epochs=2)
    epochs = train_heads(first, OBJECTIVES[rule.objective](), two, seed=run.seed, trained=trained, texts=parts.nouns)
    next(epochs)  # what is done once, is done
    start = time.perf_counter()
    _, refinement, _ = next(epochs)
    step_s = time.perf_counter() - start
    start = time.perf_counter()
    correct_of(parts, "val", refinement)
    val_s = time.perf_counter() - start
    steps = len(train) // training.batch_size * training.epochs
    total_s = steps * step_s + training.epochs * len(trained.strengths) * val_s
    return {
        **{f"{part}_pairs": len(pairs) for part, pairs in parts.pairs.items()},
        "parameters": sum(values.numel() for values in trained.start().values()),
        "steps": steps,
        "step_s": round(step_s, 3),
        "val_s": round(val_s, 3),
        "total_s": round(total_s, 3),
    }
