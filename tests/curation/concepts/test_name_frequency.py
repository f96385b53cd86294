import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.concepts.matching import normalised
from evenly.curation.concepts.name_frequency import NameCounter, most_frequent_name
from evenly.curation.errors import RuleError

CAPTIONS = ["A CAR and an automobile", "old automobile", "race-car!", None, "carpet", "two cars", "car"]


def count(names, captions, **options):
    return NameCounter(names, **options).count(pa.array(captions, pa.string()))


def test_a_caption_counts_for_each_name_it_holds_and_once_for_the_concept():
    found = count([["car", "automobile"], ["carpet"]], CAPTIONS)
    assert found.of_names == ({"car": 3, "automobile": 2}, {"carpet": 1})
    assert found.of_concepts.tolist() == [4, 1]
    assert found.captions == 7


def test_plurals_are_found_only_where_asked_for():
    assert count([["car"]], CAPTIONS, plurals=True).of_names == ({"car": 4},)


@pytest.mark.parametrize("name", ['the "Big" one', "AND", "a/b", "NOT (x)", "don't", "U.S."])
def test_marks_and_search_words_of_other_systems_lose_no_name(name):
    assert count([[name]], [f"here is {name}, see", "nothing"]).of_names == ({name: 1},)


def test_a_name_of_two_concepts_counts_for_both_and_one_written_twice_once():
    found = count([["crane", "crane"], ["crane", "derrick"]], ["a crane", "a derrick"])
    assert found.of_names == ({"crane": 1}, {"crane": 1, "derrick": 1})
    assert found.of_concepts.tolist() == [1, 2]


def test_names_that_are_written_alike_count_each_for_its_own_concept():
    found = count([["crane"], ["Crane", "derrick"], ["cranes"]], ["a crane", "CRANES", "a derrick"], plurals=True)
    assert found.of_names == ({"crane": 2}, {"Crane": 2, "derrick": 1}, {"cranes": 1})
    assert found.of_concepts.tolist() == [2, 3, 1]


def test_concepts_without_names_and_names_without_letters_are_never_held():
    found = count([[], ["--"], ["cat"]], ["-- cat --"])
    assert found.of_names == ({}, {"--": 0}, {"cat": 1})
    assert found.of_concepts.tolist() == [0, 0, 1]
    assert count([["cat"]], []).of_concepts.tolist() == [0]


def test_with_a_prefix_only_captions_that_hold_it_as_well_count_wherever_it_stands():
    captions = ["forest by SATELLITE", "satellite: river", "a forest", "satellites over a river, a forest", "satellite"]
    found = count([["forest"], ["river", "stream"]], captions, prefix="satellite")
    assert found.of_names == ({"forest": 1}, {"river": 1, "stream": 0})
    assert (found.of_concepts.tolist(), found.captions) == ([1, 1], 5)
    assert count([["forest"]], captions, prefix="satellite", plurals=True).of_concepts.tolist() == [2]
    assert count([["satellite"]], captions, prefix="satellite").of_concepts.tolist() == [3]
    with pytest.raises(RuleError, match="`prefix` must hold a letter"):
        NameCounter([["forest"]], prefix="--")


WORDS = st.text(alphabet="ab -", max_size=6)


@given(names=st.lists(st.lists(WORDS, max_size=3), max_size=4), captions=st.lists(st.none() | WORDS, max_size=8))
def test_counts_are_those_of_a_plain_search_and_add_up_over_any_cut(names, captions):
    found = count(names, captions)
    for some, counts, total in zip(names, found.of_names, found.of_concepts, strict=True):
        held = {name: [holds(caption, name) for caption in captions] for name in some}
        assert counts == {name: sum(rows) for name, rows in held.items()}
        assert total == sum(map(any, zip(*held.values(), strict=True)))
    cut = len(captions) // 2
    parts = count(names, captions[:cut]) + count(names, captions[cut:])
    assert (parts.of_names, parts.captions) == (found.of_names, found.captions)
    np.testing.assert_array_equal(parts.of_concepts, found.of_concepts)


def holds(caption, name):
    return caption is not None and normalised(name) != "" and f" {normalised(name)} " in f" {normalised(caption)} "


@pytest.mark.parametrize(
    ("counts", "strict", "relaxed"),
    [
        ({"Honda Accord 2012": 3, "Honda": 90, "Accord": 40, "Honda sedan": 20}, "Honda", "Honda sedan"),
        ({"honda ACCORD": 7}, "honda ACCORD", "Honda Accord 2012"),
        ({"Honda Accord 2012": 5, "Honda Accord": 4}, "Honda Accord 2012", "Honda Accord 2012"),
        ({"Honda": 9, "2012 Accord Honda": 5, "other": 4}, "Honda", "2012 Accord Honda"),
        ({"a": 2, "b": 2}, "a", "a"),
        ({"a": 0}, "Honda Accord 2012", "Honda Accord 2012"),
        ({}, "Honda Accord 2012", "Honda Accord 2012"),
    ],
)
def test_the_relaxed_rule_refuses_names_that_mean_more_and_their_counts_do_not_bar_others(counts, strict, relaxed):
    assert most_frequent_name("Honda Accord 2012", counts, rule="strict") == strict
    assert most_frequent_name("Honda Accord 2012", counts, rule="relaxed") == relaxed


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(RuleError, match=r"`rule` must be one of relaxed, strict; got 'loose'"):
        most_frequent_name("a", {}, rule="loose")
