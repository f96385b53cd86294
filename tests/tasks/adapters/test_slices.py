"""Accuracy by any column of the sample table: slices add up, crossed ones have every pair, nothing is lost."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.tasks.adapters.slices import crossed_columns, slice_predictions, sliceable_columns
from tests.labelled_build import Picture, publish

PICTURES = [
    *(Picture("cat", {"cat": 1.0}, "test", f"cat {number}", source="web") for number in range(4)),
    *(Picture("dog", {"dog": 1.0}, "test", f"dog {number}", source="books") for number in range(3)),
    Picture("dog", {"dog": 1.0}, "train", "a dog to train on", source="papers"),
]


@pytest.fixture
def evaluated(workspace):
    """A build and an evaluation of two adapters, of which one takes a dog for a cat."""
    publish(workspace, PICTURES, features=False)
    uids = [f"{number:032x}" for number in range(len(PICTURES))]
    split = pa.table(
        {"uid": uids, "class": [one.label for one in PICTURES], "group": uids, "part": [one.part for one in PICTURES]}
    )
    test = [(uid, one.label) for uid, one in zip(uids, PICTURES, strict=True) if one.part == "test"]
    predictions = [
        {"uid": uid, "name": name, "texts": "names", "class": label, "predicted": label, "confidence": 1.0}
        for name in ("gda", "linear")
        for uid, label in test
    ]
    predictions[-1]["predicted"] = "cat"
    tables = {"split": split, "predictions": pa.Table.from_pylist(predictions)}
    spec = StepSpec(name="evaluate_adapters", version=1, rule={}, inputs={})
    record = Ledger(workspace).commit(spec, StepOutput(tables=tables), uids=None, started=datetime.now(UTC))
    return workspace, Builds(workspace).read("some-1"), record


def rows_of(evaluated, *columns):
    table, binned = slice_predictions(*evaluated, columns, seed=1)
    return table.to_dict("records"), binned


def test_slices_of_each_column_add_up_to_every_test_picture_of_each_adapter(evaluated):
    rows, binned = rows_of(evaluated, "label", "source")
    assert binned == []
    for name, right in (("gda", 7), ("linear", 6)):
        for column in ("label", "source"):
            mine = [row for row in rows if (row["name"], row["column"]) == (name, column)]
            assert sum(row["n"] for row in mine) == 7
            assert sum(row["correct"] for row in mine) == right


def test_a_mistake_counts_in_the_slice_of_its_picture(evaluated):
    rows, _ = rows_of(evaluated, "label")
    right = {(row["name"], row["value"]): row["correct"] for row in rows}
    assert right == {("gda", "cat"): 4, ("gda", "dog"): 3, ("linear", "cat"): 4, ("linear", "dog"): 2}


def test_a_slice_that_only_train_pictures_have_is_empty(evaluated):
    rows, _ = rows_of(evaluated, "source")
    states = {(row["name"], row["value"]): (row["n"], row["state"]) for row in rows}
    assert states["gda", "papers"] == (0, "empty")
    assert states["linear", "books"] == (3, "")


def test_crossed_columns_have_a_slice_for_every_pair_of_values(evaluated):
    rows, _ = rows_of(evaluated, "label,source")
    counts = {row["value"]: row["n"] for row in rows if row["name"] == "gda"}
    assert counts["cat x web"] == 4
    assert counts["dog x books"] == 3
    assert counts["cat x books"] == counts["dog x papers"] == 0
    assert len(counts) == 6


def test_a_column_and_the_same_crossed_are_told_apart(evaluated):
    rows, _ = rows_of(evaluated, "label", "label,source")
    assert {row["column"] for row in rows} == {"label", "label,source"}
    assert crossed_columns(["label", "label,source"]) == ["label", "label", "source"]


def test_nothing_asked_is_an_empty_table(evaluated):
    table, binned = slice_predictions(*evaluated, [], seed=1)
    assert (len(table), binned) == (0, [])


def test_columns_that_are_no_text_or_number_cannot_be_sliced(evaluated):
    workspace, manifest, _ = evaluated
    columns = sliceable_columns(workspace, manifest)
    assert {"label", "source", "caption", "uid"} <= set(columns)


def test_intervals_follow_the_seed_and_accuracy_does_not(evaluated):
    one, other = (slice_predictions(*evaluated, ["label"], seed=seed)[0] for seed in (1, 1))
    assert one.equals(other)
    assert slice_predictions(*evaluated, ["label"], seed=2)[0]["accuracy"].tolist() == one["accuracy"].tolist()
