"""AMU: the head it starts from, the uncertainty that fuses it, and rows that would divide by zero."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.amu import AMU, fourth_moment, fusion_strength, standardised
from evenly.adapters.methods.zero_shot import ZeroShot

KINDS = ("moment", "entropy", "maximum")


def made(*, c, n, d=12, e=6, seed=0):
    """Random unit rows of c classes and their labels; the first rows hold one of each class."""
    generator = np.random.default_rng(seed)
    features = Features(
        image=unit_rows(generator.normal(size=(n, d))),
        second=unit_rows(generator.normal(size=(n, e))),
        prototypes=unit_rows(generator.normal(size=(c, d))),
    )
    return features, np.arange(n) % c


def test_the_head_starts_as_the_nearest_class_mean(digits):
    (support, labels), (query, _) = digits.complete(0, 200), digits.complete(200, 500)
    adapter = AMU(epochs=0, alpha=1e9).fit(support, labels)
    means = np.stack([support.second[labels == k].astype(float).mean(axis=0) for k in range(10)])
    np.testing.assert_allclose(adapter.weight_, means, atol=1e-7)
    assert np.array_equal(adapter.predict(query), (query.second.astype(float) @ means.T).argmax(axis=1))


def test_logits_equal_the_published_formula(digits):
    (support, labels), (query, _) = digits.complete(0, 100), digits.complete(200, 220)
    adapter = AMU(epochs=2, alpha=0.7, moment_scale="published").fit(support, labels)
    for image, second, logits in zip(query.image, query.second, adapter.decision_function(query), strict=True):
        zero_shot = np.array([100 * float(image.astype(float) @ t) for t in support.prototypes.astype(float)])
        outputs = np.array([float(second @ w) for w in adapter.weight_])
        p = np.exp(zero_shot) / np.exp(zero_shot).sum()
        m4 = np.mean([((one - p.mean()) / p.std(ddof=1)) ** 4 for one in p])
        z = (outputs - outputs.mean()) / outputs.std(ddof=1)
        np.testing.assert_allclose(logits, zero_shot + 0.7 * (m4 / 250) ** -0.4 * z, rtol=1e-5)


def test_the_first_step_is_that_of_adamw_on_both_branches():
    features, labels = made(c=4, n=30)
    zero_shot = ZeroShot().fit(features, labels)._logits(features)
    moment = fourth_moment(softmax(zero_shot)).mean()
    strength = 0.5 * fusion_strength(zero_shot, kind="moment", rho=0.4, moment_scale=float(moment))

    def loss(head):
        z = standardised(features.second.astype(float) @ head.T)
        branches = [softmax(logits)[np.arange(30), labels] for logits in (zero_shot + strength * z, z)]
        return -0.35 * np.log(branches[0]).mean() - 0.65 * np.log(branches[1]).mean()

    start = AMU(epochs=0).fit(features, labels).weight_
    steps = 1e-6 * np.eye(start.size).reshape(-1, *start.shape)
    gradient = np.array([loss(start + one) - loss(start - one) for one in steps]).reshape(start.shape) / 2e-6
    expected = start * (1 - 1e-3 * 0.01) - 1e-3 * gradient / (np.abs(gradient) + 1e-4)
    trained = AMU(epochs=1, batch_size=30).fit(features, labels).weight_
    np.testing.assert_allclose(trained, expected, atol=2e-6)


@pytest.mark.parametrize("c", [10, 100, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_the_head_counts_less_the_more_confident_zero_shot_is(kind, c):
    raw = np.random.default_rng(0).normal(size=(50, c))
    strengths = np.hstack(
        [fusion_strength(sharpness * raw, kind=kind, rho=0.4, moment_scale=1.0) for sharpness in (0.5, 1, 2, 4, 8)]
    )
    assert (strengths > 0).all()
    assert (np.diff(strengths.mean(axis=0)) < 0).all()
    if kind != "moment":  # of a row whose two best classes are level, the fourth moment may stay or fall
        assert (np.diff(strengths, axis=1) < 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [1, 2, 3, 10, 1000])
def test_any_number_of_classes_gives_finite_logits(c, kind):
    features, labels = made(c=c, n=2 * c)
    adapter = AMU(uncertainty=kind, epochs=1, batch_size=256).fit(features, labels).calibrate(features.rows(slice(5)))
    assert np.isfinite(adapter.decision_function(features)).all()


@pytest.mark.parametrize("c", [1, 2, 7, 1000])
@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_zero_shot_that_cannot_tell_or_is_certain_gives_a_finite_strength(c, kind):
    certain = np.full((1, c), -2000.0)
    certain[0, 0] = 2000.0
    for logits in (np.full((3, c), 7.0), certain):
        strength = fusion_strength(logits, kind=kind, rho=0.4, moment_scale=3.0)
        assert np.isfinite(strength).all()
        assert (strength > 0).all()


def test_the_fourth_moment_lies_between_its_bounds():
    for c in (2, 3, 10, 1000):
        one = np.eye(c)[:1]
        halves = np.zeros((1, c))
        halves[0, : max(c // 2, 1)] = 2 / c
        assert fourth_moment(one)[0, 0] == pytest.approx(c, rel=4 / c)
        assert fourth_moment(halves)[0, 0] >= ((c - 1) / c) ** 2 * (1 - 1e-12)
        assert fourth_moment(np.full((1, c), 1 / c))[0, 0] == pytest.approx(((c - 1) / c) ** 2)


def test_a_row_of_equal_outputs_says_nothing():
    outputs = np.array([[0.3, 0.3, 0.3], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(standardised(outputs), [[0, 0, 0], [-1, 0, 1]], atol=1e-9)
    features, labels = made(c=4, n=40)
    same = replace(features, second=np.repeat(features.second[:1], 40, axis=0))
    adapter = AMU(epochs=0).fit(same, labels)
    zero_shot = ZeroShot().fit(same, labels).decision_function(same)
    np.testing.assert_allclose(adapter.decision_function(same), zero_shot, atol=1e-5)
    assert np.isfinite(AMU(epochs=3).fit(same, labels).decision_function(same)).all()


def test_the_strength_is_about_one_on_the_rows_it_is_calibrated_on(digits):
    (support, labels), (validation, _) = digits.complete(0, 100), digits.complete(200, 400)
    adapter = AMU(epochs=1).fit(support, labels)
    own = adapter.moment_.copy()
    adapter.calibrate(validation)
    zero_shot = ZeroShot().fit(support, labels)._logits(validation)
    exponent_one = fusion_strength(zero_shot, kind="moment", rho=-1.0, moment_scale=float(adapter.moment_[0]))
    assert exponent_one.mean() == pytest.approx(1)
    assert adapter.moment_[0] != own[0]
    assert adapter.calibrate(validation.rows(slice(0))).moment_[0] != own[0]


def test_the_published_scale_stays_whatever_the_rows(digits):
    adapter = AMU(epochs=1, moment_scale="published").fit(*digits.complete(0, 100))
    assert adapter.calibrate(digits.complete(200, 300)[0]).moment_.tolist() == [250]


def test_a_class_without_support_gets_the_mean_output_of_the_others(digits):
    features, labels = digits.complete(0, 200)
    some = np.flatnonzero(labels != 4)
    weight = AMU(epochs=3).fit(features.rows(some), labels[some]).weight_
    np.testing.assert_allclose(weight[4], np.delete(weight, 4, axis=0).mean(axis=0), rtol=1e-6)


def test_training_moves_the_head_towards_the_labels(digits):
    (support, labels), (query, truth) = digits.complete(0, 300), digits.complete(300, 1500)
    right = [np.mean(AMU(epochs=n, alpha=10.0).fit(support, labels).predict(query) == truth) for n in (0, 50)]
    zero_shot = np.mean(ZeroShot().fit(support, labels).predict(query) == truth)
    assert zero_shot + 0.05 < right[0] < right[1] - 0.02


def test_one_class_falls_back_to_zero_shot_in_words(digits):
    features, labels = digits.complete(0, 100)
    some = np.flatnonzero(labels == 6)
    adapter = AMU().fit(features.rows(some), labels[some])
    assert adapter.fallback_ == "zero-shot: the head needs 2 classes with images; got 1"
    zero_shot = ZeroShot().fit(features, labels).decision_function(features)
    assert np.array_equal(adapter.decision_function(features), zero_shot)


def test_rows_without_the_second_backbone_or_of_another_one_are_refused(digits):
    (support, labels), (query, _) = digits.complete(0, 60), digits.complete(200, 210)
    with pytest.raises(MissingFeaturesError, match=r"adapter `AMU` must hold .*`second`"):
        AMU().fit(replace(support, second=None, unlabelled_second=None), labels)
    adapter = AMU(epochs=1).fit(support, labels)
    other = replace(query, second=unit_rows(query.second[:, :8]), unlabelled_second=None)
    with pytest.raises(InvalidFeaturesError, match="`second` must have dimension 16, as at `fit`; got 8"):
        adapter.decision_function(other)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1}, "`alpha` must be a finite number of at least 0; got -1"),
        ({"fused_share": 1.5}, "`fused_share` must lie in 0 to 1; got 1.5"),
        ({"uncertainty": "energy"}, "`uncertainty` must be one of moment, entropy, maximum, none; got 'energy'"),
        ({"moment_scale": 250}, "`moment_scale` must be one of mean, published; got 250"),
        ({"batch_size": 0}, "`batch_size` must be a whole number above 0; got 0"),
        ({"epochs": 1.5}, "`epochs` must be a whole number of at least 0; got 1.5"),
    ],
)
def test_bad_parameters_are_refused(digits, parameters, message):
    with pytest.raises(ParameterError, match=message):
        AMU(**parameters).fit(*digits.complete(0, 20))
