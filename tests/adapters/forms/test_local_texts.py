"""Selection of descriptions: by hand on small numbers, and what must hold of any numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError
from evenly.adapters.forms.local_texts import (
    WEIGHTS,
    LocalScores,
    choose_weight,
    local_scores,
    reference_similarities,
    select,
)

A = np.array(
    [
        [0.9, 0.1, 0.2],  # for class 0, mean gap 0.75
        [0.8, 0.7, 0.0],  # for class 0, mean gap 0.45
        [0.2, 0.5, 0.4],  # for class 1
        [0.3, 0.3, 0.3],  # ties with all
        [0.1, 0.6, 0.7],  # for class 2
    ]
)
OWN = ((0,), (2,), (4,))


def test_a_text_stays_where_no_rival_is_nearer_to_it_and_the_widest_gap_comes_first():
    assert select(A, [0, 1, 2], OWN) == (((0, 1, 3), False), ((2, 3), False), ((4, 3), False))


def test_the_neighbourhood_decides_what_tells_a_class_apart():
    assert select(A, [0, 2], OWN)[0] == ((1, 0, 3), False)
    assert select(A, [1, 2], OWN) == (((1, 2, 3), False), ((0, 4, 3), False))


def test_no_more_than_most_are_taken_and_none_is_repeated():
    assert select(A, [0, 1, 2], OWN, most=2)[0] == ((0, 1), False)
    assert select(A, [0, 1, 2], OWN, most=50)[1] == ((2, 3), False)


def test_equal_gaps_rank_by_position():
    equal = np.array([[0.5, 0.25], [0.75, 0.5], [0.25, 0.0]])
    assert select(equal, [0, 1], ((), ())) == (((0, 1, 2), False), ((), True))


def test_where_nothing_is_left_the_first_own_texts_stand_in():
    always_worse = np.array([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    assert select(always_worse, [0, 1], ((2, 0, 1), ()), most=2)[0] == ((2, 0), True)


def test_a_class_without_reference_images_falls_back_and_bars_nothing():
    unknown = A.copy()
    unknown[:, 1] = np.nan
    assert select(unknown, [0, 1, 2], OWN) == (select(A, [0, 2], OWN)[0], ((2,), True), select(A, [0, 2], OWN)[1])
    assert select(A, [0], OWN) == (((0,), True),)


def test_reference_similarities_are_means_of_cosines_whatever_the_counts_and_lengths():
    images = np.array([[1, 0], [0, 3], [0, 1]], dtype=np.float32)
    found = reference_similarities(images, np.array([0, 0, 2]), np.array([[2.0, 0], [0, 1]]), n_classes=3)
    np.testing.assert_allclose(found, [[0.5, np.nan, 0], [0.5, np.nan, 1]])


CAPTIONS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
TEXTS = np.array([[0.6, 0.8, 0], [0, 0.6, 0.8]])


def test_local_scores_compare_names_and_selected_texts():
    image = np.array([[0.8, 0.6, 0.0]])
    similarities = np.array([[0.9, 0.1, 0.2], [0.2, 0.4, 0.9]])
    found = local_scores(image, CAPTIONS, TEXTS, similarities=similarities, own_texts=((), (), ()), neighbours=2)
    np.testing.assert_array_equal(found.classes, [[0, 1]])
    np.testing.assert_allclose(found.names, [[0.8, 0.6]])
    np.testing.assert_allclose(found.descriptions, [[0.6 * 0.8 + 0.8 * 0.6, 0.6 * 0.6]])
    assert (found.fallbacks, found.pairs) == (0, 2)
    assert found.predict(0.0).tolist() == [0]


def test_a_class_with_neither_selected_nor_own_texts_is_judged_by_its_caption():
    similarities = np.array([[0.9, 0.1, 0.2], [0.9, 0.4, 0.2]])
    found = local_scores(CAPTIONS[:1], CAPTIONS, TEXTS, similarities=similarities, own_texts=((), (), ()), neighbours=3)
    np.testing.assert_allclose(found.descriptions[0, 1:], found.names[0, 1:])
    assert found.fallbacks == 2


def test_equal_scores_go_to_the_first_class():
    scores = LocalScores(
        classes=np.array([[1, 4]]), names=np.ones((1, 2)), descriptions=np.ones((1, 2)), fallbacks=0, pairs=2
    )
    assert scores.predict(3.0).tolist() == [1]


def scored(names, descriptions):
    classes = np.tile([0, 1], (len(names), 1))
    return LocalScores(
        classes=classes, names=np.array(names), descriptions=np.array(descriptions), fallbacks=0, pairs=0
    )


def test_the_weight_is_what_validation_likes_best_and_the_largest_of_equal_ones():
    helped = scored([[0.5, 0.4]], [[0.0, 0.59]])
    assert choose_weight(helped, np.array([1])) == 5.75
    assert choose_weight(helped, np.array([0])) == WEIGHTS[-1]
    assert choose_weight(scored(np.zeros((0, 2)), np.zeros((0, 2))), np.array([], dtype=int)) == WEIGHTS[-1] == 39.75


def test_sizes_below_one_are_refused():
    with pytest.raises(ParameterError, match="most"):
        select(A, [0, 1], OWN, most=0)
    with pytest.raises(ParameterError, match="neighbours"):
        local_scores(CAPTIONS, CAPTIONS, TEXTS, similarities=A[:2], own_texts=OWN, neighbours=0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), c=st.integers(2, 6), t=st.integers(1, 12), most=st.integers(1, 4))
def test_what_is_selected_follows_the_rule_and_is_the_same_every_time(seed, c, t, most):
    rng = np.random.default_rng(seed)
    similarities = np.round(rng.normal(size=(t, c)), 1)
    own = tuple(tuple(rng.permutation(t)[:2].tolist()) for _ in range(c))
    chosen = select(similarities, range(c), own, most=most)
    assert chosen == select(similarities.copy(), list(range(c)), own, most=most)
    for label, (texts, fell_back) in enumerate(chosen):
        others = [other for other in range(c) if other != label]
        fits = [d for d in range(t) if (similarities[d, label] >= similarities[d, others]).all()]
        assert len(set(texts)) == len(texts) <= most
        if fell_back:
            assert not fits
            assert texts == own[label][:most]
        else:
            assert set(texts) <= set(fits)
            assert len(texts) == min(most, len(fits))
