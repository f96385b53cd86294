import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import (
    accuracy,
    expected_calibration_error,
    mean_per_class_accuracy,
    per_class,
    softmax,
    top_k_accuracy,
)

labelled = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80)


@settings(deadline=None)
@given(labelled)
def test_accuracies_equal_scikit_learns(pairs):
    from sklearn.metrics import accuracy_score, recall_score

    predictions, labels = np.array(pairs).T
    assert accuracy(predictions, labels) == pytest.approx(accuracy_score(labels, predictions))
    present = np.unique(labels)
    recalls = recall_score(labels, predictions, labels=present, average=None, zero_division=0)
    assert mean_per_class_accuracy(predictions, labels) == pytest.approx(recalls.mean())
    table = per_class(predictions, labels, "abcde")
    np.testing.assert_allclose(table["accuracy"].to_numpy()[present], recalls)
    assert table["n"].sum() == len(pairs)
    assert table["correct"].sum() == (predictions == labels).sum()


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_accuracy_equals_scikit_learns(k):
    from sklearn.metrics import top_k_accuracy_score

    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(200, 10)), generator.integers(10, size=200)
    expected = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(10))
    assert top_k_accuracy(logits, labels, k=k) == pytest.approx(expected)


def test_of_equal_logits_the_first_class_ranks_first():
    flat, labels = np.zeros((10, 10)), np.arange(10)
    assert top_k_accuracy(flat, labels, k=3) == pytest.approx(0.3)
    tied = np.random.default_rng(0).integers(3, size=(300, 4)).astype(np.float32)
    truth = np.random.default_rng(1).integers(4, size=300)
    assert top_k_accuracy(tied, truth, k=1) == accuracy(tied.argmax(axis=1), truth)
    assert top_k_accuracy(tied, truth, k=4) == 1


def test_top_k_accuracy_refuses_what_it_cannot_rank():
    assert np.isnan(top_k_accuracy(np.empty((0, 3)), np.empty(0, np.int64)))
    with pytest.raises(ParameterError, match="`k` must be at least 1; got 0"):
        top_k_accuracy(np.zeros((1, 2)), np.array([0]), k=0)
    with pytest.raises(InvalidFeaturesError, match="`logits` must hold no NaN"):
        top_k_accuracy(np.array([[np.nan, 1.0]]), np.array([0]))


def test_a_class_without_rows_is_nan_not_zero():
    table = per_class(np.array([0, 2]), np.array([0, 0]), ["ant", "bee", "cow"])
    assert table["class"].tolist() == ["ant", "bee", "cow"]
    assert table["n"].tolist() == [2, 0, 0]
    assert table["accuracy"].iloc[0] == 0.5
    assert table["accuracy"].iloc[1:].isna().all()


def test_no_rows_give_nan():
    none = np.empty(0, np.int64)
    assert np.isnan(accuracy(none, none))
    assert np.isnan(mean_per_class_accuracy(none, none))
    assert np.isnan(expected_calibration_error(np.empty((0, 3)), none))


def test_softmax_sums_to_one_and_stands_large_logits():
    logits = np.array([[1e4, -1e4, 0.0], [1.0, 2.0, 3.0]], dtype=np.float32)
    probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[1], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum())


def test_calibration_error_equals_the_loop_over_bins_of_scikit_learns_curve(digits):
    from sklearn.calibration import calibration_curve
    from sklearn.linear_model import LogisticRegression

    image, labels = digits.features.image.astype(float), digits.labels
    model = LogisticRegression(C=0.05).fit(image[:300], labels[:300])
    probabilities = model.predict_proba(image[300:])
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels[300:]
    share, confidence = calibration_curve(right, top, n_bins=15)
    sizes = np.histogram(top, bins=15, range=(0, 1))[0]
    expected = (sizes[sizes > 0] / len(top) * np.abs(share - confidence)).sum()
    assert expected_calibration_error(probabilities, labels[300:]) == pytest.approx(expected)


def test_calibration_error_of_known_cases():
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert expected_calibration_error(certain, np.array([0, 0])) == 0
    assert expected_calibration_error(certain, np.array([1, 1])) == 1
    assert expected_calibration_error(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])) == pytest.approx(0)


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(InvalidFeaturesError, match="`predictions` must have the shape of `labels`"):
        accuracy(np.array([0]), np.array([0, 1]))
