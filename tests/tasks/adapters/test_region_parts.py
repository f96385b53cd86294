"""Parts of a ground for region methods: what they are told of pictures."""

import numpy as np

from evenly.tasks.adapters.region_parts import read_parts
from tests.adapters.effects.world import encode, world

TRUTH = world().regions().truth
SYNONYMS = {"bird": {"name": "bird", "rarely": "avian"}, "fish": {"name": "fish", "rarely": "finned"}}
PARTS = read_parts(None, TRUTH, {}, synonyms=SYNONYMS, text=encode)


def test_regions_of_test_pictures_are_places_without_words():
    for part in (PARTS.fit, PARTS.test):
        rows = TRUTH.rows_of(part.places)
        assert np.array_equal(part.regions.boxes, TRUTH.boxes[rows])
        assert np.array_equal(part.places[part.regions.picture], TRUTH.picture[rows])
        known = TRUTH.kinds[rows] if part is PARTS.fit else np.full(len(rows), "", object)
        assert np.array_equal(part.regions.labels, known)
    assert not any(of_one.any() for of_one in PARTS.test.maps)
    assert np.array_equal(PARTS.fit.places[PARTS.fit.defects.picture], np.intersect1d(TRUTH.defects, PARTS.fit.places))
    assert {*PARTS.fit.defects.labels} == {"defect"}
    assert not len(PARTS.test.defects)
    assert set(TRUTH.parts[PARTS.test.places]) == {"test"}
    assert np.bincount(TRUTH.picture)[PARTS.test.places].min() == 2


def test_a_class_is_read_by_its_names_and_by_its_synonyms():
    assert PARTS.things.texts == ("bird", "a bird", "fish", "a fish")
    assert PARTS.words.texts == ("bird", "a bird", "a avian", "fish", "a fish", "a finned")
    assert PARTS.words.names == ["bird", "fish"]
