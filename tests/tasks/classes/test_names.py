"""Counts of class names and accepted synonyms in the captions of a build and of pools, by the real ledger."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.described import NamesRule
from evenly.descriptions.descriptions import table_of
from evenly.storage.ledger import StepOutput, StepSpec
from evenly.storage.pools.source import PoolSource
from evenly.tasks.classes.describe import COUNT_NAMES, count_names
from evenly.tasks.run import Run
from tests.labelled_build import Picture, publish

CAPTIONS = ["A car and an automobile", "old AUTOMOBILE!", "automobile", "carpet", "a push-button", "button", "Button"]
TEXT = "car\npush button\nwhale\n"
THINGS = parse_class_list(TEXT, "things")
SYNONYMS = [
    ("car", "synonyms", "automobile", "accepted"),
    ("car", "synonyms", "carpet", "rejected"),
    ("push button", "llm_synonyms", "button", "accepted"),
    ("push button", "description", "push button, which is a button", "accepted"),
]


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=1)


@pytest.fixture
def described(run):
    """The record of a description with synonyms of both kinds, one of them rejected."""
    names = ("class", "method", "text", "verdict")
    rows = [dict(zip(names, row, strict=True)) | {"phrase": "", "reason": ""} for row in SYNONYMS]
    rule = {"list": "things", "text": TEXT, "methods": ["synonyms"]}
    spec = StepSpec(name="describe", version=1, rule=rule, inputs={})
    output = StepOutput(tables={"descriptions": table_of(rows)})
    return run.ledger.commit(spec, output, uids=None, started=datetime.now(UTC))


def check(output, searched):
    assert [tuple(row.values()) for row in output.tables["names"].to_pylist()] == [
        ("car", "car", 1),
        ("car", "automobile", 3),
        ("push button", "push button", 1),
        ("push button", "button", 3),
        ("whale", "whale", 0),
    ]
    assert output.tables["most_frequent"].to_pylist() == [
        {"class": "car", "captions": 3, "strict": "automobile", "relaxed": "automobile"},
        {"class": "push button", "captions": 3, "strict": "button", "relaxed": "push button"},
        {"class": "whale", "captions": 0, "strict": "whale", "relaxed": "whale"},
    ]
    assert output.notes["captions_searched"] == searched


def test_names_are_counted_in_the_captions_of_a_build(run, described):
    publish(run.workspace, [Picture("car", {"car": 1.0}, "train", caption) for caption in CAPTIONS])
    check(count_names(run, (described,), NamesRule(class_list=THINGS, build="some-1")), 7)


def test_names_are_counted_in_a_pool_that_has_only_captions(run, described, tmp_path):
    pq.write_table(pa.table({"text": CAPTIONS[:4]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [*CAPTIONS[4:], None]}), tmp_path / "b.parquet")
    source = PoolSource(kind="parquet", path=str(tmp_path / "*.parquet"), caption="text")
    check(count_names(replace(run, sources=(source,)), (described,), NamesRule(class_list=THINGS)), 8)


def test_other_captions_or_names_are_another_step(run, described, tmp_path):
    rule, built = NamesRule(class_list=THINGS), NamesRule(class_list=THINGS, build="some-1")
    keys = set()
    for text in ("car", "automobile"):
        pq.write_table(pa.table({"caption": [text]}), tmp_path / "a.parquet")
        source = PoolSource(kind="parquet", path=str(tmp_path / "a.parquet"))
        keys.add(COUNT_NAMES.spec(replace(run, sources=(source,)), (described,), rule).key)
    publish(run.workspace, [Picture("car", {"car": 1.0}, "train", "car")])
    keys.add(COUNT_NAMES.spec(run, (described,), built).key)
    keys.add(COUNT_NAMES.spec(run, (replace(described, output_hash="other"),), built).key)
    assert len(keys) == 4
