"""The steps of deduplication on the real ledger: what survivors take over, and how records are linked."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.feature_duplicates import Semantic
from evenly.curation.duplicates.sketches import sign_codes
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.storage.samples import wide_table
from evenly.storage.workspace import Workspace
from evenly.tasks.rebuild.deduplicate import (
    DEDUPLICATE_CAPTIONS,
    DEDUPLICATE_EXACT,
    DEDUPLICATE_LINKED,
    DEDUPLICATE_PERCEPTUAL,
    DEDUPLICATE_SEMANTIC,
)
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step
from tests.step_outputs import output_of

PAIRS = [  # uid, caption, image_id, width, perceptual hash
    ("a", "a red fox", "x", 9, 0),
    ("b", "fox in snow", "x", 9, 0),
    ("c", "a red fox", "y", 8, 1),
    ("d", "a dog", "z", 9, 2**40 - 1),
    ("e", "a dog!", "w", 9, 2**63 - 1),
]
LOOKS = {"max_distance": 2, "max_colour": 22.0}


class Encoder:
    """Texts on a circle: the more letters, the further."""

    identity = "circle"
    device_name = "a machine"

    def encode_texts(self, texts):
        angles = np.array([len(text) / 20 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def truncated(self, texts):
        return [False] * len(texts)


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders.open_encoder", lambda _run: Encoder())
    return Run(workspace=workspace, seed=3)


@pytest.fixture
def before(run):
    """The record of a step that gave the pairs."""
    return given(run, PAIRS)


def given(run, pairs, colours=None):
    uids, captions, images, widths, hashes = map(list, zip(*pairs, strict=True))
    decisions = Decisions.keep_all(len(uids)).to_table(pa.array(uids))
    grids = [None if colour is None else [colour] * COLOUR_BYTES for colour in colours or [128] * len(uids)]
    grid = pa.array(grids, pa.list_(pa.uint8(), COLOUR_BYTES))
    columns = {"url": uids, "caption": captions, "image_id": images, "width": widths, "height": widths}
    for name, column in (columns | {"phash": pa.array(hashes, pa.uint64()), "colour": grid}).items():
        decisions = decisions.append_column(name, pa.array(column) if isinstance(column, list) else column)
    step = Step(name="given", rule=dict, stored=dict, load=dict, judge=lambda *_: StepOutput(decisions=decisions))
    return [commit(run, step, [], {"pairs": content_hash([pairs, colours])})]


def commit(run, step, records, stored):
    rule = step.read(stored)
    uids = run.ledger.alive(records, [])["uid"].combine_chunks() if records else None
    output = output_of(step, run, records, rule)
    return run.ledger.commit(step.spec(run, records, rule), output, uids=uids, started=datetime.now(UTC))


def after(run, before, *steps):
    records = list(before)
    for step, rule in steps:
        records.append(commit(run, step, records, rule))
    return records


def test_a_survivor_holds_the_captions_of_all_pairs_merged_into_it_over_several_steps(run, before):
    records = after(run, before, (DEDUPLICATE_EXACT, {}), (DEDUPLICATE_PERCEPTUAL, LOOKS))
    tables = [run.ledger.table(record, "captions").to_pylist() for record in records[1:]]
    assert tables == [
        [{"uid": "a", "image_id": "x", "caption": "fox in snow", "from_uid": "b"}],
        [{"uid": "a", "image_id": "x", "caption": "a red fox", "from_uid": "c"}],
    ]
    wide = wide_table(run.ledger, records)
    assert wide["merged_captions"].to_pylist() == [["fox in snow"], [], [], [], []]


def test_captions_move_on_when_their_pair_is_merged_by_a_later_step(run, before):
    looks = {"max_distance": 64, "max_colour": 22.0}
    exact = {"min_jaccard": 0.3, "scope": "pool"}
    steps = [(DEDUPLICATE_EXACT, {}), (DEDUPLICATE_CAPTIONS, exact), (DEDUPLICATE_PERCEPTUAL, looks)]
    records = after(run, before, *steps)
    held = {
        (row["uid"], row["from_uid"])
        for record in records[1:]
        for row in run.ledger.table(record, "captions").to_pylist()
    }
    assert held == {("a", "b"), ("a", "c"), ("d", "e"), ("a", "d"), ("a", "e")}
    assert wide_table(run.ledger, records)["merged_captions"][0].as_py() == ["a dog", "a dog!", "fox in snow"]


def test_without_a_step_that_records_captions_the_sample_table_has_no_such_column(run, before):
    assert "merged_captions" not in wide_table(run.ledger, before).column_names


def test_records_are_linked_by_stored_features_of_pictures_and_captions(run, before):
    angles = np.array([0, 0, 0, 1, 1.01])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    FeatureStore(run.workspace, "circle", "images").append([row[2] for row in PAIRS][1:], rows[1:], np.ones(4))
    rule = {"min_cosine": 0.99, "weight": 0.636, "tables": 64}
    record = after(run, before, (DEDUPLICATE_LINKED, rule))[-1]
    decisions = run.ledger.decisions(record).to_pylist()
    assert [row["into"] for row in decisions] == [None, "a", "a", None, "d"]
    assert record.seed == run.seed
    assert record.notes["recall"] == 1.0


def test_features_of_pictures_alone_are_searched_with_the_recipes_tables(run, before):
    rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float16)
    FeatureStore(run.workspace, "circle", "images").append(["x", "y", "z", "w"], rows, np.ones(4))
    rule = {"min_cosine": 0.95, "max_colour": 22.0, "tables": 5}
    record = after(run, before, (DEDUPLICATE_SEMANTIC, rule))[-1]
    assert [row["into"] for row in run.ledger.decisions(record).to_pylist()] == [None, "a", "a", None, "d"]
    assert record.notes["search"]["tables"] == 5


SEARCHES = {
    "semantic": (DEDUPLICATE_SEMANTIC, {"min_cosine": 0.95, "max_colour": 22.0, "tables": 4}),
    "linked": (DEDUPLICATE_LINKED, {"min_cosine": 0.97, "weight": 0.636, "tables": 4}),
    "captions of a picture": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.3, "scope": "image"}),
    "captions of the pool": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.5, "scope": "pool"}),
}


@pytest.mark.parametrize(("step", "rule"), SEARCHES.values(), ids=SEARCHES)
def test_a_changed_pool_is_searched_for_twins_of_its_new_and_changed_pairs_alone(run, tmp_path, step, rule):
    names = "abcdefghij"
    pairs = [(uid, f"a fox in snow {'!' * (at % 4)}", names[at // 2], 9, 0) for at, uid in enumerate(names)]
    changed = [pair for pair in pairs if pair[0] not in "cg"]
    changed[0] = ("a", "quite another caption", "b", 9, 0)
    changed.append(("k", "a fox in snow", "j", 9, 0))
    other = replace(run, workspace=Workspace.at(tmp_path / "other"))
    for each in (run, other):
        angles = np.array([0, 0.1, 0.2, 1, 1, 2, 2.1, 2.9, 3, 4])
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
        FeatureStore(each.workspace, "circle", "images").append(list(names), rows, np.ones(10))
    run_step(run, step, given(run, pairs), step.read(rule))
    colours = [128] * 6 + [None, 129, 128]
    again = run_step(run, step, given(run, changed, colours), step.read(rule))
    scratch = run_step(other, step, given(other, changed, colours), step.read(rule))
    assert again.hashes == scratch.hashes
    assert again.notes.get("recall_sample") == scratch.notes.get("recall_sample")
    coloured = 2 if "max_colour" in rule else 0
    assert again.work == {"computed": 2 + coloured, "reused": 7 - coloured}
    assert scratch.work == {}
    assert scratch.counts["merged"]


def test_codes_are_made_of_new_pictures_alone(run, monkeypatch):
    made = []

    def counted(rows, some, *, key):
        made.append(len(some))
        return sign_codes(rows, some, key=key)

    monkeypatch.setattr("evenly.curation.duplicates.feature_duplicates.sign_codes", counted)
    names, turns = "vwxyz", np.arange(5)
    rows = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float16)
    FeatureStore(run.workspace, "circle", "images").append(list(names), rows, np.ones(5))
    pairs = [(uid, "a fox", name, 9, 0) for uid, name in zip("abcde", names, strict=True)]
    rule = {"min_cosine": 0.95, "max_colour": None, "tables": 4}
    for some, step_rule in ((pairs[:3], rule), (pairs[1:], rule), (pairs, rule | {"min_cosine": 0.9})):
        run_step(run, DEDUPLICATE_SEMANTIC, given(run, some), DEDUPLICATE_SEMANTIC.read(step_rule))
    assert made == [3, 2, 0]


def test_pictures_whose_features_have_no_direction_are_all_kept(run):
    FeatureStore(run.workspace, "circle", "images").append(["y", "z"], np.zeros((2, 3), np.float16), np.ones(2))
    pairs = [("a", "a fox", "y", 9, 0), ("b", "a fox", "z", 9, 0)]
    record = run_step(run, DEDUPLICATE_SEMANTIC, given(run, pairs), Semantic(max_colour=None))
    assert record.counts["kept"] == 2
