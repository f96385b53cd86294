"""Concepts are unseen by where a picture stands among those of the pool, and only those that an encoder recognises."""

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.captions import unseen
from evenly.curation.captions.unseen import draw_pairs, join_draws, recognised_limits, unseen_names


def spread(n=40, seed=0):
    return np.random.default_rng(seed).permutation(np.linspace(-0.5, 0.5, n)).round(4)


def test_below_the_limit_of_a_concept_more_than_half_of_the_pictures_are_nearer_and_above_it_are_not():
    cosines = spread()
    nearest = np.argsort(-cosines)[:8]
    (limit,) = recognised_limits(cosines[None], [nearest])
    nearer = (cosines[None] > cosines[:, None]).sum(axis=1)
    assert ((cosines < limit) == (nearer > 20)).all()


@pytest.mark.parametrize(("n_named", "is_recognised"), [(1, False), (2, True), (8, True), (0, False), (40, False)])
def test_a_concept_is_recognised_by_enough_pictures_that_are_nearer_than_the_others(n_named, is_recognised):
    cosines = spread()
    (limit,) = recognised_limits(cosines[None], [np.argsort(-cosines)[:n_named]])
    assert np.isfinite(limit) == is_recognised


def test_words_of_pictures_that_lie_anywhere_are_not_recognised():
    rows = np.stack([spread(400, seed) for seed in range(50)])
    named = [np.arange(0, 400, 400 // (seed + 2)) for seed in range(50)]
    assert np.isnan(recognised_limits(rows, named)).mean() > 0.9


def test_pictures_that_are_all_alike_tell_no_concept():
    assert np.isnan(recognised_limits(np.zeros((1, 20)), [np.arange(10)])).all()


def test_the_same_pairs_are_drawn_of_all_at_once_and_of_parts(monkeypatch):
    monkeypatch.setattr(unseen, "SAMPLE", 20)
    pairs = pa.table({"uid": [f"{n:032x}" for n in range(90)], "image_id": [str(n) for n in range(90)]})
    whole = join_draws([draw_pairs(pairs, seed=3)])
    parts = [pairs.filter(pa.array([n % 4 == part for n in range(90)])) for part in (3, 1, 0, 2)]
    assert join_draws([draw_pairs(part, seed=3) for part in parts]) == whole
    assert whole.num_rows == 20
    assert whole.column_names == pairs.column_names
    assert join_draws([draw_pairs(pairs, seed=4)]) != whole


def test_names_of_unseen_concepts_go_to_the_rows_that_name_them():
    names = pa.array(["dog", "cat", "dog", "owl"])
    lists = unseen_names(np.array([True, False, True, True]), np.array([0, 0, 2, 2]), names, n_rows=4)
    assert lists.to_pylist() == [["dog"], [], ["dog", "owl"], []]
