"""GDA against a brute-force reference of the published formula, and the acceptance tests of the method."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.forms.class_statistics import ClassStatistics, closed_form, precision_product
from evenly.adapters.methods.gda import GDA


def discriminant(rows, labels, *, n_classes, precision_scale="rows", prior="uniform"):
    statistics = ClassStatistics.of(rows, labels, n_classes=n_classes)
    return closed_form(statistics, precision_scale=precision_scale, prior=prior)


def made(*, n=60, d=7, c=4, seed=0):
    """Rows of c classes, each with at least one row, not of unit length."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(c), generator.integers(c, size=n - c)])
    return generator.normal(size=(c, d))[labels] + generator.normal(size=(n, d)), labels


def published(rows, labels, c):
    """W, b and P as the paper's code makes them: loops, a covariance, a pseudo-inverse; float64."""
    n, d = rows.shape
    means = np.stack([np.mean([x for x, y in zip(rows, labels, strict=True) if y == k], axis=0) for k in range(c)])
    covariance = np.cov(np.stack([x - means[y] for x, y in zip(rows, labels, strict=True)]).T)
    precision = d * np.linalg.pinv((n - 1) * covariance + np.trace(covariance) * np.eye(d))
    bias = [np.log(1 / c) - means[k] @ precision @ means[k] / 2 for k in range(c)]
    return means @ precision, np.array(bias), precision


@settings(max_examples=30, deadline=None)
@given(n=st.integers(12, 80), d=st.integers(2, 20), c=st.integers(2, 8), seed=st.integers(0, 99))
def test_weights_equal_the_brute_force_reference(n, d, c, seed):
    rows, labels = made(n=n, d=d, c=c, seed=seed)
    weight, bias, fallback = discriminant(rows, labels, n_classes=c, precision_scale="published")
    expected_weight, expected_bias, _ = published(rows, labels, c)
    assert fallback == ""
    np.testing.assert_allclose(weight, expected_weight, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(bias, expected_bias, rtol=1e-8, atol=1e-8)


def test_logits_equal_the_published_formula(digits):
    (support, labels), (query, _) = digits.part(0, 300), digits.part(300, 400)
    weight, bias, _ = published(support.image.astype(float), labels, 10)
    expected = 100 * query.image.astype(float) @ support.prototypes.astype(float).T + 0.3 * (
        query.image.astype(float) @ weight.T + bias
    )
    logits = GDA(alpha=0.3, precision_scale="published").fit(support, labels).decision_function(query)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(8, 60), d=st.integers(2, 30), seed=st.integers(0, 99))
