"""Base-to-new GDA against the published formulas written out, and its count of neighbours."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.gda_base_to_new import GDABaseToNew, new_class_statistics, precision_root


def precision_of(rows, labels, means):
    root = precision_root(rows, labels, means)
    return root @ root.T


def made(*, n=300, d=8, c=6, base=4, seed=0, views=0):
    """Unit rows of the first `base` of c classes, and prototypes of all; each view is the rows under other noise."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(c, d))
    labels = np.concatenate([np.repeat(np.arange(base), 2), generator.integers(base, size=n - 2 * base)])
    rows = directions[labels] + 0.7 * generator.normal(size=(n, d))
    views = [unit_rows(rows + 0.3 * generator.normal(size=rows.shape)) for _ in range(views)]
    prototypes = unit_rows(directions + 0.2 * generator.normal(size=(c, d)))
    return Features(image=unit_rows(rows), prototypes=prototypes, views=np.stack(views) if views else None), labels


def published(rows, labels, prototypes, *, base, neighbours=64, copies=16):
    """W and b as the paper's code makes them: a covariance and a pseudo-inverse per class; float64."""
    rows, prototypes = rows.astype(float), prototypes.astype(float)
    d = rows.shape[1]
    own = [rows[labels == k] for k in range(base)]
    means = [x.mean(axis=0) for x in own]
    base_precision = np.linalg.pinv(np.mean([np.cov(x.T) for x in own], axis=0))
    precisions = []
    for text in prototypes[base:]:
        near = rows[np.argsort(-(rows @ text), kind="stable")[:neighbours]]
        means.append(np.concatenate([near, np.tile(text, (copies, 1))]).mean(axis=0))
        covariance = (near - text).T @ (near - text) / (neighbours - 1)
        precisions.append(d * np.linalg.pinv((neighbours - 1) * covariance + np.trace(covariance) * np.eye(d)))
    sides = [base_precision] * base + [np.mean(precisions, axis=0)] * len(precisions)
    weight = np.stack([mean @ side for mean, side in zip(means, sides, strict=True)])
    bias = np.log(1 / len(prototypes)) - np.einsum("cd,cd->c", weight, np.stack(means)) / 2
    return weight, bias


