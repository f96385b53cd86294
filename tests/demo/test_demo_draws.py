from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from evenly.demo.draws import demo_draw, lowest, pick, shares


def test_draw_is_the_same_on_every_machine():
    assert demo_draw(20261124, "size", "1F600") == 0.1545878421356377


def test_draw_tells_keys_apart_that_read_alike_when_joined():
    assert demo_draw(1, "ab", "c") != demo_draw(1, "a", "bc")


@given(st.lists(st.text(), unique=True), st.randoms())
def test_lowest_does_not_depend_on_order(keys, random):
    shuffled = list(keys)
    random.shuffle(shuffled)
    assert lowest(keys, 3, 1, "x") == lowest(shuffled, 3, 1, "x")


@given(st.integers(0, 500), st.dictionaries(st.text(), st.floats(0.01, 100), min_size=1, max_size=8))
def test_shares_add_up_and_leave_nobody_out(n, weights):
    counts = Counter(shares(n, weights))
    assert counts.total() == n
    assert n < len(weights) or set(counts) == set(weights)


def test_shares_follow_the_weights():
    assert Counter(shares(100, {"a": 3, "b": 1})) == {"a": 75, "b": 25}


def test_pick_takes_every_choice_now_and_then():
    assert {pick("abc", 1, str(number)) for number in range(50)} == set("abc")
