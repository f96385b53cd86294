import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, ParameterError, SplitError
from evenly.adapters.few_shot import few_shot

rows_of_classes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=40)


def columns(rows):
    """Labels, keys and groups of (label, group) rows."""
    return np.array([label for label, _ in rows]), [f"row {i}" for i in range(len(rows))], [g for _, g in rows]


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_classes, seed=st.integers(0, 5), grouped=st.booleans())
def test_the_rows_of_k_shots_are_among_those_of_2k(rows, seed, grouped):
    labels, keys, groups = columns(rows)
    drawn = [
        set(few_shot(labels, keys, shots=shots, seed=seed, groups=groups if grouped else None).indices.tolist())
        for shots in (1, 2, 4, 8)
    ]
    assert all(fewer <= more for fewer, more in itertools.pairwise(drawn))


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_classes, shots=st.integers(1, 6), data=st.data())
def test_the_order_of_the_rows_does_not_matter(rows, shots, data):
    labels, keys, groups = columns(rows)
    order = data.draw(st.permutations(range(len(rows))))
    straight = few_shot(labels, keys, shots=shots, seed=1, groups=groups)
    mixed = few_shot(labels[order], [keys[i] for i in order], shots=shots, seed=1, groups=[groups[i] for i in order])
    assert [keys[order[i]] for i in mixed.indices] == [keys[i] for i in straight.indices]
    assert mixed.notes == straight.notes


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_classes, shots=st.integers(1, 6))
def test_a_class_gives_its_shots_and_one_row_per_group_while_it_has_groups(rows, shots):
    labels, keys, groups = columns(rows)
    found = few_shot(labels, keys, shots=shots, seed=1, groups=groups)
    for label in set(labels.tolist()):
        own = [groups[i] for i in found.indices if labels[i] == label]
        there = [group for group, other in zip(groups, labels, strict=True) if other == label]
        assert len(own) == min(shots, len(there))
        assert len(set(own)) == min(shots, len(set(there)))
        if len(set(there)) < len(own):
            assert any("several rows of one group" in note for note in found.notes)


def test_a_row_of_another_class_moves_nothing_and_a_new_row_at_most_one():
    labels, keys = np.repeat([0, 1], 20), [f"row {i}" for i in range(40)]
    both = few_shot(labels, keys, shots=4, seed=3).indices
    assert np.array_equal(few_shot(labels[:20], keys[:20], shots=4, seed=3).indices, both[:4])
    more = few_shot(np.append(labels, 0), [*keys, "new"], shots=4, seed=3).indices
    assert len(set(both.tolist()) - set(more.tolist())) <= 1


def test_another_seed_draws_other_rows_and_every_row_is_drawn_about_as_often():
    labels, keys = np.zeros(10, np.int64), [f"row {i}" for i in range(10)]
    drawn = Counter(i for seed in range(500) for i in few_shot(labels, keys, shots=2, seed=seed).indices.tolist())
    assert sum(drawn.values()) == 1000
    assert all(60 < drawn[i] < 140 for i in range(10))  # 100 expected, standard deviation 9


def test_what_falls_short_is_said():
    labels = np.array([0, 0, 0, 1])
    found = few_shot(labels, list("abcd"), shots=2, seed=0, groups=["g", "g", "g", "h"], classes=["ox", "bee", "yak"])
    assert found.notes == (
        "2 of 3 classes have fewer than 2 rows and gave all they have: bee (1), yak (0)",
        "1 of 3 classes have fewer than 2 groups and gave several rows of one group (groups): ox (1)",
    )
    many = few_shot(np.array([0]), ["a"], shots=1, seed=0, classes=[str(i) for i in range(30)])
    assert many.notes[0].endswith("8 (0), 9 (0), 10 (0) and 19 more")
    assert few_shot(labels, list("abcd"), shots=1, seed=0).notes == ()


def test_no_rows_give_no_rows():
    assert few_shot(np.empty(0, np.int64), [], shots=2, seed=0).indices.shape == (0,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keys": ["a", "a"]}, SplitError, "`keys` must name each row once; got `a` twice"),
        ({"groups": ["g"]}, SplitError, "`groups` must hold one name per row, 2; got 1"),
        ({"shots": 0}, ParameterError, "`shots` must be a whole number above 0; got 0"),
        ({"labels": np.array([0, -1])}, InvalidFeaturesError, "got -1 at row 1"),
        ({"classes": ["ox"]}, InvalidFeaturesError, "must lie in 0 to 0; got 1"),
        ({"labels": np.array([0])}, InvalidFeaturesError, r"shape \(2,\); got shape \(1,\)"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    good = {"labels": np.array([0, 1]), "keys": ["a", "b"], "shots": 1, "seed": 0} | change
    with pytest.raises(error, match=message):
        few_shot(good.pop("labels"), good.pop("keys"), **good)