@settings(max_examples=20, deadline=None)
@given(n=st.integers(80, 200), d=st.integers(2, 40), base=st.integers(1, 4), seed=st.integers(0, 99))
def test_it_equals_the_published_formulas(n, d, base, seed):
    features, labels = made(n=max(n, 2 * base * d), d=d, base=base, seed=seed)
    adapter = GDABaseToNew(neighbours=64).fit(features, labels)
    weight, bias = published(features.image, labels, features.prototypes, base=base)
    assert adapter.fallback_ == ""
    np.testing.assert_allclose(adapter.weight_, weight, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(adapter.bias_, bias, rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(neighbours=st.integers(2, 20), d=st.integers(2, 30), seed=st.integers(0, 99))
def test_the_precision_of_new_classes_equals_that_of_explicit_inverses(neighbours, d, seed):
    features, _ = made(n=40, d=d, seed=seed)
    rows, texts = features.image.astype(float), features.prototypes.astype(float)
    means, precision = new_class_statistics(features.image, texts, neighbours=neighbours)
    explicit = []
    for text, mean in zip(texts, means, strict=True):
        near = rows[np.argsort(-(rows @ text), kind="stable")[:neighbours]]
        np.testing.assert_allclose(mean, near.mean(axis=0))
        scatter = (near - text).T @ (near - text)
        explicit.append(d * np.linalg.inv(scatter + np.trace(scatter) / (neighbours - 1) * np.eye(d)))
    np.testing.assert_allclose(precision, np.mean(explicit, axis=0), rtol=1e-7, atol=1e-7)
    assert np.array_equal(precision, precision.T)
    assert np.linalg.eigvalsh(precision).min() > 0


@pytest.mark.parametrize(("views", "neighbours"), [(0, 6), (1, 6), (2, 13), (10, 64)])
def test_the_default_takes_six_images_however_many_views_each_has(views, neighbours):
    features, labels = made(views=views)
    default, explicit = (GDABaseToNew(neighbours=k).fit(features, labels) for k in (None, neighbours))
    assert np.array_equal(default.weight_, explicit.weight_)
    other = GDABaseToNew(neighbours=neighbours + 1).fit(features, labels)
    assert not np.array_equal(default.weight_, other.weight_)


def test_the_scale_of_the_precision_of_new_classes_holds_for_any_count_of_neighbours():
    features, _ = made(n=400, d=128, c=20)
    traces = [
        np.trace(new_class_statistics(features.image, features.prototypes.astype(float), neighbours=k)[1])
        for k in (6, 64)
    ]
    assert 0.8 < traces[0] / traces[1] < 1.25


def test_views_are_rows():
    features, labels = made(views=3)
    rows = Features(image=np.concatenate(list(features.views)), prototypes=features.prototypes)
    seen, plain = (
        GDABaseToNew(neighbours=9).fit(features, labels),
        GDABaseToNew(neighbours=9).fit(rows, np.tile(labels, 3)),
    )
    np.testing.assert_allclose(seen.weight_, plain.weight_)


def test_texts_alone_or_rows_alone_can_stand_for_a_new_class():
    features, labels = made()
    weights = {}
    for share in (0.0, 0.5, 1.0):
        weights[share] = GDABaseToNew(text_share=share).fit(features, labels).weight_
    np.testing.assert_allclose(weights[0.5], (weights[0.0] + weights[1.0]) / 2)
    _, precision = new_class_statistics(features.image, features.prototypes[4:].astype(float), neighbours=6)
    np.testing.assert_allclose(weights[1.0][4:], features.prototypes[4:].astype(float) @ precision)


def test_a_class_of_one_row_stays_out_of_the_mean_covariance():
    features, labels = made(n=60)
    means = np.stack([features.image[labels == k].astype(float).mean(axis=0) for k in range(4)])
    alone = np.concatenate([features.image, unit_rows(features.prototypes[4:5])])
    with_one = precision_of(alone, np.append(labels, 4), np.concatenate([means, alone[-1:]]))
    np.testing.assert_allclose(with_one, precision_of(features.image, labels, means), rtol=1e-6)


def test_a_covariance_of_low_rank_gets_a_pseudo_inverse():
    features, labels = made(n=12, d=30, base=4)
    means = np.stack([features.image[labels == k].astype(float).mean(axis=0) for k in range(4)])
    covariances = [np.cov(features.image[labels == k].astype(float).T) for k in range(4)]
    expected = np.linalg.pinv(np.mean(covariances, axis=0), rcond=1e-7)
    np.testing.assert_allclose(precision_of(features.image, labels, means), expected, rtol=1e-5, atol=1e-6)
    assert np.linalg.matrix_rank(expected) == 8


def test_base_classes_of_equal_rows_fall_back_to_the_identity():
    features, labels = made()
    one_each = np.array([np.flatnonzero(labels == k)[0] for k in range(4)])
    adapter = GDABaseToNew().fit(features.rows(one_each), labels[one_each])
    assert adapter.fallback_ == "identity covariance of base classes: the rows of each are all equal"
    np.testing.assert_allclose(adapter.weight_[:4], 8 * features.image[one_each])
    assert np.isfinite(adapter.weight_).all()


def test_rows_that_are_the_text_give_no_nan():
    features, labels = made(n=30)
    same = replace(features, image=np.tile(features.prototypes[4], (30, 1)))
    adapter = GDABaseToNew().fit(same, labels)
    assert np.isfinite(adapter.decision_function(features)).all()


def test_new_classes_are_told_apart_among_themselves():
    features, labels = made()
    adapter = GDABaseToNew(alpha=100.0).fit(features, labels)
    query = Features(image=features.prototypes[4:])
    assert (adapter.decision_function(query)[:, 4:].argmax(axis=1) == [0, 1]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"neighbours": 0}, "`neighbours` must be a whole number above 0; got 0"),
        ({"neighbours": 6.4}, "`neighbours` must be a whole number above 0; got 6.4"),
        ({"text_share": -0.1}, "`text_share` must be a finite number of at least 0; got -0.1"),
        ({"text_share": 1.1}, "`text_share` must be at most 1; got 1.1"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ParameterError, match=message):
        GDABaseToNew(**parameters).fit(*made())
