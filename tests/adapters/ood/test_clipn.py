import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.ood import clipn
from evenly.adapters.ood.clipn import atd, atd_of_rows, clipn_label, ctw, ctw_of_rows

GENERATOR = np.random.default_rng(0)
YES = GENERATOR.normal(size=(40, 5)) * 10
NO = GENERATOR.normal(size=(40, 5)) * 10


def test_scores_equal_the_loop_over_rows_and_classes():
    from scipy.special import expit, softmax

    for row, (yes, no) in enumerate(zip(YES, NO, strict=True)):
        q = [expit(yes[c] - no[c]) for c in range(5)]
        agreed = [softmax(yes)[c] * q[c] for c in range(5)]
        assert ctw(YES, NO)[row] == pytest.approx(q[int(np.argmax(yes))])
        assert atd(YES, NO)[row] == pytest.approx(sum(agreed))


def test_both_lie_in_0_to_1_for_extreme_logits():
    wild = np.array([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [1e4, 1e4]])
    for score in (ctw(wild, wild[::-1]), atd(wild, wild[::-1]), ctw(YES, NO), atd(YES, NO)):
        assert ((score >= 0) & (score <= 1)).all()


def test_denials_equal_to_the_class_texts_give_one_half(digits):
    features, _ = digits.complete(0, 60)
    for score in (ctw_of_rows, atd_of_rows):
        np.testing.assert_allclose(score(features.image, features.prototypes, features.prototypes), 0.5)


def test_scores_of_rows_use_100_times_the_cosine(digits):
    features, _ = digits.complete(0, 60)
    yes = 100 * features.image.astype(float) @ features.prototypes.T
    no = 100 * features.image.astype(float) @ features.negation_prototypes.T
    arrays = (features.image, features.prototypes, features.negation_prototypes)
    np.testing.assert_allclose(ctw_of_rows(*arrays), ctw(yes, no), rtol=1e-6)
    np.testing.assert_allclose(atd_of_rows(*arrays), atd(yes, no), rtol=1e-6)


def test_small_scores_still_rank():
    yes = np.array([[0.0, -5], [0.0, -5]])
    no = np.array([[60.0, 60], [80.0, 80]])
    first, second = ctw(yes, no)
    assert 0 < second < first < 1e-20
    first, second = atd(yes, no)
    assert 0 < second < first < 1e-20


def test_chunks_change_nothing(monkeypatch):
    whole = atd(YES, NO)
    monkeypatch.setattr(clipn, "_CHUNK", 15)
    assert np.array_equal(atd(YES, NO), whole)


def test_hand_written_negations_are_labelled():
    assert clipn_label() == "plain-CLIP negations (not the trained CLIPN no-encoder)"
    assert clipn_label(trained_no=True) == "learned no-prompts (not the trained CLIPN no-encoder)"


def test_denials_that_do_not_match_are_refused():
    with pytest.raises(InvalidFeaturesError, match=r"`no` must have the shape of `yes`, \(40, 5\); got \(40, 4\)"):
        ctw(YES, NO[:, :4])
    with pytest.raises(InvalidFeaturesError, match="`no` must be finite"):
        atd(np.zeros((1, 2)), np.array([[0.0, -np.inf]]))
