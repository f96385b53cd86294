"""The accepted texts of a description that help on validation pictures of a build; the others are rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import BESIDE, SYNONYMS, ClassTexts, EvaluationRule, ListSplit
from evenly.adapters.features import GroupedFeatures
from evenly.adapters.forms.text_choice import OwnedTexts, TextChoice, choose_texts
from evenly.adapters.labelled import LabelledRows
from evenly.descriptions.described import METHODS_ABOUT_PAIRS
from evenly.descriptions.descriptions import ACCEPTED, reject_texts
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import step_encoder, text_rows
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step

NOT_JUDGED = frozenset({*SYNONYMS, *BESIDE.values(), *METHODS_ABOUT_PAIRS})
"""Methods whose texts do not describe one class: names, texts beside the prototypes, and of pairs."""


@dataclass(frozen=True, kw_only=True)
class SelectionRule(ListSplit):
    """The choice among the texts that the description with the key `describe` has of a `list`, on a `build`.

    `methods` are those of the description, `model` the language model that it asked.
    """

    build: str
    list: str
    describe: str
    methods: tuple[str, ...]
    model: str


def selection_rule(described: StepRecord, *, classes: tuple[str, ...], build: str, split: str | None) -> SelectionRule:
    """The rule of the choice among the texts of a record of `describe`."""
    stored = described.rule
    return SelectionRule(
        classes=classes,
        split=split,
        build=build,
        list=str(stored["list"]),
        describe=described.key,
        methods=tuple(stored["methods"]),
        model=str(stored.get("model") or ""),
    )


def select_texts(run: Run, upstream: Records, rule: SelectionRule) -> StepOutput:
    """Table `descriptions`, that of the description with the texts rejected that do not help; notes: `selection`.

    Each method's texts are chosen by train and val pictures (adapters/forms/text_choice.py); test pictures choose
    nothing. Without both kinds of pictures all stay, and notes say so.
    """
    table = run.ledger.table(upstream[0], "descriptions")
    rows = labelled_rows(
        run, Builds(run.workspace).read(rule.build), ClassTexts(classes=rule.classes, split=rule.split), adapters=()
    )
    parts = {part: int(np.count_nonzero(rows.split == part)) for part in ("train", "val")}
    selection: list[dict[str, Any]] = []
    for method in rule.methods if all(parts.values()) else ():
        is_text = pc.and_(pc.equal(table["method"], method), pc.equal(table["verdict"], ACCEPTED))
        places = np.flatnonzero(is_text.to_numpy())
        if method in NOT_JUDGED or not len(places):
            continue
        choice = _choice(run, rows, table.take(places))
        reasons = np.full(table.num_rows, "", dtype=object)
        reasons[places] = choice.reasons
        for reason in {*choice.reasons} - {""}:
            table = reject_texts(table, reasons == reason, reason)
        selection.append({"method": method, "texts": len(places), **_facts(choice)})
    return StepOutput(
        tables={"descriptions": table}, notes={"list": rule.list, "pictures": parts, "selection": selection}
    )


def _choice(run: Run, rows: LabelledRows, texts: pa.Table) -> TextChoice:
    owners = np.array([rows.classes.index(name) for name in texts["class"].to_pylist()], dtype=np.int64)
    owned = OwnedTexts(
        names=rows.prototypes["names"], texts=single(text_rows(run, texts["text"].to_pylist())), owners=owners
    )
    labelled = GroupedFeatures(features=rows.features, labels=rows.labels, groups=rows.groups)
    train, validation = (labelled.rows(np.flatnonzero(rows.split == part)) for part in ("train", "val"))
    return choose_texts(owned, train=train, validation=validation, seed=run.seed)


def _facts(choice: TextChoice) -> dict[str, Any]:
    return {
        "stay": choice.reasons.count(""),
        "per_class": choice.per_class,
        "accuracy_by_names": round(choice.names, 4),
        "accuracy_by_texts": round(choice.texts, 4),
        **dict(zip(("difference", "low", "high"), (round(end, 4) for end in choice.difference), strict=True)),
        "reasons": {reason: choice.reasons.count(reason) for reason in sorted({*choice.reasons} - {""})},
    }


def selection_in_words(notes: Mapping[str, Any]) -> list[str]:
    """A sentence for each method whose texts were chosen."""
    pictures = f"{notes['pictures']['train']:,} train and {notes['pictures']['val']:,} val pictures"
    return [
        f"texts of {row['method']}, chosen by the labels of {pictures}: "
        + (
            f"{row['stay']} of {row['texts']} stay, at most {row['per_class']} a class"
            if row["stay"]
            else "no descriptions"
        )
        + f"; {row['accuracy_by_texts']:.3f} right on val, {row['accuracy_by_names']:.3f} by names"
        for row in notes["selection"]
    ]


def choice_in_words(run: Run, rule: EvaluationRule) -> list[str]:
    """The sentences on the choice of the texts that a rule evaluates; none where all stayed."""
    record = None if rule.describe is None else run.ledger.find(rule.describe)
    return [] if record is None or "selection" not in record.notes else selection_in_words(record.notes)


def select_helpful_texts(
    run: Run, described: StepRecord, *, classes: tuple[str, ...], build: str, split: str | None
) -> StepRecord:
    """The record of `select_texts` for a description on a build, found or made; says what stays of each method."""
    rule = selection_rule(described, classes=classes, build=build, split=split)
    record = run_step(run, SELECT_TEXTS, (described,), rule)
    for sentence in selection_in_words(record.notes):
        run.progress.say(f"{rule.list}: {sentence} (evenly descriptions show {record.key[:12]} --rejected)")
    return record


def _inputs(run: Run, _upstream: Records, rule: SelectionRule) -> dict[str, str]:
    return grouped_inputs(run, rule.build, rule.split)


SELECT_TEXTS = Step(
    name="select_texts", rule=SelectionRule, judge=select_texts, inputs=_inputs, model=step_encoder, seeded=True
)
