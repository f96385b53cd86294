import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.demo.scenes.layout import (
    CANVAS,
    REVERSED,
    Box,
    box_of,
    cells,
    relation_holds,
    relations_between,
    seat_y,
    slots,
)

boxes = st.builds(
    lambda x, y, wide, high: Box(x, y, x + wide, y + high),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 90),
    st.integers(1, 90),
)


@given(st.sampled_from(sorted(REVERSED)), boxes, boxes)
def test_a_relation_holds_if_its_reverse_holds_the_other_way_round(relation, first, second):
    assert relation_holds(relation, first, second) == relation_holds(REVERSED[relation], second, first)


@given(boxes, boxes)
def test_no_relation_holds_with_its_contrary(first, second):
    for relation, contrary in (("left_of", "right_of"), ("above", "below"), ("on", "under")):
        assert not (relation_holds(relation, first, second) and relation_holds(contrary, first, second))


@given(boxes, boxes)
def test_what_stands_on_something_is_above_it(first, second):
    assert not relation_holds("on", first, second) or relation_holds("above", first, second)


@pytest.mark.parametrize(
    ("first", "relations"),
    [
        (Box(0, 50, 10, 60), {"left_of"}),
        (Box(60, 0, 80, 50), {"above", "on"}),
        (Box(60, 0, 80, 40), {"above"}),
        (Box(0, 0, 10, 40), {"left_of", "above"}),
        (Box(60, 60, 80, 90), set()),
    ],
)
def test_relations_of_a_box_to_one_of_50_to_100(first, relations):
    second = Box(50, 50, 100, 100)
    between = relations_between([[first], [second]])
    assert {relation for subject, relation, _ in between if subject == 0} == relations
    assert {(1, REVERSED[relation], 0) for relation in relations} <= set(between)


def test_a_relation_of_groups_is_one_of_all_their_boxes():
    left, middle, right = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(40, 0, 50, 10)
    assert (0, "left_of", 1) in relations_between([[left, middle], [right]])
    assert (0, "left_of", 1) not in relations_between([[left, right], [middle]])


@given(st.integers(1, 8))
def test_slots_lie_in_their_cell_and_not_in_one_another(count):
    places = slots(CANVAS, count)
    assert len(places) == count
    assert all(CANVAS.holds(place) for place in places)
    taken = np.zeros((CANVAS.y1, CANVAS.x1), np.int64)
    for place in places:
        taken[place.y0 : place.y1, place.x0 : place.x1] += 1
    assert taken.max() == 1


@pytest.mark.parametrize("relation", ["left_of", "right_of", "above", "below"])
@pytest.mark.parametrize("third", [None, "left_of", "right_of"])
def test_cells_stand_as_the_relations_say(relation, third):
    relations = [(0, relation, 1), *([(2, third, 1)] if third else [])]
    places = cells(relations)
    assert all(CANVAS.holds(place) for place in places)
    for subject, name, other in relations:
        assert relation_holds(name, places[subject], places[other])


def test_a_mask_is_boxed_tightly():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    assert box_of(mask) == Box(3, 2, 7, 4)


def test_what_is_seated_touches_where_the_tops_rise():
    upper = np.ones((4, 4), bool)
    lower = np.array([[False, False, True], [True, True, True]])
    assert seat_y(upper, lower, 10, (10, 20)) == 20 - 4 + 2
    lower = np.array([[False] * 8 + [True], [True] * 9])
    assert seat_y(upper, lower, 10, (10, 20)) == 21 - 4 + 2
    assert seat_y(upper, lower, 90, (10, 20)) == 20 - 4
