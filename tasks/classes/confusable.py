"""Pairs of classes that a zero-shot classifier takes for each other, about which texts are asked for (FuDD)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.class_texts import ListSplit
from evenly.adapters.features import Floats
from evenly.adapters.methods.fudd import ConfusablePairs, pairs_needed
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import NotFoundError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.classes.texts import filled_templates, single
from evenly.tasks.encoders import step_encoder
from evenly.tasks.labelled_rows import check_encoder, labelled_pairs
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step

CAPTION = "a photo of a {}"
"""The text that stands for a class; the published one but for its full stop."""


@dataclass(frozen=True, kw_only=True)
class ConfusableRule(ListSplit, ConfusablePairs):
    """The search for confusable classes of a `list`, on the pictures of a `build`; None: on class texts alone."""

    list: str
    build: str | None = None


def find_confusable(run: Run, _upstream: Records, rule: ConfusableRule) -> StepOutput:
    """Table `pairs`: first, second (classes, in the order of the list), seen (pictures in whose top both lie).

    Both classes must be among the `top` likeliest of a labelled train or val picture of the build; those of test choose
    nothing. Of these pairs the most frequent are taken that make up the share `cover` of all occurrences. Without a
    build, and where it has no such picture, the text of each class stands in for a picture. Notes: `pairs_asked`, the
    `pairs_seen` of which they are the most frequent, `pairs_possible`, and `pairs_by`, in words.
    """
    classes = rule.classes
    prototypes = filled_templates(run, classes, [CAPTION])
    rows, source = _pictures(run, rule, rule.build) if rule.build is not None else (np.empty((0, 0)), "")
    if not len(rows):
        rows, source = prototypes, f"{len(classes):,} class texts{source and f', for want of {source}'}"
    pairs = pairs_needed(cosine_logits(rows, prototypes, 1.0), rule.top)
    covering = pairs.covering(rule.cover)
    names = np.array(classes)
    table = pa.table(
        {
            "first": pa.array(names[covering.pairs[:, 0]].tolist(), pa.string()),
            "second": pa.array(names[covering.pairs[:, 1]].tolist(), pa.string()),
            "seen": pa.array(covering.images, pa.int64()),
        }
    )
    notes = {"pairs_asked": len(covering.pairs), "pairs_seen": len(pairs.pairs), "pairs_possible": covering.possible}
    return StepOutput(tables={"pairs": table}, notes=notes | {"pairs_by": f"the top {rule.top} of {source}"})


def _pictures(run: Run, rule: ConfusableRule, build: str) -> tuple[Floats, str]:
    """Features (n, d) of the labelled train and val pictures of the build, and what they are in words."""
    manifest = Builds(run.workspace).read(build)
    check_encoder(run, manifest)
    labelled = labelled_pairs(run, manifest, rule)
    ids = labelled.pairs.filter(pa.array(labelled.split != "test"))["image_id"].to_pylist()
    pictures = f"train and val pictures of {manifest['build']}"
    if not ids:
        return np.empty((0, 0)), pictures
    store = FeatureStore(run.workspace, encoder_of(manifest), "images")
    missing = store.missing(ids)
    if missing:
        raise NotFoundError(
            f"the {pictures} must have features, to tell which classes are taken for each other; {len(missing):,} "
            f"of {len(ids):,} have none. Run `evenly extract RECIPE`, or name no build: class texts then stand in."
        )
    return single(store.read(ids)[0]), f"{len(ids):,} {pictures}"


def confusable_pairs(run: Run, rule: ConfusableRule) -> StepRecord:
    """The record of `find_confusable`, found or made; says how many pairs of how many there are to be told apart."""
    record = run_step(run, FIND_CONFUSABLE, (), rule)
    run.progress.say(f"{rule.list}: {said(record.notes)}")
    return record


def said(notes: Mapping[str, Any]) -> str:
    """The notes of `find_confusable` in words."""
    return (
        f"{notes['pairs_asked']:,} of {notes['pairs_possible']:,} pairs of classes to tell apart, the most frequent of "
        f"{notes['pairs_seen']:,} in {notes['pairs_by']}"
    )


def expected_pairs(run: Run, rule: ConfusableRule | None) -> tuple[list[tuple[str, str]], int, Records | None]:
    """The pairs that the step finds or has found, how many are possible, and its record; nothing is recorded.

    No record: None. Without a rule there is no step, no pair and nothing to wait for.
    """
    if rule is None:
        return [], 0, ()
    record = run.ledger.find(FIND_CONFUSABLE.spec(run, (), rule).key)
    if record is not None:
        return named_pairs(run, record), int(record.notes["pairs_possible"]), (record,)
    output = find_confusable(run, (), rule)
    return _named(output.tables["pairs"]), int(output.notes["pairs_possible"]), None


def named_pairs(run: Run, record: StepRecord) -> list[tuple[str, str]]:
    """The pairs of a record of `find_confusable`."""
    return _named(run.ledger.table(record, "pairs", ["first", "second"]))


def _named(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["first"].to_pylist(), table["second"].to_pylist(), strict=True))


def _inputs(run: Run, _upstream: Records, rule: ConfusableRule) -> dict[str, str]:
    return {} if rule.build is None else grouped_inputs(run, rule.build, rule.split)


FIND_CONFUSABLE = Step(
    name="find_confusable",
    rule=ConfusableRule,
    judge=find_confusable,
    inputs=_inputs,
    model=step_encoder,
    seeded=True,
)
