import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.adapters.evaluation.measures.slices import MOST_VALUES, NO_VALUE, slices_of

NUMBERS = st.none() | st.integers(-5, 40) | st.floats(-1e6, 1e6)


def test_numbers_of_many_values_are_put_together_by_quartile():
    found = slices_of([*range(100), None])
    assert found.binned
    assert found.order == ("Q1: 0 to 24", "Q2: 25 to 49", "Q3: 50 to 74", "Q4: 75 to 99", NO_VALUE)
    assert found.names[[0, 24, 25, 99, 100]].tolist() == [found.order[at] for at in (0, 0, 1, 3, 4)]


def test_few_numbers_stand_for_themselves_ordered_by_size():
    found = slices_of([10, 9, 100, 9, float("nan")])
    assert not found.binned
    assert found.order == ("9", "10", "100", NO_VALUE)
    assert found.names.tolist() == ["10", "9", "100", "9", NO_VALUE]


@pytest.mark.parametrize(("extra", "binned"), [(0, False), (1, True)])
def test_numbers_are_binned_beyond_the_limit_only(extra, binned):
    assert slices_of(list(range(MOST_VALUES + extra))).binned is binned


def test_equal_numbers_never_part_and_one_number_is_named_alone():
    assert slices_of([0] * 60 + list(range(40))).order == ("Q1: 0", "Q2: 1 to 14", "Q3: 15 to 39")


@pytest.mark.parametrize(
    ("values", "order"),
    [(["b", "a", None], ("a", "b", NO_VALUE)), ([True, False], ("False", "True")), ([], ()), ([None], (NO_VALUE,))],
)
def test_other_values_stand_for_themselves_and_none_comes_last(values, order):
    found = slices_of(values)
    assert found.order == order
    assert not found.binned


def test_text_that_looks_like_numbers_is_not_binned():
    assert not slices_of([str(number) for number in range(50)]).binned


@given(st.lists(NUMBERS, max_size=80))
def test_slices_conserve_rows_and_keep_the_order_of_numbers(values):
    found = slices_of(values)
    assert len(found.names) == len(values)
    assert set(found.names.tolist()) == set(found.order)
    known = [number for number, name in zip(values, found.names, strict=True) if name != NO_VALUE]
    place = [found.order.index(name) for name in found.names if name != NO_VALUE]
    assert (np.diff(np.array(place)[np.argsort(known, kind="stable")]) >= 0).all()
