import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.methods.linear import LinearProbe


@pytest.mark.parametrize("classes", [range(10), [2, 5, 7], [1, 8]])
def test_it_is_scikit_learns_logistic_regression_on_the_classes_present(digits, classes):
    from sklearn.linear_model import LogisticRegression

    (features, labels), (query, _) = digits.part(0, 400), digits.part(400, 700)
    some = np.flatnonzero(np.isin(labels, classes))
    probe = LinearProbe(C=10.0).fit(features.rows(some), labels[some])
    model = LogisticRegression(C=10.0, max_iter=1000).fit(features.image[some].astype(float), labels[some])
    probabilities = softmax(probe.decision_function(query))
    np.testing.assert_allclose(
        probabilities[:, list(classes)], model.predict_proba(query.image.astype(float)), atol=1e-5
    )
    assert np.array_equal(probe.predict(query), model.predict(query.image.astype(float)))


def test_a_class_without_support_has_probability_zero(digits):
    features, labels = digits.part(0, 400)
    some = np.flatnonzero(labels != 4)
    for C in (1e-6, 1.0, 1e6):
        probe = LinearProbe(C=C).fit(features.rows(some), labels[some])
        assert (softmax(probe.decision_function(features))[:, 4] == 0).all()


def test_a_stopped_solver_is_said_and_not_warned_about(digits):
    assert LinearProbe(C=1e6, max_iterations=3).fit(*digits.part(0, 200)).converged_ == "no"
    assert LinearProbe().fit(*digits.part(0, 200)).converged_ == "yes"


def test_one_class_falls_back_to_zero_shot_in_words(digits):
    features, labels = digits.part(0, 100)
    some = np.flatnonzero(labels == 6)
    probe = LinearProbe().fit(features.rows(some), labels[some])
    assert probe.fallback_ == "zero-shot: a linear probe needs 2 classes with images; got 1"


def test_the_texts_do_not_matter(digits):
    features, labels = digits.part(0, 100)
    other = features.with_prototypes(digits.prototypes["descriptions"])
    assert np.array_equal(LinearProbe().fit(features, labels).weight_, LinearProbe().fit(other, labels).weight_)


@pytest.mark.parametrize("C", [0, -1, float("inf"), "1", True])
def test_a_penalty_out_of_range_is_refused(digits, C):
    with pytest.raises(ParameterError, match="`C` must be a finite number above 0"):
        LinearProbe(C=C).fit(*digits.part(0, 50))


def test_one_image_per_class_is_no_cause_for_a_warning(digits, recwarn):
    features, labels = digits.part(0, 200)
    first = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    LinearProbe().fit(features.rows(first), labels[first])
    assert not recwarn.list
