import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy
from evenly.adapters.evaluation.measures.slices import crossed, slice_table, worst_slices

CORRECT = np.array([1, 1, 0, 1, 0, 0])
PLACE = ["land", "land", "land", "water", "water", None]


def test_each_value_has_its_accuracy_and_count():
    table = slice_table(CORRECT, {"place": PLACE}, seed=0)
    assert table["value"].tolist() == ["(no value)", "land", "water"]
    assert table["n"].tolist() == [1, 3, 2]
    assert table["correct"].tolist() == [0, 2, 1]
    np.testing.assert_allclose(table["accuracy"], [0, 2 / 3, 0.5])
    assert (table["state"] == "").all()
    assert (table["column"] == "place").all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", 3, None, float("nan")])), min_size=1, max_size=40))
def test_slices_conserve_rows_and_hits(rows):
    correct, values = zip(*rows, strict=True)
    table = slice_table(np.array(correct), {"x": values}, seed=0, n=5)
    assert table["n"].sum() == len(rows)
    assert table["correct"].sum() == sum(correct)


def test_missing_values_of_every_kind_are_one_slice():
    values = pd.Series([None, float("nan"), pd.NA, "b", pd.NaT, "b"], dtype=object)
    assert slice_table(CORRECT, {"x": values.to_numpy()}, seed=0, n=5)["n"].tolist() == [4, 2]


def test_an_expected_value_without_rows_is_empty_not_0():
    table = slice_table(CORRECT, {"place": PLACE}, seed=0, expected={"place": ["air", "land"]})
    air = table[table["value"] == "air"].iloc[0]
    assert air["state"] == "empty"
    assert air["n"] == 0
    assert np.isnan([air["accuracy"], air["low"], air["high"]]).all()
    assert worst_slices(table)["value"].tolist() == ["(no value)"]


def test_intervals_are_those_of_the_rows_of_the_slice():
    generator = np.random.default_rng(0)
    correct, place = generator.random(200) < 0.7, generator.choice(["a", "b"], 200)
    groups = np.arange(200) // 4
    table = slice_table(correct, {"place": place}, seed=3, groups=groups)
    here = place == "a"
    found = bootstrap_accuracy(correct[here], groups=groups[here], seed=3)
    assert tuple(table.loc[0, ["accuracy", "low", "high"]]) == found
    assert table.loc[0, "groups"] == len(set(groups[here]))


def test_the_worst_slice_of_each_column_is_the_first_of_the_lowest():
    table = slice_table(CORRECT, {"place": PLACE, "size": [*"SSMMLL"], "all": ["x"] * 6}, seed=0)
    worst = worst_slices(table)
    assert worst["column"].tolist() == ["place", "size", "all"]
    assert worst["value"].tolist() == ["(no value)", "L", "x"]


def test_crossed_columns_name_combinations_that_no_row_has():
    values, expected = crossed({"bird": [*"LLLWWW"], "place": ["land", "land", "water", "water", "water", "water"]})
    assert expected == ["L x land", "L x water", "W x land", "W x water"]
    table = slice_table(CORRECT, {"group": values}, seed=0, expected={"group": expected})
    assert table["state"].tolist() == ["", "", "empty", ""]
    assert worst_slices(table)["value"].tolist() == ["L x water"]


def test_no_rows_and_no_columns_are_no_error():
    assert slice_table([], {"x": []}, seed=0).empty
    table = slice_table([], {"x": []}, seed=0, expected={"x": ["a"]})
    assert worst_slices(table).empty
    assert list(slice_table([], {}, seed=0).columns) == list(table.columns)


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(SplitError, match="`place` must hold one value per row"):
        slice_table(CORRECT, {"place": PLACE[:3]}, seed=0)
    with pytest.raises(SplitError, match=r"`columns` must hold columns of one length; got \[1, 2\]"):
        crossed({"a": ["x"], "b": ["x", "y"]})


def test_of_equally_bad_slices_the_one_with_most_rows_is_the_worst():
    table = slice_table([0, 1, 0, 0, 1], {"place": ["a", "b", "c", "c", "c"], "day": ["x", "y", "z", "z", "y"]}, seed=0)
    assert list(zip(worst_slices(table)["column"], worst_slices(table)["value"], strict=True)) == [
        ("place", "a"),
        ("day", "z"),
    ]