def test_precision_is_symmetric_positive_and_the_ridge_inverse_of_the_scatter(n, d, seed):
    rows, labels = made(n=n, d=d, c=3, seed=seed)
    scatter = ClassStatistics.of(rows, labels, n_classes=3).scatter
    precision = precision_product(np.eye(len(scatter)), scatter, n)
    ridge = np.trace(scatter) / (n - 1) * np.eye(d)
    np.testing.assert_allclose(precision, precision.T, rtol=1e-9, atol=1e-12 * np.abs(precision).max())
    assert np.linalg.eigvalsh(precision).min() > 0
    np.testing.assert_allclose(precision, d * np.linalg.pinv(scatter + ridge), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(precision, published(rows, labels, 3)[2], rtol=1e-7, atol=1e-9)


def test_rows_scale_is_the_published_one_times_n_over_d():
    rows, labels = made(n=50, d=6)
    own, own_bias, _ = discriminant(rows, labels, n_classes=4)
    weight, bias, _ = discriminant(rows, labels, n_classes=4, precision_scale="published")
    np.testing.assert_allclose(own, weight * 50 / 6)
    np.testing.assert_allclose(own_bias + np.log(4), (bias + np.log(4)) * 50 / 6)


def test_rows_scale_keeps_the_size_of_the_evidence_while_the_published_one_shrinks():
    sizes = {scale: [] for scale in ("rows", "published")}
    for shots in (4, 8, 16, 32):
        generator = np.random.default_rng(0)
        labels = np.repeat(np.arange(10), shots)
        rows = unit_rows(generator.normal(size=(10, 64))[labels] + 2 * generator.normal(size=(len(labels), 64)))
        for scale, found in sizes.items():
            weight, bias, _ = discriminant(rows, labels, n_classes=10, precision_scale=scale)
            found.append(float((rows @ weight.T + bias).std(axis=1).mean()))
    assert sizes["published"][0] / sizes["published"][-1] > 5
    assert max(sizes["rows"]) / min(sizes["rows"]) < 2


def test_evidence_does_not_depend_on_the_scale_of_the_features():
    rows, labels = made()
    weight, bias, _ = discriminant(rows, labels, n_classes=4)
    for factor in (1e-3, 7.0, 1e4):
        scaled_weight, scaled_bias, fallback = discriminant(factor * rows, labels, n_classes=4)
        assert fallback == ""
        np.testing.assert_allclose(factor * rows @ scaled_weight.T + scaled_bias, rows @ weight.T + bias, rtol=1e-8)


def fit_and_query():
    """70 rows to fit and 300 others of the same classes, both with labels, and noisy zero-shot logits of the others."""
    rows, labels = made(n=370)
    zero_shot = np.random.default_rng(1).normal(size=(300, 4)) + 1.5 * np.eye(4)[labels[70:]]
    return rows[:70], labels[:70], rows[70:], labels[70:], zero_shot


def swept(rows, labels, query, truth, zero_shot, **options):
    """The predictions at the first best alpha of the published grid."""
    weight, bias, _ = discriminant(rows, labels, n_classes=zero_shot.shape[1], **options)
    predictions = [(zero_shot + a * (query @ weight.T + bias)).argmax(axis=1) for a in GDA.grid.parameters["alpha"]]
    return max(predictions, key=lambda found: np.mean(found == truth))  # the first of equal ones


@pytest.mark.parametrize("scale", ["rows", "published"])
def test_predictions_after_the_sweep_do_not_depend_on_the_scale_of_the_features(scale):
    rows, labels, query, truth, zero_shot = fit_and_query()
    expected = swept(rows, labels, query, truth, zero_shot, precision_scale=scale)
    assert np.mean(expected == truth) > np.mean(zero_shot.argmax(axis=1) == truth)
    for factor in (1e-3, 7.0, 1e4):
        found = swept(factor * rows, labels, factor * query, truth, zero_shot, precision_scale=scale)
        assert np.array_equal(found, expected)


def test_the_published_scale_only_moves_the_best_alpha():
    """70 rows of dimension 7: its precision is a tenth, one step of the grid."""
    rows, labels, query, truth, zero_shot = fit_and_query()
    own, its = (swept(rows, labels, query, truth, zero_shot, precision_scale=scale) for scale in ("rows", "published"))
    assert np.array_equal(own, its)


@pytest.mark.parametrize("scale", ["rows", "published"])
def test_the_uniform_prior_does_not_know_the_counts_and_that_of_the_rows_does(scale):
    rows, labels = made(n=60, d=6)
    counts = np.bincount(labels)
    weight, bias, _ = discriminant(rows, labels, n_classes=4, precision_scale=scale)
    tailed, tailed_bias, _ = discriminant(rows, labels, n_classes=4, precision_scale=scale, prior="train")
    assert np.array_equal(weight, tailed)
    factor = 1 if scale == "rows" else 6 / 60
    np.testing.assert_allclose(tailed_bias - (bias + np.log(4)), factor * np.log(counts / 60))


def test_the_prior_keeps_its_weight_beside_either_scale_of_the_precision():
    rows, labels = made(n=60, d=6)
    own, own_bias, _ = discriminant(rows, labels, n_classes=4, prior="train")
    its, its_bias, _ = discriminant(rows, labels, n_classes=4, prior="train", precision_scale="published")
    np.testing.assert_allclose(10 * its, own)
    np.testing.assert_allclose(10 * its_bias, own_bias)


def test_each_prior_is_the_better_one_on_tests_of_its_kind():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(5, 6))

    def drawn(counts):
        labels = np.repeat(np.arange(5), counts)
        return means[labels] + 1.5 * generator.normal(size=(len(labels), 6)), labels

    rows, labels = drawn([320, 80, 40, 20, 10])
    accuracies = {}
    for kind, counts in {"tailed": [6400, 1600, 800, 400, 200], "even": [2000] * 5}.items():
        query, truth = drawn(counts)
        for prior in ("uniform", "train"):
            weight, bias, _ = discriminant(rows, labels, n_classes=5, prior=prior)
            accuracies[kind, prior] = np.mean((query @ weight.T + bias).argmax(axis=1) == truth)
    assert accuracies["tailed", "train"] > accuracies["tailed", "uniform"] + 0.05
    assert accuracies["even", "uniform"] > accuracies["even", "train"] + 0.05


