"""The class lists that come along: they parse, every synset is a known noun, and none stands twice."""

from pathlib import Path

import pytest

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.texts.grounding import Grounding, ungrounded
from evenly.storage.files.wordnets import load_noun_synsets

LISTS = sorted((Path(__file__).parents[2] / "recipes").glob("*.txt"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_class_of_a_list_is_grounded(path):
    class_list = parse_class_list(path.read_text(encoding="utf-8"), path.stem)
    assert ungrounded(Grounding(load_noun_synsets()).subjects(class_list)) == ()


def test_the_hundred_imagenet_classes_are_told_apart_by_their_synsets():
    (path,) = [path for path in LISTS if path.stem == "imagenet_100"]
    entries = parse_class_list(path.read_text(encoding="utf-8"), path.stem).entries
    assert len(entries) == len({entry.synset for entry in entries}) == 100
    assert all(entry.synset for entry in entries)
