"""Phrases of a build's captions that separate the classes of a list, for the method `caption_phrases`."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from evenly.adapters.class_texts import ListSplit
from evenly.descriptions.methods.caption_phrases import separating_phrases
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.labelled_rows import labelled_pairs
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import grouped_inputs
from evenly.tasks.step import Step

SCHEMA = pa.schema(
    [
        ("class", pa.string()),
        ("phrase", pa.string()),
        ("captions", pa.int64()),
        ("elsewhere", pa.int64()),
        ("z", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class PhrasesRule(ListSplit):
    """The search for phrases of the classes of a `list` in captions of a `build`."""

    list: str
    build: str


def find_phrases(run: Run, _upstream: Records, rule: PhrasesRule) -> StepOutput:
    """Table `phrases` (class, phrase, captions of the class that hold it, elsewhere, z), by class, clearest first.

    Captions of labelled train pairs alone are read; those of val and test, and of their groups, have no say.
    """
    labelled = labelled_pairs(run, Builds(run.workspace).read(rule.build), rule)
    train = labelled.pairs.filter(pa.array(labelled.split == "train"))
    captions: dict[str, list[str]] = {name: [] for name in rule.classes}
    for name, caption in zip(train["label"].to_pylist(), train["caption"].to_pylist(), strict=True):
        captions[name].append(caption or "")
    rows = [
        {
            "class": phrase.class_name,
            "phrase": phrase.phrase,
            "captions": phrase.captions,
            "elsewhere": phrase.elsewhere,
        }
        | {"z": round(phrase.z, 6)}
        for phrase in separating_phrases(captions)
    ]
    return StepOutput(tables={"phrases": pa.Table.from_pylist(rows, SCHEMA)}, notes={"captions_searched": len(train)})


def phrases_by_class(run: Run, record: StepRecord) -> Mapping[str, tuple[str, ...]]:
    """The phrases of each class in a record of `find_phrases`."""
    table = run.ledger.table(record, "phrases", ["class", "phrase"])
    phrases: dict[str, tuple[str, ...]] = {}
    for name, phrase in zip(table["class"].to_pylist(), table["phrase"].to_pylist(), strict=True):
        phrases[name] = (*phrases.get(name, ()), phrase)
    return phrases


def _inputs(run: Run, _upstream: Records, rule: PhrasesRule) -> dict[str, str]:
    return grouped_inputs(run, rule.build, rule.split)


FIND_PHRASES = Step(name="find_phrases", rule=PhrasesRule, judge=find_phrases, inputs=_inputs, seeded=True)
