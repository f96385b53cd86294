"""Names of classes are counted over any pool, whatever its order or cut; captions to judge are drawn from it."""

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.pools.source import PoolSource
from evenly.tasks.classes.describe import pool_captions
from evenly.tasks.classes.frequency import AUDIT_CONCEPTS
from evenly.tasks.run import Run
from tests.labelled_build import Picture, publish
from tests.step_outputs import output_of

CAPTIONS = ["a cat", "two cats", "a kitten", "a dog", "a cat and a dog", "nothing", None, "", "a cat"]
RULE = {
    "build": None,
    "list": "pets",
    "names": {"cat": ["kitten", "cat"], "dog": [], "--": []},
    "plurals": True,
    "prefix": None,
    "judge": 2,
}


@pytest.fixture
def run_of(workspace, tmp_path):
    def make(captions, seed=7) -> Run:
        table = pa.table(
            {"url": [f"http://p.test/{at}" for at in range(len(captions))], "text": pa.array(captions, pa.string())}
        )
        pq.write_table(table, tmp_path / "pool.parquet")
        source = PoolSource(kind="parquet", path=str(tmp_path / "pool.parquet"), caption="text")
        return Run(workspace=workspace, seed=seed, sources=(source,))

    return make


def tables(run, **changes):
    output = output_of(AUDIT_CONCEPTS, run, (), AUDIT_CONCEPTS.read(RULE | changes))
    return {name: table.to_pylist() for name, table in output.tables.items()} | {"notes": output.notes}


def test_each_caption_counts_once_for_a_class_and_for_each_of_its_names(run_of):
    found = tables(run_of(CAPTIONS))
    names = {(row["class"], row["name"]): row["captions"] for row in found["names"]}
    assert names == {("cat", "cat"): 4, ("cat", "kitten"): 1, ("dog", "dog"): 2, ("--", "--"): 0}
    assert {row["class"]: row["actual_freq"] for row in found["classes"]} == {"cat": 5, "dog": 2, "--": 0}
    assert found["notes"] == {"list": "pets", "captions_searched": len(CAPTIONS)}


def test_a_name_that_no_caption_can_hold_says_why(run_of):
    whys = {row["name"]: row["never_matches"] for row in tables(run_of(CAPTIONS))["names"]}
    assert whys.pop("--")
    assert set(whys.values()) == {""}


def test_plurals_count_only_where_they_are_asked_for(run_of):
    run = run_of(CAPTIONS)
    one, other = (
        next(row["captions"] for row in tables(run, plurals=plurals)["names"] if row["name"] == "cat")
        for plurals in (True, False)
    )
    assert (one, other) == (4, 3)


def test_the_sample_holds_different_captions_with_how_often_each_stands_there(run_of):
    found = tables(run_of(CAPTIONS), judge=99)
    drawn = [(row["caption"], row["rows"]) for row in found["sample"] if row["class"] == "cat"]
    assert sorted(drawn) == [("a cat", 2), ("a cat and a dog", 1), ("a kitten", 1), ("two cats", 1)]
    assert all(row["all_sampled"] for row in found["classes"])
    few = tables(run_of(CAPTIONS))
    assert Counter(row["class"] for row in few["sample"]) == {"cat": 2, "dog": 2}
    assert {row["class"]: row["all_sampled"] for row in few["classes"]} == {"cat": False, "dog": True, "--": True}
    assert tables(run_of(CAPTIONS), judge=0)["sample"] == []


def test_captions_that_are_too_long_to_judge_are_counted(run_of):
    found = tables(run_of([*CAPTIONS, "a cat " + "word " * 200]), judge=99)
    assert next(row["too_long"] for row in found["classes"] if row["class"] == "cat") == 1
    assert all(len(row["caption"]) < 200 for row in found["sample"])


def test_another_seed_draws_others(run_of):
    captions = [f"a cat number {number}" for number in range(40)]
    one, other = (tables(run_of(captions, seed=seed))["sample"] for seed in (1, 2))
    assert {row["caption"] for row in one} != {row["caption"] for row in other}


def test_an_empty_pool_of_captions_has_counts_of_nothing(run_of):
    found = tables(run_of([None, ""]))
    assert {row["actual_freq"] for row in found["classes"]} == {0}
    assert {(row["strict"], row["relaxed"]) for row in found["classes"]} == {(name, name) for name in RULE["names"]}


def test_captions_of_a_build_are_those_of_all_its_pairs(run_of):
    run = run_of(["unread"])
    publish(run.workspace, [Picture("", {"x": 1.0}, "", caption=text) for text in CAPTIONS if text], features=False)
    found = tables(run, build="some-1")
    assert found["notes"]["captions_searched"] == 7
    assert sum(len(chunk) for chunk in pool_captions(run, AUDIT_CONCEPTS.read(RULE | {"build": "some-1"}))) == 7
    inputs = AUDIT_CONCEPTS.spec(run, (), AUDIT_CONCEPTS.read(RULE | {"build": "some-1"})).inputs
    assert inputs.keys() == {"build"}
    assert AUDIT_CONCEPTS.spec(run, (), AUDIT_CONCEPTS.read(RULE)).inputs.keys() == {"source 0"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(CAPTIONS))), times=st.integers(1, 3))
def test_order_and_number_of_rows_change_counts_alone(run_of, order, times):
    plain, turned = tables(run_of(CAPTIONS)), tables(run_of([CAPTIONS[at] for at in order] * times))
    assert [row["captions"] * times for row in plain["names"]] == [row["captions"] for row in turned["names"]]
    drawn = [[(row["class"], row["caption"]) for row in found["sample"]] for found in (plain, turned)]
    assert drawn[0] == drawn[1]
    assert [row["rows"] * times for row in plain["sample"]] == [row["rows"] for row in turned["sample"]]
