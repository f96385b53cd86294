import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.ood import scores
from evenly.adapters.ood.scores import LOGIT_SCORES, energy, entropy, max_logit, msp

LOGITS = np.random.default_rng(0).normal(size=(50, 7)) * 20


def test_scores_equal_scipys():
    from scipy.special import logsumexp
    from scipy.stats import entropy as entropy_of

    probabilities = softmax(LOGITS)
    np.testing.assert_allclose(msp(LOGITS), probabilities.max(axis=1))
    np.testing.assert_allclose(max_logit(LOGITS), LOGITS.max(axis=1))
    np.testing.assert_allclose(energy(LOGITS), logsumexp(LOGITS, axis=1))
    np.testing.assert_allclose(entropy(LOGITS), -entropy_of(probabilities, axis=1), atol=1e-12)


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_a_clear_row_scores_higher_than_a_flat_one(name):
    clear, flat = LOGIT_SCORES[name](np.array([[9.0, 0, 0], [1.0, 1, 1]]))
    assert clear > flat


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_chunks_change_nothing(name, monkeypatch):
    whole = LOGIT_SCORES[name](LOGITS)
    monkeypatch.setattr(scores, "_CHUNK", 20)
    assert np.array_equal(LOGIT_SCORES[name](LOGITS), whole)


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_class_order_changes_nothing_and_no_rows_are_no_error(name):
    np.testing.assert_allclose(LOGIT_SCORES[name](LOGITS[:, ::-1]), LOGIT_SCORES[name](LOGITS), rtol=1e-12, atol=1e-12)
    assert LOGIT_SCORES[name](np.empty((0, 3))).shape == (0,)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), st.floats(-1e3, 1e3))
def test_probability_scores_ignore_a_shift_and_the_others_follow_it(row, shift):
    logits = np.array([row])
    for score in (msp, entropy):
        np.testing.assert_allclose(score(logits + shift), score(logits), atol=1e-6)
    for score in (max_logit, energy):
        np.testing.assert_allclose(score(logits + shift), score(logits) + shift, atol=1e-6)
    assert -np.log(len(row)) - 1e-12 <= entropy(logits)[0] <= 0
    assert 1 / len(row) - 1e-12 <= msp(logits)[0] <= 1


def test_a_class_of_no_probability_adds_nothing():
    logits = np.log(np.array([[0.5, 0.5, 1e-300]]))
    none = np.array([[np.log(0.5), np.log(0.5), -np.inf]])
    np.testing.assert_allclose(entropy(none), -np.log(2))
    np.testing.assert_allclose(entropy(logits), -np.log(2))
    np.testing.assert_allclose(msp(none), 0.5)
    np.testing.assert_allclose(energy(none), 0, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_nan_and_infinity_are_refused_by_row(name, bad):
    logits = LOGITS.copy()
    logits[3, 2] = bad
    with pytest.raises(
        InvalidFeaturesError, match=r"`logits` must have a finite maximum in each row; got \w+ at row 3"
    ):
        LOGIT_SCORES[name](logits)


def test_one_axis_is_refused():
    with pytest.raises(InvalidFeaturesError, match=r"`logits` must have shape \(n, c\)"):
        msp(LOGITS[0])
