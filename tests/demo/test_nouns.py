import pytest

from evenly.demo.nouns import head_noun, names_object


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("glass of milk", "glass"),
        ("flag of Peru", "flag"),
        ("ice cream", "cream"),
        ("woman mountain biking", "woman"),
        ("leaf fluttering in wind", "leaf"),
        ("office building", "building"),
        ("curling stone", "stone"),
        ("bald man, light skin tone", "man"),
        ("front-facing baby chick", "chick"),
        ("", ""),
    ],
)
def test_head_noun(name, noun):
    assert head_noun(name) == noun


@pytest.mark.parametrize("name", ["banana", "hot dog", "black cat", "racing car", "flag of Peru", "full moon"])
def test_things_are_objects(name):
    assert names_object(name)


@pytest.mark.parametrize(
    "name", ["grinning face", "woman pilot", "stop button", "black circle", "speech balloon", "thumbs up", "fairy", ""]
)
def test_faces_persons_and_signs_are_not(name):
    assert not names_object(name)
