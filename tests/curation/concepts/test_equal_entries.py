import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.concepts.equal_entries import (
    english_plurals,
    first_equal,
    normalised_keys,
    plurals_of,
    unmatchable_normalized,
)
from evenly.curation.concepts.normalising import normalised

# Several ways to write few words, and words whose plurals are entries too, or are the plural of two.
AWKWARD = st.lists(
    st.sampled_from(
        [
            "China",
            "china",
            "CHINA!",
            "dog",
            "Dogs",
            "dogs",
            "axes",
            "boxe",
            "box",
            "boxes",
            "leaf",
            "leave",
            "leaves",
            "--",
            "",
        ]
    )
    | st.text(alphabet="aAsbé .-'", max_size=5),
    max_size=9,
)


def same(one, other, *, plurals):
    """Whether two keys are the same, without the plurals of several."""
    return one == other or (plurals and (other in english_plurals(one) or one in english_plurals(other)))


@settings(deadline=None)
@given(AWKWARD, st.booleans())
def test_an_entry_stands_for_itself_or_for_later_ones_that_are_the_same(entries, plurals):
    keys = normalised_keys(entries)
    firsts = first_equal(keys, plurals_of(keys) if plurals else None)
    assert keys == [normalised(entry) for entry in entries]
    for position, first in enumerate(firsts):
        assert first <= position
        assert firsts[first] == first
        assert same(keys[first], keys[position], plurals=plurals)


@settings(deadline=None)
@given(AWKWARD, st.booleans())
def test_of_two_entries_of_equal_keys_one_stands_for_the_other(entries, plurals):
    keys = normalised_keys(entries)
    firsts = first_equal(keys, plurals_of(keys) if plurals else None)
    for key in set(keys):
        assert len({first for one, first in zip(keys, firsts, strict=True) if one == key}) == 1


@settings(deadline=None)
@given(AWKWARD)
def test_without_plurals_the_first_of_equal_keys_stands_for_all(entries):
    keys = normalised_keys(entries)
    assert first_equal(keys) == [keys.index(key) for key in keys]


@pytest.mark.parametrize(
    ("keys", "firsts"),
    [
        (["dog", "dogs", "cat"], [0, 0, 2]),
        (["dogs", "cat", "dog"], [0, 1, 0]),
        (["axes", "axe", "rest"], [0, 0, 2]),
        (["box", "boxe", "boxes"], [0, 1, 0]),
        (["boxes", "boxe", "box"], [0, 0, 2]),
        (["glass", "glasses", "cherries", "cherry"], [0, 0, 2, 2]),
        (["ox", "oxs"], [0, 1]),
        (["people", "old woman", "person", "old women", "fireman", "firemen"], [0, 1, 0, 1, 4, 4]),
    ],
)
def test_a_plural_goes_with_the_first_of_its_singulars_which_stay_apart(keys, firsts):
    assert first_equal(keys, plurals_of(keys)) == firsts
    assert first_equal(keys) == list(range(len(keys)))


def test_who_stands_for_an_entry_is_named():
    entries = ["China", "dog", "china", "\U0001f600", "CHINA!", "Dogs"]
    told = [
        ("china", "same_as_an_earlier_entry", "China"),
        ("\U0001f600", "nothing_left_after_normalising", None),
        ("CHINA!", "same_as_an_earlier_entry", "China"),
    ]
    assert unmatchable_normalized(entries) == told
    assert unmatchable_normalized(entries, plurals=True) == [*told, ("Dogs", "same_as_an_earlier_entry", "dog")]
