"""Captions made wrong by rule."""

import pytest

from evenly.curation.captions.swaps import swapped_words

NOUNS = {"dog", "cat", "box", "picture", "glass", "red", "al"}


@pytest.mark.parametrize(
    ("caption", "swapped"),
    [
        ("a dog near a cat", {"nouns": "a cat near a dog"}),
        ("a picture of a dog", {}),
        ("two dogs, a Cat and boxes.", {"nouns": "two boxes, a Cat and dogs."}),
        ("a red dog left of a Blue cat and a red box",
         {"colours": "a Blue dog left of a red cat and a red box",
          "nouns": "a red box left of a Blue cat and a red dog"}),
        ("a red dog and a red dog", {}),
        ("a red thing, al", {}),
        ("", {}),
        ("Dog dog CAT", {"nouns": "CAT dog Dog"}),
    ],
)  # fmt: skip
def test_two_different_colours_and_two_different_nouns_change_places(caption, swapped):
    assert swapped_words(caption, NOUNS) == swapped
