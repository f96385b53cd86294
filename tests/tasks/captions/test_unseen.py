"""What captions name is held against their pictures, as those of the whole pool are, however it is cut."""

import json
from dataclasses import replace

import pytest

from evenly.audit.explanation import choice_lines
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_CONCEPTS
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.stage import run_steps
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, COLOURS, RED, RULES, Row, open_run

pytestmark = pytest.mark.usefixtures("colour_words")

CONCEPTS = [*COLOURS, "fox"]
POOL = [
    Row(f"{name}{n}", f"a {name} fox", picture(colour, pattern=20 * place + n))
    for place, (name, colour) in enumerate(COLOURS.items())
    for n in range(8)
]
POOL += [Row("wrong", "a green fox", picture(RED, pattern=90)), Row("both", "red and blue", picture(BLUE, pattern=91))]
RULE = {"captioners": [{"name": "retrieved", "kind": "retrieved", "candidates": 2}], "choose": {"by": "score"}}


def recaptioned(run, bits=0, rule=RULE, **match):
    """The record of the step recaption, after captions were matched."""
    (run.workspace.root / "concepts.txt").write_text("\n".join(CONCEPTS))
    run = replace(run, bits=bits)
    rules = RULES | {"match_concepts": RULES["match_concepts"] | match}
    steps = (COLLECT, MATCH_CONCEPTS, COUNT_CONCEPTS, DOWNLOAD, EMBED_IMAGES)
    chosen = [*((step, step.read(rules[step.name])) for step in steps), (RECAPTION, RECAPTION.read(rule))]
    return run_steps(run, chosen, InProcess(run=run))[-1]


def candidates(run, record):
    return run.ledger.table(record, "candidates").to_pylist()


def test_a_colour_that_the_picture_has_not_is_unseen_and_a_word_of_all_pictures_never(tmp_path):
    run = open_run(tmp_path / "w", POOL)
    record = recaptioned(run)
    rows = candidates(run, record)
    originals = [row for row in rows if row["origin"] == "original"]
    assert sorted((row["caption"], row["unseen"]) for row in originals if row["unseen"]) == [
        ("a green fox", ["green"]),
        ("red and blue", ["red"]),
    ]
    assert all(("unseen" in row["flags"]) == bool(row["unseen"]) for row in rows)
    assert record.notes["unseen"] == {"named": 4, "recognised": 3}
    wrong = next(row for row in rows if row["caption"] == "a green fox" and row["unseen"])
    chosen = {"chosen_caption": None, "caption_origin": "", "caption_reason": "fits_best"}
    assert any("flags unseen (green)" in text for _, text, _ in choice_lines(chosen, [wrong]))


@pytest.mark.slow
def test_partitions_change_nothing(tmp_path):
    runs = [open_run(tmp_path / name, POOL) for name in ("one", "cut")]
    whole, cut = (recaptioned(run, bits) for run, bits in zip(runs, (0, 3), strict=True))
    assert (cut.output_hash, cut.notes) == (whole.output_hash, whole.notes)


def test_captions_that_are_not_matched_have_no_unseen_concepts_and_no_flag(tmp_path):
    run = open_run(tmp_path / "w", POOL)
    steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD, EMBED_IMAGES)]
    rule = RULE | {"captioners": [{"name": "tags", "kind": "tags", "columns": ["label"]}]}
    record = run_steps(run, [*steps, (RECAPTION, RECAPTION.read(rule))], InProcess(run=run))[-1]
    assert {row["unseen"] is None for row in candidates(run, record)} == {True}
    assert "unseen" not in record.notes


def test_a_caption_is_held_against_the_list_of_its_language(tmp_path):
    lists = {"en": CONCEPTS, "de": ["rot", "fuchs"]}
    pool = [replace(row, label="de" if row.name == "wrong" else "en") for row in POOL]
    run = open_run(tmp_path / "w", pool)
    (tmp_path / "w" / "lists.json").write_text(json.dumps(lists))
    record = recaptioned(run, metadata="{root}/lists.json", language="label", plurals=False, unmatched="keep")
    assert [row["caption"] for row in candidates(run, record) if row["unseen"]] == ["red and blue"]
