"""Captions out of the concepts that lie nearest to a picture."""

import numpy as np
import pytest

from evenly.tasks.captions.retrieved import COUNTS, ConceptRows, _texts, counted_name


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("dog", "a", "a dog"),
        ("apple", "a", "an apple"),
        ("box", "two", "two boxes"),
        ("woman", "three", "three women"),
        ("berry", "several", "several berries"),
    ],
)
def test_a_concept_is_counted_in_words(name, count, text):
    assert counted_name(name, count) == text


def test_one_phrase_says_how_many_of_each_lie_nearest():
    names = ["dog", "tree", "ball"]
    rows = np.eye(3, 12, dtype=np.float16)
    counted = np.zeros((3, len(COUNTS), 12), np.float16)
    for concept, count in enumerate((1, 0, 3)):
        counted[concept, count, concept] = 1
    concepts = ConceptRows(names=names, rows=rows, counted=counted)
    image = np.zeros(12, np.float16)
    image[:3] = 0.5
    assert _texts(image, np.array([0, 1, 2]), concepts) == ["two dogs, a tree and several balls"]
    assert _texts(image, np.array([1]), concepts) == ["a tree"]
    assert _texts(image, np.array([1, 0]), ConceptRows(names=names, rows=rows)) == ["tree", "dog"]
