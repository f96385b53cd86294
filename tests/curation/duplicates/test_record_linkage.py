import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from evenly.curation.duplicates.record_linkage import Linked, deduplicate_linked, mix
from evenly.curation.errors import ColumnsError, RuleError

RULE = Linked(min_cosine=0.95)


def batch_of(n):
    return pa.table({"uid": [f"{i:02}" for i in range(n)], "width": [1] * n, "height": [1] * n})


def into_of(images, texts, rule=RULE, **options):
    found = deduplicate_linked(batch_of(len(images)), np.array(images), np.array(texts), rule, **options)
    return {f"{i:02}": into for i, into in enumerate(found.decisions.into.to_pylist()) if into is not None}


def test_records_merge_by_picture_and_text_together():
    images = [[1.0, 0, 0], [1, 0.1, 0], [1, 0, 0.1]]
    texts = [[0.0, 1, 0], [0, 1, 0.1], [1, 0, 0]]
    assert into_of(images, texts) == {"01": "00"}
    found = deduplicate_linked(batch_of(3), np.array(images), np.array(texts), RULE)
    assert found.decisions.reason.to_pylist() == ["", "linked_record", ""]
    assert found.edges["kind"].to_pylist() == ["linked"]


def test_a_link_goes_on_from_record_to_record():
    angles = np.deg2rad([0, 15, 30, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert into_of(rows, rows) == {"01": "00", "02": "00"}


def test_embeddings_are_the_published_mixture():
    images, texts = np.array([[1.0, 0]]), np.array([[0.0, 1]])
    wanted = np.array([0.636, 0.364]) / np.hypot(0.636, 0.364)
    assert mix(images, texts, weight=0.636)[0] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("weight", [0.636, 0.76])
@pytest.mark.parametrize("eps", [0.13, 0.227])
def test_records_are_the_clusters_of_the_published_dbscan(weight, eps):
    """CLIPPINGS calls it SLINK: scikit-learn's DBSCAN by cosine distance, in which one record is a cluster."""
    rng = np.random.default_rng(8)
    images, texts = (np.repeat(rng.normal(size=(12, 16)), 5, axis=0) for _ in range(2))
    images, texts = images + rng.normal(scale=0.6, size=images.shape), texts + rng.normal(scale=0.6, size=texts.shape)
    published = DBSCAN(eps=eps, min_samples=1, metric="cosine").fit(mix(images, texts, weight=weight)).labels_
    into = into_of(images, texts, Linked(min_cosine=1 - eps, weight=weight))
    ours = [int(into.get(f"{i:02}", f"{i:02}")) for i in range(len(images))]
    first = {label: int(np.flatnonzero(published == label)[0]) for label in set(published.tolist())}
    assert ours == [first[label] for label in published.tolist()]
    assert 12 < len(first) < 60


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_lengths_are_no_weights(one, other):
    rng = np.random.default_rng(5)
    images, texts = rng.normal(size=(2, 6, 8))
    scaled = mix(images * one, texts * other, weight=0.636).astype(np.float64)
    assert scaled == pytest.approx(mix(images, texts, weight=0.636).astype(np.float64), abs=2e-3)


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [np.inf, 0], [0, 0]])
def test_a_record_without_a_direction_has_no_twins(bad):
    assert into_of([bad, bad, [1.0, 0]], [[1.0, 0]] * 3) == {}
    assert into_of([[1.0, 0]] * 3, [bad, bad, [1.0, 0]]) == {}


def test_features_that_cancel_out_have_no_twins():
    assert into_of([[1.0, 0]] * 2, [[-1.0, 0]] * 2, Linked(min_cosine=0.5, weight=0.5)) == {}


def test_there_is_no_default_for_the_cosine():
    with pytest.raises(TypeError, match="min_cosine"):
        Linked()


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 1.5]), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_row_order_changes_nothing(angles, chance):
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    order = list(range(len(rows)))
    chance.shuffle(order)
    batch = batch_of(len(rows))
    found = deduplicate_linked(batch, rows, rows, RULE).decisions.to_table(batch["uid"])
    mixed = batch.take(order)
    again = deduplicate_linked(mixed, rows[order], rows[order], RULE).decisions.to_table(mixed["uid"])
    assert again.sort_by("uid") == found


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Linked(min_cosine=0), "got 0"),
        (lambda: Linked(min_cosine=0.9, weight=1.1), "got 1.1"),
        (lambda: Linked(min_cosine=0.9, tables=0), "got 0"),
        (lambda: into_of([[1.0, 0]], [[1.0, 0, 0]]), "Use one encoder for both"),
        (lambda: deduplicate_linked(batch_of(2), np.ones((1, 2)), np.ones((1, 2)), RULE), "of the 2 pairs; got 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(call, text):
    with pytest.raises((RuleError, ColumnsError), match=text):
        call()
