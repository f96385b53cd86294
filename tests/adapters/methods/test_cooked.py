"""COOkeD: the mean of three probabilities, which third one it is, and what a judged row must hold."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import unit_rows
from evenly.adapters.methods.cooked import NO_THIRD, ON_IMAGES, ON_SECOND, Cooked
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.zero_shot import ZeroShot


@pytest.fixture
def support(digits):
    return digits.complete(0, 200)


@pytest.fixture
def query(digits):
    return digits.complete(200, 500)[0]


def without_second(features):
    return replace(features, second=None, unlabelled_second=None)


def probe(rows, labels, judged, C):
    """What scikit-learn says of `judged` after a fit on `rows` brought to a mean length of 1."""
    from sklearn.linear_model import LogisticRegression

    length = np.sqrt((rows.astype(float) ** 2).sum(axis=1).mean())
    model = LogisticRegression(C=C, max_iter=1000).fit(rows.astype(float) / length, labels)
    return model.predict_proba(judged.astype(float) / length)


@pytest.mark.parametrize("second", [True, False])
def test_it_is_the_mean_of_the_three_probabilities(support, query, second):
    features, labels = support if second else (without_second(support[0]), support[1])
    adapter = Cooked(C=5.0).fit(features, labels)
    first = softmax(ZeroShot().fit(features, labels).decision_function(query))
    own = probe(features.image * features.norms[:, None], labels, query.image * query.norms[:, None], 5.0)
    if second:
        third = probe(features.second, labels, query.second, 5.0)
    else:
        gda = GDA().fit(features, labels)
        third = softmax(query.image @ gda.weight_.T + gda.bias_)
    assert adapter.third_ == (ON_SECOND if second else ON_IMAGES)
    expected = (first + own + third) / 3
    np.testing.assert_allclose(adapter.probabilities(query), expected, atol=1e-4)
    np.testing.assert_allclose(np.exp(adapter.decision_function(query)), expected, atol=1e-4)


def test_probabilities_add_up_to_one(support, query):
    for features in (support[0], without_second(support[0])):
        probabilities = Cooked().fit(features, support[1]).probabilities(query)
        assert probabilities.shape == (300, 10)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


def test_a_permutation_of_the_classes_permutes_the_probabilities(support, query):
    features, labels = support
    order = np.random.default_rng(0).permutation(10)
    others = dict.fromkeys(("class_texts", "class_text_labels", "pair_texts", "pair_text_classes"))
    others |= dict.fromkeys(("context_prototypes", "negation_prototypes"))
    moved = replace(features, **others, prototypes=features.prototypes[order])
    straight = Cooked().fit(features, labels).probabilities(query)
    permuted = Cooked().fit(moved, np.argsort(order)[labels]).probabilities(replace(query, prototypes=None))
    np.testing.assert_allclose(permuted, straight[:, order], atol=1e-3)


def test_the_probe_sees_the_length_of_the_features_but_not_its_unit(support, query):
    features, labels = support
    straight = Cooked().fit(features, labels).probabilities(query)
    tenfold = Cooked().fit(replace(features, norms=10 * features.norms), labels)
    np.testing.assert_allclose(tenfold.probabilities(replace(query, norms=10 * query.norms)), straight, atol=1e-3)
    telling = replace(features, norms=(1.0 + 10 * (labels % 2)).astype(np.float32))
    longer = np.abs(Cooked().fit(telling, labels).probabilities(query) - straight)
    assert longer.max() > 0.05


def test_a_class_without_images_keeps_what_zero_shot_gives_it(support, query):
    features, labels = support
    some = np.flatnonzero(labels != 4)
    probabilities = Cooked().fit(features.rows(some), labels[some]).probabilities(query)
    zero_shot = softmax(ZeroShot().fit(features, labels).decision_function(query))
    np.testing.assert_allclose(probabilities[:, 4], zero_shot[:, 4] / 3, atol=1e-6)


def test_logits_stay_finite_however_certain_the_classifiers_are(support, query):
    adapter = Cooked(logit_scale=1e5, C=1e6).fit(*support)
    assert np.isfinite(adapter.decision_function(query)).all()


def test_one_class_falls_back_to_zero_shot_in_words(support, query):
    features, labels = support
    some = np.flatnonzero(labels == 6)
    adapter = Cooked().fit(features.rows(some), labels[some])
    assert adapter.third_ == NO_THIRD
    assert adapter.fallback_ == "zero-shot: the probes need 2 classes with images; got 1"
    zero_shot = softmax(ZeroShot().fit(features, labels).decision_function(query))
    np.testing.assert_allclose(adapter.probabilities(query), zero_shot, atol=1e-6)


def test_a_fallback_of_gda_and_a_stopped_solver_are_said(support):
    features, labels = replace(without_second(support[0]), views=None), support[1]
    ten = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    adapter = Cooked(max_iterations=1).fit(features.rows(ten), labels[ten])
    assert adapter.fallback_ == "GDA with identity covariance: 10 rows are not more than 10 classes"
    assert adapter.converged_ == "no"
    assert Cooked().fit(features, labels).converged_ == "yes"


def test_rows_must_hold_what_the_fit_used(support, query):
    features, labels = support
    adapter = Cooked().fit(features, labels)
    with pytest.raises(MissingFeaturesError, match="got none for `second`"):
        adapter.decision_function(without_second(query))
    with pytest.raises(MissingFeaturesError, match="got none for `norms`"):
        adapter.decision_function(replace(query, norms=None))
    other = replace(query, second=unit_rows(query.second[:, :8]), unlabelled_second=None)
    with pytest.raises(InvalidFeaturesError, match="`second` must have dimension 16, as at `fit`; got 8"):
        adapter.decision_function(other)
    on_images = Cooked().fit(without_second(features), labels)
    assert on_images.decision_function(without_second(query)).shape == (300, 10)


@pytest.mark.parametrize("second", [True, False])
def test_its_parts_are_the_three_classifiers_and_average_to_it(support, query, second):
    features, labels = support if second else (without_second(support[0]), support[1])
    adapter = Cooked().fit(features, labels)
    parts = adapter.parts(query)
    assert list(parts) == ["zero-shot", "probe on the image features", ON_SECOND if second else ON_IMAGES]
    assert adapter.fields_of_rows() == (("norms", "second") if second else ("norms",))
    mean = np.mean([np.exp(one) for one in parts.values()], axis=0)
    np.testing.assert_allclose(mean, adapter.probabilities(query), atol=1e-6)
    assert not Cooked().fit(features.rows(slice(1)), labels[:1]).parts(query)


def test_it_beats_zero_shot_on_real_digits(digits):
    (support, labels), (query, truth) = digits.complete(0, 300), digits.complete(300, 1500)
    zero_shot = np.mean(ZeroShot().fit(support, labels).predict(query) == truth)
    assert np.mean(Cooked().fit(support, labels).predict(query) == truth) > zero_shot + 0.15


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": 0}, "`C` must be a finite number above 0; got 0"),
        ({"max_iterations": 0.5}, "`max_iterations` must be a whole number above 0; got 0.5"),
    ],
)
def test_bad_parameters_are_refused(support, parameters, message):
    with pytest.raises(ParameterError, match=message):
        Cooked(**parameters).fit(*support)
