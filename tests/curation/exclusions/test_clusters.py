import numpy as np
import pytest

from evenly.curation.errors import ColumnsError, RuleError
from evenly.curation.exclusions.clusters import ImageBased, fit_centroids, judge_clusters, nearest_centroids

GENERATOR = np.random.default_rng(3)
CENTRES = np.eye(4, 16)
MEMBERS = np.repeat(np.arange(4), 30)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


ROWS = unit(CENTRES[MEMBERS] + 0.05 * GENERATOR.standard_normal((120, 16)))
NAMES = [f"{number:064x}" for number in range(120)]


def fitted(names=NAMES, rows=ROWS, seed=1, **rule):
    return fit_centroids(names, rows, ImageBased(**rule), seed=seed)


def test_pictures_stay_whose_cluster_a_target_picture_is_in():
    centroids = fitted(clusters=12)
    labels, cosines = nearest_centroids(ROWS, centroids)
    targets, _ = nearest_centroids(unit(CENTRES[[0, 2]]), centroids)
    decisions = judge_clusters(labels, cosines, targets)
    kept = np.array(decisions.kept.to_pylist())
    assert np.array_equal(kept, np.isin(labels, targets))
    assert set(MEMBERS[kept]) == {0, 2}
    assert set(decisions.reason.to_pylist()) == {"", "off_target"}
    assert decisions.value.to_pylist() == [round(float(value), 4) for value in cosines]


def test_the_nearest_centroid_is_the_one_of_the_largest_cosine():
    centroids = fitted(clusters=7)
    labels, cosines = nearest_centroids(ROWS, centroids)
    products = ROWS.astype(np.float64) @ centroids.T
    assert np.array_equal(labels, products.argmax(axis=1))
    assert np.allclose(cosines, products.max(axis=1), atol=1e-4)
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 50])
def test_a_nearest_centroid_does_not_depend_on_the_rows_beside(size):
    """Centroids that differ in their last bits alone, so that sums in another order take another one for nearest."""
    generator = np.random.default_rng(5)
    rows = unit(generator.standard_normal((200, 512)))
    likes = np.repeat(rows[:40].astype(np.float32), 5, axis=0)
    centroids = np.where(generator.random(likes.shape) < 0.5, likes, np.nextafter(likes, np.float32(1)))
    labels, cosines = nearest_centroids(rows, centroids)
    parts = [nearest_centroids(rows[start : start + size], centroids) for start in range(0, len(rows), size)]
    assert np.array_equal(np.concatenate([part[0] for part in parts]), labels)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), cosines)
    order = generator.permutation(len(rows))
    assert np.array_equal(nearest_centroids(rows[order], centroids)[0], labels[order])
    exact = rows.astype(np.float64) @ centroids.astype(np.float64).T
    assert np.allclose(exact[np.arange(len(rows)), labels], exact.max(axis=1), rtol=0, atol=1e-14)


def test_of_equal_centroids_the_first_is_nearest_and_a_row_without_direction_has_the_first():
    centroids = np.repeat(np.eye(3, 16, dtype=np.float32)[[2, 0, 1]], 2, axis=0)
    rows = np.vstack([np.eye(3, 16), np.zeros((1, 16)), np.full((1, 16), np.nan)]).astype(np.float16)
    labels, cosines = nearest_centroids(rows, centroids)
    assert labels.tolist() == [2, 4, 0, 0, 0]
    assert cosines.tolist()[:4] == [1, 1, 1, 0]


def test_k_means_comes_to_rest_at_the_means_of_its_clusters():
    centroids = fitted(clusters=4, iterations=50)
    labels, _ = nearest_centroids(ROWS, centroids)
    for cluster in np.unique(labels):
        mean = ROWS[labels == cluster].astype(np.float64).mean(axis=0)
        assert np.allclose(centroids[cluster], mean / np.linalg.norm(mean), atol=1e-5)


def test_clusters_depend_on_the_seed_and_not_on_the_order_of_the_pool():
    order = GENERATOR.permutation(120)
    assert np.array_equal(fitted(clusters=9), fitted([NAMES[at] for at in order], ROWS[order], clusters=9))
    assert not np.array_equal(fitted(clusters=9), fitted(clusters=9, seed=2))


@pytest.mark.parametrize(("n", "clusters", "expected"), [(120, None, 1), (3, 10, 3), (120, 5, 5)])
def test_the_number_of_clusters_follows_from_the_rule_and_the_pool(n, clusters, expected):
    assert fitted(NAMES[:n], ROWS[:n], clusters=clusters).shape == (expected, 16)


def test_equal_pictures_leave_no_centroid_without_direction():
    centroids = fitted(NAMES, np.repeat(ROWS[:1], 120, axis=0), clusters=3)
    assert np.isfinite(centroids).all()
    assert set(nearest_centroids(ROWS[:1], centroids)[0]) == {0}


def test_no_pool_is_refused():
    with pytest.raises(ColumnsError, match="at least one; got 0"):
        fitted([], ROWS[:0])


def test_the_published_filter_makes_20_iterations():
    assert ImageBased().iterations == 20


@pytest.mark.parametrize("rule", [{"clusters": 0}, {"iterations": 0}])
def test_impossible_rule_is_refused(rule):
    with pytest.raises(RuleError, match="got 0"):
        ImageBased(**rule)
