import pytest

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.neighbours import Neighbours, alike, kind_of, kind_part
from evenly.descriptions.texts.words import other_names_in


@pytest.fixture(scope="module")
def neighbours(grounding):
    return Neighbours(grounding)


def subject_of(grounding, name):
    return grounding.subjects(parse_class_list(name, "one"))[0]


@pytest.mark.parametrize(
    ("name", "like", "unlike"),
    [
        ("tiger", {"leopard", "lion"}, {"big cat", "tiger cub", "feline"}),
        ("teapot", {"coffeepot"}, {"pot"}),
        ("lighthouse", {"bell tower"}, {"tower"}),
    ],
)
def test_neighbours_are_beside_a_class_neither_below_nor_above_it(grounding, neighbours, name, like, unlike):
    found = neighbours.of(subject_of(grounding, name))
    assert like <= {*found}
    assert not unlike & {*found}
    assert len({*found}) == len(found) <= 6
    assert not any(other_names_in(one, "", (name,)) for one in found)


def test_the_nearest_come_first_and_no_more_than_asked_for(grounding, neighbours):
    tiger = subject_of(grounding, "tiger")
    assert neighbours.of(tiger)[:2] == neighbours.of(tiger, most=2)


def test_a_class_without_a_sense_has_none(neighbours):
    assert neighbours.of(Subject(name="blorptrix", gloss="large feline of forests")) == ()
    assert neighbours.of(Subject(name="tiger", synset="n02129604")) == ()


@pytest.mark.parametrize(
    ("gloss", "part"),
    [
        ("large feline of forests in most of Asia having a tawny coat", "large feline of forests "),
        ("a pot (for tea), usually with a spout", "a pot "),
        ("; that flies", "flies"),
        ("", ""),
    ],
)
def test_a_definition_begins_with_a_kind(gloss, part):
    assert kind_part(gloss).strip() == part.strip()


def test_kinds_are_alike_where_they_share_a_word_that_says_something():
    assert kind_of("a large feline of forests") == {"feline", "forest"}
    assert alike("a large feline", "small feline with fur")
    assert not alike("a large feline", "a large tool")
