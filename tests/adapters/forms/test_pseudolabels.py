"""The selector against a plain greedy loop, and the loop of rounds; the strategies are in their own files."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.forms import pseudolabels
from evenly.adapters.forms.pseudolabels import growing_sizes, log_probabilities, repetitions, top_k_per_class
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.methods.zero_shot import ZeroShot


def keys_of(n):
    """Distinct digests whose order is not that of the rows."""
    return tuple(bytes([37 * i % 251, i]) for i in range(n))


def greedy(scores, k, keys):
    """All pairs from the best down, each taken where its row is free and its class has room."""
    m, c = scores.shape
    seats, counts = {}, [0] * c
    for row, label in sorted(
        ((i, j) for i in range(m) for j in range(c)), key=lambda pair: (-scores[pair], keys[pair[0]], pair[1])
    ):
        if row not in seats and counts[label] < k:
            seats[row] = label
            counts[label] += 1
    return seats


tables = st.tuples(st.integers(1, 24), st.integers(1, 6), st.integers(1, 8), st.integers(0, 10**6), st.booleans())


def drawn(m, c, seed, *, tied):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 4, size=(m, c)) / 4 if tied else generator.random((m, c))


@settings(max_examples=200, deadline=None)
@given(tables)
def test_selection_is_the_greedy_one_over_all_pairs(table):
    m, c, k, seed, tied = table
    scores = drawn(m, c, seed, tied=tied)
    rows, labels = top_k_per_class(scores, k, keys=keys_of(m))
    assert dict(zip(rows.tolist(), labels.tolist(), strict=True)) == greedy(scores, k, keys_of(m))


@settings(max_examples=100, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_selection_does_not_depend_on_the_order_of_the_rows(table, random):
    m, c, k, seed, tied = table
    scores = drawn(m, c, seed, tied=tied)
    order = list(range(m))
    random.shuffle(order)
    rows, labels = top_k_per_class(scores, k, keys=keys_of(m))
    again, same = top_k_per_class(scores[order], k, keys=[keys_of(m)[i] for i in order])
    assert np.array_equal(np.array(order)[again], rows)
    assert np.array_equal(same, labels)


@settings(max_examples=100, deadline=None)
@given(tables)
def test_never_more_than_k_per_class_one_class_per_row_and_as_many_as_fit(table):
    m, c, k, seed, tied = table
    rows, labels = top_k_per_class(drawn(m, c, seed, tied=tied), k, keys=keys_of(m))
    assert np.bincount(labels, minlength=c).max() <= k
    assert len(np.unique(rows)) == len(rows) == min(m, k * c)


def test_a_row_that_is_too_far_down_falls_to_its_next_class():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.15, 0.05], [0.6, 0.1, 0.3]])
    rows, labels = top_k_per_class(scores, 1, keys=keys_of(3))
    assert rows.tolist() == [0, 1, 2]
    assert labels.tolist() == [0, 1, 2]


def test_a_better_row_that_comes_later_takes_the_place_and_the_other_moves_on():
    scores = np.array([[0.5, 0.45], [0.9, 0.1], [0.2, 0.8]])
    rows, labels = top_k_per_class(scores, 1, keys=keys_of(3))
    assert rows.tolist() == [1, 2]
    assert labels.tolist() == [0, 1]


def test_selected_rows_stand_by_class_and_falling_score():
    scores = np.array([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert top_k_per_class(scores, 2, keys=keys_of(4))[0].tolist() == [2, 0, 1, 3]


def test_selection_in_chunks_equals_selection_at_once(monkeypatch):
    scores = drawn(60, 5, 3, tied=True)
    whole = top_k_per_class(scores, 7, keys=keys_of(60))
    monkeypatch.setattr(pseudolabels, "CHUNK_ROWS", 7)
    assert all(np.array_equal(a, b) for a, b in zip(whole, top_k_per_class(scores, 7, keys=keys_of(60)), strict=True))


def test_an_empty_pool_selects_nothing():
    rows, labels = top_k_per_class(np.empty((0, 3)), 2, keys=())
    assert rows.shape == labels.shape == (0,)


@pytest.mark.parametrize(
    ("scores", "k", "error", "message"),
    [
        (np.zeros((2, 3)), 0, ParameterError, "`k` must be a whole number above 0; got 0"),
        (np.zeros((3, 3)), 1, InvalidFeaturesError, r"got shape \(3, 3\) and 2 keys"),
        (np.zeros((2, 0)), 1, InvalidFeaturesError, "at least one class"),
        (np.array([[0.0, np.nan], [0, 0]]), 1, InvalidFeaturesError, "got nan at row 0, class 1"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(scores, k, error, message):
    with pytest.raises(error, match=message):
        top_k_per_class(scores, k, keys=(b"a", b"b"))


@settings(max_examples=100, deadline=None)
@given(pool=st.integers(0, 5000), classes=st.integers(1, 300), rounds=st.integers(1, 20))
def test_grip_grows_and_ends_with_an_equal_share_of_the_pool(pool, classes, rounds):
    sizes = growing_sizes(pool, classes, rounds=rounds)
    assert len(sizes) == rounds
    assert list(sizes) == sorted(sizes)
    assert sizes[-1] == pool // classes


def test_grip_sizes_are_the_published_ones():
    expected = tuple(int((r + 1) * (1234 / 10) / 7) for r in range(10))
    assert growing_sizes(1234, 7, rounds=10) == expected


def test_log_probabilities_are_those_of_scipy_and_tell_saturated_rows_apart():
    from scipy.special import log_softmax

    logits = np.random.default_rng(0).normal(size=(40, 6)) * 5
    np.testing.assert_allclose(log_probabilities(logits), log_softmax(logits, axis=1), atol=1e-12)
    certain, more = log_probabilities(np.array([[50.0, 0.0], [60.0, 0.0]]))[:, 0]
    assert np.exp([certain, more]).tolist() == [1.0, 1.0]
    assert certain < more < 0
    assert log_probabilities(np.array([[3.0], [-2.0]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(("labelled", "pseudo", "expected"), [(20, 160, (8, 1)), (160, 20, (1, 8)), (0, 9, (1, 1))])
def test_the_smaller_set_is_repeated(labelled, pseudo, expected):
    assert repetitions(labelled, pseudo) == expected
    assert repetitions(7, 7) == (1, 1)


@pytest.mark.parametrize("student", ["gda", "linear"])
def test_one_round_is_the_student_of_labelled_and_pseudo_labelled_rows(digits, student):
    support, labels = digits.complete(0, 20)
    adapter = GrowingPseudoLabels(rounds=1, student=student, alpha=0.7, C=3.0).fit(support, labels)
    rows, pseudo = adapter.pseudo_rows_, adapter.pseudo_labels_
    teacher = ZeroShot().fit(support, labels)
    logits = teacher.decision_function(Features(image=support.unlabelled))
    expected = greedy(log_probabilities(logits.astype(float)), 20, pseudolabels.row_keys(support.unlabelled))
    assert dict(zip(rows.tolist(), pseudo.tolist(), strict=True)) == expected
    image = np.vstack([np.tile(support.image, (10, 1)), support.unlabelled[rows]])
    joined = Features(image=image, prototypes=support.prototypes)
    alone = GDA(alpha=0.7) if student == "gda" else LinearProbe(C=3.0)
    alone.fit(joined, np.concatenate([np.tile(labels, 10), pseudo]))
    query = digits.part(300, 500)[0]
    np.testing.assert_allclose(adapter.decision_function(query), alone.decision_function(query), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("student", ["gda", "linear"])
def test_without_a_pool_the_student_learns_from_the_labelled_rows_alone(digits, student):
    support, labels = digits.complete(0, 100)
    bare = replace(support, unlabelled=support.unlabelled[:0], unlabelled_second=None, views=None)
    adapter = GrowingPseudoLabels(student=student).fit(bare, labels)
    assert adapter.fallback_ == "no pseudo-labels: 0 unlabelled rows for 10 classes"
    assert adapter.pseudo_rows_.shape == (0,)
    alone = (GDA(alpha=1.0) if student == "gda" else LinearProbe()).fit(bare, labels)
    query = digits.part(300, 400)[0]
    np.testing.assert_allclose(adapter.decision_function(query), alone.decision_function(query), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("student", ["gda", "linear", "prompt"])
def test_without_rows_of_any_kind_it_is_zero_shot_exactly(digits, student):
    support, labels = digits.complete(0, 50)
    none = replace(support, unlabelled=support.unlabelled[:0], unlabelled_second=None).rows(slice(0))
    adapter = GrowingPseudoLabels(student=student).fit(none, labels[:0])
    assert adapter.fallback_.startswith("zero-shot: ")
    query = digits.part(300, 400)[0]
    zero_shot = ZeroShot().fit(support, labels)
    assert np.array_equal(adapter.decision_function(query), zero_shot.decision_function(query))


def test_the_order_of_the_pool_does_not_matter(digits):
    support, labels = digits.complete(0, 20)
    order = np.random.default_rng(1).permutation(len(support.unlabelled))
    shuffled = replace(support, unlabelled=support.unlabelled[order], unlabelled_second=None)
    adapter, other = GrowingPseudoLabels().fit(support, labels), GrowingPseudoLabels().fit(shuffled, labels)
    assert np.array_equal(order[other.pseudo_rows_], adapter.pseudo_rows_)
    assert np.array_equal(other.pseudo_labels_, adapter.pseudo_labels_)
    np.testing.assert_allclose(other.weight_, adapter.weight_, rtol=1e-6, atol=1e-6)


def test_pseudo_labels_of_a_pool_of_one_picture_do_no_harm(digits):
    support, _ = digits.complete(0, 20)
    pool = unit_rows(np.ones((30, 64)))
    adapter = GrowingPseudoLabels().fit(
        replace(support, unlabelled=pool, unlabelled_second=None).rows(slice(0)), np.empty(0, np.int64)
    )
    assert np.isfinite(adapter.decision_function(digits.part(200, 300)[0])).all()
    assert adapter.fallback_.startswith("identity covariance")


def test_a_bad_student_is_refused(digits):
    with pytest.raises(ParameterError, match="`student` must be one of gda, linear, prompt; got 'tip'"):
        GrowingPseudoLabels(student="tip").fit(*digits.complete(0, 20))
    with pytest.raises(ParameterError, match="`alpha` must be a finite number of at least 0; got -1"):
        GrowingPseudoLabels(alpha=-1).fit(*digits.complete(0, 20))
    with pytest.raises(ParameterError, match="`C` must be a finite number above 0; got 0"):
        GrowingPseudoLabels(C=0).fit(*digits.complete(0, 20))


@pytest.mark.parametrize("student", ["gda", "linear", "prompt"])
def test_only_a_linear_student_rules_out_a_class_that_no_row_speaks_for(digits, student):
    features, labels = digits.complete(0, 200)
    kept = np.flatnonzero(labels != 4)
    alone = replace(features, unlabelled=features.unlabelled[:0], unlabelled_second=None).rows(kept)
    adapter = GrowingPseudoLabels(student=student).fit(alone, labels[kept])
    assert np.flatnonzero(adapter.ruled_out()).tolist() == ([4] if student == "linear" else [])
