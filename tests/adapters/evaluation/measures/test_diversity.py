import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures import diversity
from evenly.adapters.evaluation.measures.diversity import (
    Diversity,
    group_weighted_unexplained,
    schur_complement_entropy,
)

GENERATOR = np.random.default_rng(0)
Y = GENERATOR.normal(size=(600, 5))
X = GENERATOR.normal(size=(600, 5))
OMEGAS = GENERATOR.normal(size=(20, 5)) / 2


def features(rows):
    angles = rows @ OMEGAS.T
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(len(OMEGAS))


def small(images, texts, **options) -> Diversity:
    return schur_complement_entropy(images, texts, **({"sigma": 2.0, "frequencies": 40} | options))


def test_parts_equal_the_formula_written_out():
    x, y = features(X), features(Y)
    c_xx, c_xy, c_yy = x.T @ x / 600, x.T @ y / 600, y.T @ y / 600
    explained = c_xy.T @ np.linalg.inv(c_xx + 1e-6 * np.eye(40)) @ c_xy
    rest, text_part = diversity._parts(Y, X, OMEGAS, 1e-6)
    np.testing.assert_allclose(text_part, explained, atol=1e-10)
    np.testing.assert_allclose(rest, c_yy - explained, atol=1e-10)
    assert np.trace(rest + text_part) == pytest.approx(1)


def test_the_score_is_the_weighted_entropy_of_clamped_eigenvalues():
    values = np.array([0.5, 0.2, -1e-12])
    clamped = np.array([0.5, 0.2, 1e-10, 1e-10])
    expected = np.exp(-sum(v * np.log(v / clamped.sum()) for v in clamped))
    assert diversity._score(values, size=4) == pytest.approx(expected)


def test_images_equal_to_their_texts_leave_nothing():
    rest, _ = diversity._parts(Y, Y, OMEGAS, 1e-6)
    assert np.abs(rest).max() < 1e-5
    found = small(Y, Y)
    assert found.given_texts == pytest.approx(1, abs=1e-2)
    assert found.unexplained < 1e-3


def test_one_text_for_all_leaves_the_centred_covariance():
    rest, text_part = diversity._parts(Y, np.ones_like(Y), OMEGAS, 1e-6)
    np.testing.assert_allclose(rest, np.cov(features(Y).T, bias=True), atol=1e-5)
    mean = features(Y).mean(axis=0)
    np.testing.assert_allclose(text_part, np.outer(mean, mean), atol=1e-5)
    assert small(Y, np.ones_like(Y)).by_texts == pytest.approx(1, abs=1e-3)


def test_independent_texts_leave_nearly_the_centred_covariance():
    generator = np.random.default_rng(1)
    many_y, many_x = generator.normal(size=(2, 6000, 5))
    rest, text_part = diversity._parts(many_y, many_x, OMEGAS, 1e-6)
    centred = np.cov(features(many_y).T, bias=True)
    assert np.abs(rest - centred).max() < 0.05 * centred.max()
    largest, second = np.linalg.eigvalsh(text_part)[[-1, -2]]
    assert second < 0.02 * largest


def test_rows_and_features_ways_agree():
    below, above = Y[:70], np.tile(Y[:70], (2, 1))
    by_rows, by_features = small(below, X[:70]), small(above, np.tile(X[:70], (2, 1)))
    assert len(below) < 80 <= len(above), "each side of the number of features, which repeated rows do not change"
    np.testing.assert_allclose(
        [by_rows.given_texts, by_rows.by_texts, by_rows.unexplained],
        [by_features.given_texts, by_features.by_texts, by_features.unexplained],
        rtol=1e-6,
    )


@pytest.mark.parametrize("n", [70, 600])
def test_chunks_and_row_order_change_nothing_that_counts(n, monkeypatch):
    whole = small(Y[:n], X[:n])
    monkeypatch.setattr(diversity, "_CHUNK", 17)
    order = GENERATOR.permutation(n)
    again = small(Y[:n][order], X[:n][order])
    np.testing.assert_allclose(again.given_texts, whole.given_texts, rtol=1e-9)
    np.testing.assert_allclose(again.by_texts, whole.by_texts, rtol=1e-9)


def test_the_same_seed_gives_the_same_number_and_another_seed_a_near_one():
    first = small(Y[:150], X[:150], frequencies=150)
    assert small(Y[:150], X[:150], frequencies=150) == first
    other = small(Y[:150], X[:150], frequencies=150, seed=1)
    assert other != first
    assert other.given_texts == pytest.approx(first.given_texts, rel=0.05)


def test_more_varied_images_of_the_same_texts_score_higher():
    texts = np.repeat(np.eye(5), 40, axis=0)
    noise = np.random.default_rng(2).normal(size=texts.shape)
    scores = [small(texts + spread * noise, texts).given_texts for spread in (0.0, 0.3, 1.0)]
    assert scores[0] == pytest.approx(1, abs=1e-2)
    assert scores[0] < scores[1] < scores[2]


def test_real_rows_of_float32(digits):
    images = digits.features.image[:300]
    texts = digits.prototypes["names"][digits.labels[:300]]
    found = schur_complement_entropy(images, texts, sigma=0.35, frequencies=200)
    assert 1 < found.given_texts < found.n
    assert found.by_texts > 1
    assert 0 < found.unexplained < 1
    flat = schur_complement_entropy(images, texts, frequencies=200)
    assert flat.given_texts < 1.2, "sigma 3.5 hardly tells unit rows apart"


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidFeaturesError, match=r"`texts` must have the shape \(n, d\) of `images`"):
        small(Y, X[:10])
    with pytest.raises(InvalidFeaturesError, match="`images` must be finite"):
        small(np.full_like(Y, np.nan), X)
    with pytest.raises(ParameterError, match="`sigma`, `frequencies` and `ridge` must be above 0; got 0"):
        small(Y, X, sigma=0)


def test_weights_of_groups_are_those_of_rows_drawn_so_often():
    groups = np.arange(600) % 7
    weights = np.array([[1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 1, 0]], dtype=float)
    options = {"sigma": 2.0, "frequencies": 40, "ridge": 1e-3}
    unexplained = group_weighted_unexplained(Y, X + Y / 2, groups, **options)(weights)
    for share, counts in zip(unexplained, weights.astype(int), strict=True):
        drawn = np.repeat(np.arange(600), counts[groups])
        expected = schur_complement_entropy(Y[drawn], (X + Y / 2)[drawn], **options).unexplained
        assert share == pytest.approx(expected, abs=1e-9)