def test_without_support_of_a_class_its_prior_is_that_of_one_row():
    rows, labels = made(n=40, d=5, c=4)
    kept = labels != 2
    _, bias, _ = discriminant(rows[kept], labels[kept], n_classes=4)
    _, tailed, _ = discriminant(rows[kept], labels[kept], n_classes=4, prior="train")
    counts = np.maximum(np.bincount(labels[kept], minlength=4), 1)
    np.testing.assert_allclose(tailed - bias - np.log(4), np.log(counts / counts.sum()))


def test_duplicated_rows_are_not_neutral():
    rows, labels = made(n=40, d=5)
    scatter = ClassStatistics.of(rows, labels, n_classes=4).scatter
    doubled = ClassStatistics.of(np.tile(rows, (2, 1)), np.tile(labels, 2), n_classes=4).scatter
    halved = precision_product(np.eye(len(doubled)), doubled, 80)
    half_ridge = 5 / 2 * np.linalg.inv(scatter + np.trace(scatter) / 79 * np.eye(5))
    np.testing.assert_allclose(halved, half_ridge)
    ratio = np.trace(halved) / np.trace(precision_product(np.eye(len(scatter)), scatter, 40))
    assert 0.5 < ratio < 0.56


@pytest.mark.parametrize("rows_per_class", [1, 3])
def test_support_without_scatter_falls_back_to_the_nearest_mean(digits, rows_per_class):
    features, labels = digits.part(0, 200)
    first = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    picked = np.tile(first, rows_per_class)
    adapter = GDA(alpha=1e6).fit(features.rows(picked), labels[picked])
    assert adapter.fallback_.startswith("identity covariance")
    query = digits.part(200, 500)[0]
    distances = ((query.image[:, None].astype(float) - features.image[first].astype(float)) ** 2).sum(axis=2)
    nearest = np.sort(distances, axis=1)
    clear = nearest[:, 1] - nearest[:, 0] > 1e-3
    assert np.array_equal(adapter.predict(query)[clear], distances.argmin(axis=1)[clear])


def test_as_many_rows_as_classes_is_said_and_one_more_is_fitted(digits):
    features, labels = digits.part(0, 200)
    ten = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    assert GDA().fit(features.rows(ten), labels[ten]).fallback_ == (
        "identity covariance: 10 rows are not more than 10 classes"
    )
    eleven = np.append(ten, np.flatnonzero(labels == 3)[1])
    assert GDA().fit(features.rows(eleven), labels[eleven]).fallback_ == ""


def test_a_class_without_support_gets_the_mean_evidence_of_the_others():
    rows, labels = made(n=40, d=5, c=4)
    kept = labels != 2
    weight, bias, _ = discriminant(rows[kept], labels[kept], n_classes=4)
    np.testing.assert_allclose(weight[2], weight[[0, 1, 3]].mean(axis=0))
    np.testing.assert_allclose(bias[2], bias[[0, 1, 3]].mean())


def test_views_are_rows(digits):
    features, labels = digits.part(0, 100)
    shifted = unit_rows(np.roll(features.image, 1, axis=1))
    views = Features(image=features.image, views=np.stack([features.image, shifted]), prototypes=features.prototypes)
    adapter = GDA().fit(views, labels)
    weight, bias, _ = discriminant(np.vstack([features.image, shifted]), np.tile(labels, 2), n_classes=10)
    np.testing.assert_allclose(adapter.weight_, weight)
    np.testing.assert_allclose(adapter.bias_, bias)


def test_it_beats_zero_shot_on_real_digits(digits):
    (support, labels), (query, truth) = digits.part(0, 300), digits.part(300, 1700)
    zero_shot = np.mean(GDA(alpha=0).fit(support, labels).predict(query) == truth)
    assert np.mean(GDA(alpha=10).fit(support, labels).predict(query) == truth) > zero_shot + 0.2


def test_bad_parameters_are_refused(digits):
    with pytest.raises(ParameterError, match="`alpha` must be a finite number of at least 0; got nan"):
        GDA(alpha=float("nan")).fit(*digits.part(0, 50))
    with pytest.raises(ParameterError, match="`precision_scale` must be one of rows, published; got 'row'"):
        GDA(precision_scale="row").fit(*digits.part(0, 50))
    with pytest.raises(ParameterError, match="`prior` must be one of uniform, train; got 'test'"):
        GDA(prior="test").fit(*digits.part(0, 50))
