"""FuDD against the definition image by image; the order of the classes outside the top k; which pairs are needed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods import fudd
from evenly.adapters.methods.fudd import DifferentialTexts, NeededPairs, pairs_needed, top_classes
from evenly.adapters.methods.zero_shot import ZeroShot


def made(*, c=12, d=9, texts=200, n=40, seed=0, distinct=None):
    """A record of near classes, with one to a few texts for some of the ordered pairs.

    With `distinct` each class has so many different texts, used against one rival or several.
    """
    generator = np.random.default_rng(seed)
    prototypes = unit_rows(generator.normal(size=(c, d)) + 2)
    pairs = generator.integers(c, size=(texts, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    rows = prototypes[pairs[:, 0]] - 0.4 * prototypes[pairs[:, 1]] + 0.1 * generator.normal(size=(len(pairs), d))
    if distinct is not None:
        own = prototypes[:, None] + 0.3 * generator.normal(size=(c, distinct, d))
        rows = own[pairs[:, 0], generator.integers(distinct, size=len(pairs))]
    return Features(
        image=unit_rows(generator.normal(size=(n, d)) + 2),
        prototypes=prototypes,
        pair_texts=unit_rows(rows),
        pair_text_classes=pairs,
    )


def image_by_image(features, k, aggregate):
    """For each image: its top k by zero-shot, and their logits by the definition, float64."""
    prototypes, texts = features.prototypes.astype(float), features.pair_texts.astype(float)
    for x in features.image.astype(float):
        top = np.argsort(-(100 * prototypes @ x), kind="stable")[:k]
        found = []
        for a in top:
            against = []
            for b in top[top != a]:
                own = texts[(features.pair_text_classes == (a, b)).all(axis=1)]
                against += [*own] if len(own) else [prototypes[a]]
            mean = np.mean(np.unique(against, axis=0), axis=0)  # a set: each text once, however many rivals it has
            found.append(100 * x @ (mean / np.linalg.norm(mean) if aggregate == "mean_embedding" else mean))
        yield top, np.array(found)


@pytest.mark.parametrize("aggregate", ["mean_embedding", "mean_similarity"])
@pytest.mark.parametrize("k", [2, 3, 5, 12, 40])
def test_logits_of_the_top_k_equal_the_definition(k, aggregate):
    features = made()
    logits = (
        DifferentialTexts(k=k, aggregate=aggregate).fit(features, np.zeros(40, np.int64)).decision_function(features)
    )
    for row, (top, expected) in zip(logits, image_by_image(features, k, aggregate), strict=True):
        np.testing.assert_allclose(row[top], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("aggregate", ["mean_embedding", "mean_similarity"])
@pytest.mark.parametrize("k", [3, 9, 12])
def test_a_text_used_against_several_rivals_counts_once(k, aggregate):
    features = made(distinct=3, texts=150)
    labels = np.zeros(40, np.int64)
    logits = DifferentialTexts(k=k, aggregate=aggregate).fit(features, labels).decision_function(features)
    for row, (top, expected) in zip(logits, image_by_image(features, k, aggregate), strict=True):
        np.testing.assert_allclose(row[top], expected, rtol=1e-5, atol=1e-4)


def test_a_text_that_is_handed_in_twice_changes_nothing():
    features = made(distinct=3)
    labels = np.zeros(40, np.int64)
    twice = replace(
        features,
        pair_texts=np.vstack([features.pair_texts, features.pair_texts[::2]]),
        pair_text_classes=np.vstack([features.pair_text_classes, features.pair_text_classes[::2]]),
    )
    once, again = (DifferentialTexts(k=5).fit(record, labels) for record in (features, twice))
    assert np.array_equal(once.decision_function(features), again.decision_function(features))
    assert len(once.texts_) == len(again.texts_) == len(np.unique(features.pair_texts, axis=0))


@settings(max_examples=40, deadline=None)
@given(k=st.integers(2, 6), seed=st.integers(0, 1000))
def test_the_other_classes_keep_their_order_below_the_top_k(k, seed):
    features = made(seed=seed)
    labels = np.zeros(40, np.int64)
    zero_shot = ZeroShot().fit(features, labels).decision_function(features)
    logits = DifferentialTexts(k=k).fit(features, labels).decision_function(features)
    for row, before in zip(logits, zero_shot, strict=True):
        order = np.argsort(-before, kind="stable")
        assert row[order[:k]].min() > row[order[k:]].max()
        assert np.all(np.diff(row[order[k:]]) <= 0)
        steps = np.diff(before[order[k:]])
        np.testing.assert_allclose(np.diff(row[order[k:]]), steps, atol=1e-4)


def test_classes_outside_that_lie_low_enough_keep_their_zero_shot_logits():
    features = made(seed=3)
    labels = np.zeros(40, np.int64)
    zero_shot = ZeroShot().fit(features, labels).decision_function(features)
    logits = DifferentialTexts(k=3).fit(features, labels).decision_function(features)
    same = [
        np.array_equal(row[order[3:]], before[order[3:]])
        for row, before, order in zip(logits, zero_shot, np.argsort(-zero_shot, axis=1), strict=True)
    ]
    assert 0 < sum(same) < 40


def test_without_texts_for_any_pair_of_the_top_k_the_order_is_that_of_zero_shot():
    features = made()
    labels = np.zeros(40, np.int64)
    one = replace(features, pair_texts=features.pair_texts[:1], pair_text_classes=np.array([[10, 11]]))
    adapter = DifferentialTexts(k=4).fit(one, labels)
    zero_shot = ZeroShot().fit(features, labels).decision_function(features)
    untouched = ~np.isin(np.argsort(-zero_shot, axis=1)[:, :4], [10, 11]).all(axis=1)
    untouched &= ~(np.isin(np.argsort(-zero_shot, axis=1)[:, :4], [10]).any(axis=1))
    assert untouched.sum() > 5
    np.testing.assert_allclose(adapter.decision_function(features)[untouched], zero_shot[untouched], rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "why"), [(1, "zero-shot: a single class in the top 1"), (10, "zero-shot: no pair texts")]
)
def test_with_nothing_to_tell_apart_it_is_zero_shot_exactly(k, why):
    features = made()
    labels = np.zeros(40, np.int64)
    given_texts = (
        features
        if k == 1
        else replace(features, pair_texts=features.pair_texts[:0], pair_text_classes=np.empty((0, 2), np.int64))
    )
    adapter = DifferentialTexts(k=k).fit(given_texts, labels)
    assert adapter.fallback_ == why
    zero_shot = ZeroShot().fit(features, labels)
    assert np.array_equal(adapter.decision_function(features), zero_shot.decision_function(features))


def test_texts_that_cancel_out_leave_the_prototype():
    features = made(c=2, texts=0)
    text = features.prototypes[:1]
    both = replace(features, pair_texts=np.vstack([text, -text]), pair_text_classes=np.array([[0, 1], [0, 1]]))
    labels = np.zeros(40, np.int64)
    zero_shot = ZeroShot().fit(features, labels).decision_function(features)
    np.testing.assert_allclose(DifferentialTexts().fit(both, labels).decision_function(both), zero_shot, rtol=1e-6)
    similarity = DifferentialTexts(aggregate="mean_similarity").fit(both, labels).decision_function(both)
    assert not similarity[:, 0].any()


def test_small_batches_of_embeddings_equal_one(monkeypatch):
    features = made()
    adapter = DifferentialTexts(k=4).fit(features, np.zeros(40, np.int64))
    whole = adapter.decision_function(features)
    monkeypatch.setattr(fudd, "BATCH_VALUES", 1)
    np.testing.assert_allclose(adapter.decision_function(features), whole, rtol=1e-6)


def test_texts_that_set_real_classes_apart_help(digits):
    """Texts for a against b: the mean picture of a, less the part that it shares with that of b."""
    features, labels = digits.complete(0, 5)
    means = digits.prototypes["descriptions"]
    pairs = features.pair_text_classes
    apart = replace(features, pair_texts=unit_rows(means[pairs[:, 0]] - 0.5 * means[pairs[:, 1]]))
    query, truth = digits.part(200, 1700)
    zero_shot = np.mean(ZeroShot().fit(features, labels).predict(query) == truth)
    assert np.mean(DifferentialTexts(k=3).fit(apart, labels).predict(query) == truth) > zero_shot + 0.05


@settings(max_examples=150, deadline=None)
@given(m=st.integers(0, 8), c=st.integers(1, 7), k=st.integers(1, 9), seed=st.integers(0, 10**6), tied=st.booleans())
def test_top_classes_are_the_first_of_a_stable_sort(m, c, k, seed, tied):
    generator = np.random.default_rng(seed)
    logits = generator.integers(0, 3, size=(m, c)).astype(float) if tied else generator.normal(size=(m, c))
    expected = np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :k], axis=1)
    assert np.array_equal(top_classes(logits, k), expected)


@settings(max_examples=60, deadline=None)
@given(m=st.integers(0, 12), c=st.integers(1, 7), k=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_needed_pairs_are_those_that_occur_with_their_counts(m, c, k, seed):
    logits = np.random.default_rng(seed).normal(size=(m, c))
    counts = {}
    for row in logits:
        top = sorted(np.argsort(-row)[:k].tolist())
        for pair in ((a, b) for a in top for b in top if a < b):
            counts[pair] = counts.get(pair, 0) + 1
    needed = pairs_needed(logits, k)
    assert needed.pairs.shape == (len(counts), 2)
    assert [tuple(pair) for pair in needed.pairs.tolist()] == sorted(counts)
    assert needed.images.tolist() == [counts[pair] for pair in sorted(counts)]
    assert needed.possible == c * (c - 1) // 2 >= len(needed.pairs)


def test_needed_pairs_in_chunks_equal_those_at_once(monkeypatch):
    logits = np.random.default_rng(0).normal(size=(50, 30))
    whole = pairs_needed(logits, 4)
    monkeypatch.setattr(fudd, "CHUNK_ROWS", 7)
    parts = pairs_needed(logits, 4)
    assert np.array_equal(parts.pairs, whole.pairs)
    assert np.array_equal(parts.images, whole.images)
    assert whole.images.sum() == 50 * 6


@given(
    images=st.lists(st.integers(1, 9), max_size=12),
    share=st.floats(0.01, 1.0),
)
def test_the_most_frequent_pairs_cover_the_share_and_no_fewer_would(images, share):
    counts = np.array(images, dtype=np.int64)
    pairs = np.stack([np.arange(len(images)), np.arange(len(images)) + 1], axis=1)
    kept = NeededPairs(pairs=pairs, images=counts, possible=100).covering(share)
    left_out = sorted(set(range(len(images))) - set(kept.pairs[:, 0].tolist()))
    assert kept.pairs[:, 0].tolist() == sorted(kept.pairs[:, 0].tolist())
    assert kept.images.tolist() == counts[kept.pairs[:, 0]].tolist()
    assert kept.possible == 100
    if len(images):
        assert kept.images.sum() >= share * counts.sum() - 1e-9
        assert not left_out or counts[left_out].max() < kept.images.min()
        assert kept.images[kept.images > kept.images.min()].sum() < share * counts.sum()
    if share == 1.0:
        assert not left_out


def test_describing_the_needed_pairs_only_gives_the_same_logits():
    features = made(texts=2000)
    labels = np.zeros(40, np.int64)
    adapter = DifferentialTexts(k=3).fit(features, labels)
    needed = pairs_needed(ZeroShot().fit(features, labels).decision_function(features), 3)
    assert len(needed.pairs) < needed.possible
    asked = {frozenset(pair) for pair in needed.pairs.tolist()}
    kept = np.array([frozenset(pair) in asked for pair in features.pair_text_classes.tolist()])
    fewer = replace(features, pair_texts=features.pair_texts[kept], pair_text_classes=features.pair_text_classes[kept])
    lazy = DifferentialTexts(k=3).fit(fewer, labels)
    assert kept.sum() < len(kept)
    assert np.array_equal(lazy.decision_function(features), adapter.decision_function(features))


def test_bad_calls_are_refused():
    features = made()
    labels = np.zeros(40, np.int64)
    with pytest.raises(ParameterError, match="`k` must be a whole number above 0; got 0"):
        DifferentialTexts(k=0).fit(features, labels)
    with pytest.raises(ParameterError, match="`k` must be a whole number above 0; got 0"):
        pairs_needed(np.zeros((2, 3)), 0)
    with pytest.raises(ParameterError, match="`share` must be a finite number above 0; got 0"):
        pairs_needed(np.zeros((2, 3)), 2).covering(0)
    with pytest.raises(ParameterError, match="`aggregate` must be one of mean_embedding, mean_similarity; got 'max'"):
        DifferentialTexts(aggregate="max").fit(features, labels)
    alone = replace(features, pair_texts=features.pair_texts[:1], pair_text_classes=np.array([[4, 4]]))
    with pytest.raises(InvalidFeaturesError, match=r"must name two classes per text; got \(4, 4\)"):
        DifferentialTexts().fit(alone, labels)
