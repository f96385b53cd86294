"""Singular scaling: the decomposition it starts from, the conditions on the scales, and bases that are arbitrary."""

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.singular_scaling import SingularScaling, singular_basis
from evenly.adapters.methods.zero_shot import ZeroShot


@pytest.fixture
def support(digits):
    return digits.part(0, 200)


@pytest.fixture
def query(digits):
    return digits.part(200, 500)[0]


def scales(adapter):
    return np.exp(adapter.log_scales_)


def cross_entropy(adapter, features, labels):
    return -np.log(softmax(adapter.decision_function(features))[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("basis", ["texts", "images"])
def test_before_training_the_decomposed_model_equals_zero_shot(support, query, basis):
    adapter = SingularScaling(steps_per_shot=0, basis=basis).fit(*support)
    assert (scales(adapter) == 1).all()
    zero_shot = ZeroShot().fit(*support).decision_function(query)
    np.testing.assert_allclose(adapter.decision_function(query), zero_shot, atol=1e-4)


def test_logits_are_the_product_of_the_scaled_singular_values(support, query):
    adapter = SingularScaling(learning_rate=5e-2).fit(*support)
    left, values, right = np.linalg.svd(support[0].prototypes.astype(float), full_matrices=False)
    assert np.abs(scales(adapter) - 1).max() > 0.1
    expected = 100 * query.image.astype(float) @ right.T @ np.diag(values * scales(adapter)) @ left.T
    np.testing.assert_allclose(adapter.decision_function(query), expected, atol=1e-4)


def test_what_lies_outside_the_basis_of_the_images_keeps_its_scale(support):
    features, labels = support
    adapter = SingularScaling(basis="images", learning_rate=5e-2).fit(features.rows(slice(20)), labels[:20])
    assert adapter.basis_.shape == (20, 64)
    weight, _ = adapter.affine_form()
    outside = np.eye(64) - adapter.basis_.T @ adapter.basis_
    np.testing.assert_allclose(weight @ outside, 100 * features.prototypes.astype(float) @ outside, atol=1e-9)
    assert np.abs(weight - 100 * features.prototypes).max() > 1


def test_no_direction_changes_sign_or_leaves_the_limits(support, query):
    adapter = SingularScaling(learning_rate=10.0, limit=3.0).fit(*support)
    assert scales(adapter).min() == pytest.approx(1 / 3)
    assert scales(adapter).max() <= 3 + 1e-9
    assert np.isfinite(adapter.set_params(alpha=1e6).decision_function(query)).all()


def test_alpha_shrinks_the_scales_to_one(support):
    adapter = SingularScaling(learning_rate=5e-2).fit(*support)
    plain = 100 * support[0].prototypes.astype(float)
    sizes = [np.abs(adapter.set_params(alpha=alpha).affine_form()[0] - plain).sum() for alpha in (0, 0.25, 0.5, 1)]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)


def test_directions_of_equal_value_share_a_scale_whatever_basis_they_get(support):
    features, labels = support
    orthonormal = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 10)))[0].T.astype(np.float32)
    adapter = SingularScaling(learning_rate=5e-2).fit(features.with_prototypes(orthonormal), labels)
    assert len(np.unique(adapter.log_scales_)) == 1
    np.testing.assert_allclose(adapter.affine_form()[0], 100 * scales(adapter)[0] * orthonormal, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ([3, 2, 1], [0, 1, 2]),
        ([2, 2, 1], [0, 0, 1]),
        ([2, 1, 1], [0, 1, 1]),
        ([1, 1, 1], [0, 0, 0]),
        ([2, 1, 0], [0, 1]),
    ],
)
def test_groups_are_runs_of_equal_singular_values(values, groups):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    basis, found = singular_basis(np.diag(values) @ turn)
    assert found.tolist() == groups
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(groups)), atol=1e-12)


def test_more_classes_than_dimensions_and_repeated_texts_work():
    generator = np.random.default_rng(0)
    prototypes = unit_rows(generator.normal(size=(9, 4)))
    prototypes[5] = prototypes[2]
    features = Features(image=unit_rows(generator.normal(size=(40, 4))), prototypes=prototypes)
    adapter = SingularScaling().fit(features, np.arange(40) % 9)
    assert adapter.basis_.shape == (4, 4)
    assert np.isfinite(adapter.decision_function(features)).all()
    one = SingularScaling().fit(features.with_prototypes(prototypes[:1]), np.zeros(40, np.int64))
    assert one.basis_.shape == (1, 4)


@pytest.mark.parametrize("basis", ["texts", "images"])
def test_training_fits_the_support_better_than_zero_shot(support, basis):
    trained = SingularScaling(basis=basis, learning_rate=5e-2).fit(*support)
    assert cross_entropy(trained, *support) < 0.7 * cross_entropy(ZeroShot().fit(*support), *support)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1}, "`alpha` must be a finite number of at least 0; got -1"),
        ({"limit": 0.5}, "`limit` must be at least 1; got 0.5"),
        ({"basis": "text"}, "`basis` must be one of texts, images; got 'text'"),
        ({"steps_per_shot": 0.5}, "`steps_per_shot` must be a whole number of at least 0; got 0.5"),
    ],
)
def test_bad_parameters_are_refused(support, parameters, message):
    with pytest.raises(ParameterError, match=message):
        SingularScaling(**parameters).fit(*support)
