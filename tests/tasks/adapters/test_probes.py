"""Probes of a build: diversity depends on content alone, and own captions explain more than those of others."""

import pyarrow as pa
import pytest

from evenly.storage.workspace import Workspace
from evenly.tasks.adapters.probes import MEASURE_DIVERSITY
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish
from tests.step_outputs import output_of

RULE = {"build": "some-1", "rows": 40, "sigma": 1.0, "frequencies": 20}
WORDS = ("cat", "dog", "owl", "fox")
PICTURES = [
    Picture("", {word: 1.0, f"{word} {number}": 0.1}, "", f"a photo of a {word}")
    for word in WORDS
    for number in range(8)
]


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    publish(workspace, PICTURES)
    return Run(workspace=workspace, seed=7)


def measured(run, **changes):
    (row,) = (
        output_of(MEASURE_DIVERSITY, run, (), MEASURE_DIVERSITY.read(RULE | changes)).tables["diversity"].to_pylist()
    )
    return row


def test_own_captions_explain_more_than_those_of_others(run):
    row = measured(run)
    assert (row["pairs"], row["n"], row["sigma"], row["frequencies"]) == (32, 32, 1.0, 20)
    assert 0 <= row["unexplained"] < row["dealt_unexplained"] <= 1
    assert row["by_texts"] >= 1
    assert row["given_texts"] >= 1


def test_pictures_in_another_order_give_the_same_numbers(run, tmp_path):
    other = Run(workspace=Workspace.at(tmp_path / "other"), seed=7)
    publish(other.workspace, PICTURES[::-1])
    one, two = measured(run), measured(other)
    assert one == pytest.approx(two)


def test_of_more_pairs_than_asked_the_same_are_taken_each_time(run):
    few = measured(run, rows=10)
    assert (few["pairs"], few["n"]) == (32, 10)
    assert measured(run, rows=10) == few
    assert measured(run, rows=1000)["n"] == 32


def test_the_key_follows_build_rule_and_seed(run):
    first = MEASURE_DIVERSITY.spec(run, (), MEASURE_DIVERSITY.read(RULE)).key
    publish(run.workspace, PICTURES[:8], build="some-2")
    others = [
        MEASURE_DIVERSITY.spec(run, (), MEASURE_DIVERSITY.read(RULE | {"build": "some-2"})).key,
        MEASURE_DIVERSITY.spec(run, (), MEASURE_DIVERSITY.read(RULE | {"sigma": 2.0})).key,
        MEASURE_DIVERSITY.spec(Run(workspace=run.workspace, seed=8), (), MEASURE_DIVERSITY.read(RULE)).key,
    ]
    assert len({first, *others}) == 4


def test_a_table_of_one_row_is_what_the_report_reads(run):
    table = output_of(MEASURE_DIVERSITY, run, (), MEASURE_DIVERSITY.read(RULE)).tables["diversity"]
    assert table.num_rows == 1
    assert {f"{kind}{name}" for kind in ("", "dealt_") for name in ("given_texts", "by_texts", "unexplained")} <= set(
        table.column_names
    )
    assert all(pa.types.is_integer(field.type) or pa.types.is_floating(field.type) for field in table.schema)
