import pyarrow as pa
import pytest

from evenly.curation.filters.caption_entities import CaptionEntities, FirstSenses, judge_entities, measure_entities

NOTHING = {"noun": {}, "verb": {}, "adj": {}, "adv": {}}
SENSES = FirstSenses(
    first={
        "noun": {"dog": 1, "men": 2, "man": 3, "goose": 4, "box": 5, "plant": 6, "ice_cream": 7, "bus": 8, "len": 5},
        "verb": {"dog": 9, "run": 1, "bake": 10},
        "adj": {"big": 11},
        "adv": {"well": 12},
    },
    exceptions=NOTHING | {"noun": {"geese": ("goose",), "lens": ("lens",)}, "verb": {"ran": ("run",)}},
    entities=frozenset({1, 3, 4, 5, 7}),
)


def judged(*captions):
    batch = pa.table({"caption": pa.array(captions, pa.string())})
    return judge_entities(measure_entities(batch, CaptionEntities(), SENSES), CaptionEntities())


@pytest.mark.parametrize(
    ("caption", "entities"),
    [
        ("a photo of a dog", 1),
        ("Dogs and boxes", 2),
        ("three geese", 1),
        ("a dog, seen", 0),  # the comma is part of the word, as published
        ("ice cream", 0),  # words are looked up one by one
        ("ice_cream", 1),
        ("lens", 0),  # irregular, so no ending is taken off
        ("men", 0),  # a lemma of its own, though man is an entity
        ("policemen", 0),
        ("a big plant, baking well", 0),
        ("she ran", 1),  # a verb whose offset is that of an entity
        ("buses", 0),
        (None, 0),
    ],
)
def test_words_whose_first_synset_is_an_entity_are_counted(caption, entities):
    decisions = judged(caption)
    assert decisions.value.to_pylist() == [entities]
    assert decisions.reason.to_pylist() == ["" if entities else "no_entity"]


@pytest.mark.parametrize(
    ("word", "offset"),
    [
        ("dogs", 1),
        ("plants", 6),
        ("men", 2),
        ("bakes", 10),
        ("baked", 10),
        ("baking", 10),
        ("bus", 8),
        ("biggest", None),
    ],
)
def test_endings_are_taken_off_and_nouns_come_first(word, offset):
    assert SENSES.first_synset(word) == offset
