"""NoLA: what the texts label, what the network learns from it, and that no true label is used."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods import nola
from evenly.adapters.methods.nola import NoLA, confident_rows, description_classifier
from evenly.adapters.methods.zero_shot import ZeroShot


def keys_of(n):
    return tuple(bytes([37 * i % 251, i]) for i in range(n))


def selected_one_by_one(scores, k, keys):
    """The rule in plain loops: level by level, class by class."""
    taken, done = {}, set()
    ordered = [sorted(range(scores.shape[1]), key=lambda j, row=row: (-row[j], j)) for row in scores]
    for level in range(min(3, scores.shape[1])):
        for label in set(range(scores.shape[1])) - done:
            wants = [i for i in range(len(scores)) if i not in taken and ordered[i][level] == label]
            wants.sort(key=lambda i, label=label: (-scores[i, label], keys[i]))
            taken |= dict.fromkeys(wants[:k], label)
            done |= {label} if wants else set()
    return taken


@settings(max_examples=150, deadline=None)
@given(m=st.integers(0, 20), c=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 10**6), tied=st.booleans())
def test_selection_follows_the_rule(m, c, k, seed, tied):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, size=(m, c)) / 4 if tied else generator.random((m, c))
    rows, labels = confident_rows(scores, k, keys=keys_of(m))
    assert dict(zip(rows.tolist(), labels.tolist(), strict=True)) == selected_one_by_one(scores, k, keys_of(m))
    assert labels.tolist() == sorted(labels)
    assert len(set(rows.tolist())) == len(rows)


def test_a_class_that_is_nobodys_first_takes_the_rows_that_have_it_second_else_third():
    scores = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.7, 0.2, 0.1], [0.9, 0.06, 0.04]])
    rows, labels = confident_rows(scores, 2, keys=keys_of(4))
    assert rows.tolist() == [3, 2, 1, 0]
    assert labels.tolist() == [0, 0, 1, 1]
    rows, labels = confident_rows(scores, 1, keys=keys_of(4))
    assert rows.tolist() == [3, 1, 0]
    assert labels.tolist() == [0, 1, 2]


def test_selection_in_chunks_equals_selection_at_once(monkeypatch):
    scores = np.random.default_rng(0).random((50, 6))
    whole = confident_rows(scores, 4, keys=keys_of(50))
    monkeypatch.setattr(nola, "CHUNK_ROWS", 7)
    assert all(np.array_equal(a, b) for a, b in zip(whole, confident_rows(scores, 4, keys=keys_of(50)), strict=True))


def test_the_description_classifier_is_the_normalised_mean_of_prototype_and_texts(digits):
    features, _ = digits.complete(0, 5)
    texts = [features.class_texts[features.class_text_labels == c].astype(float) for c in range(10)]
    means = np.stack([np.vstack([features.prototypes[c : c + 1], texts[c]]).mean(axis=0) for c in range(10)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(description_classifier(features), expected, atol=1e-12)


def test_classes_without_texts_or_with_texts_that_cancel_keep_their_prototype(digits):
    features, _ = digits.complete(0, 5)
    bare = replace(features, class_texts=None, class_text_labels=None)
    assert np.array_equal(description_classifier(bare), features.prototypes.astype(float))
    against = replace(features, class_texts=-features.prototypes[2:3], class_text_labels=np.array([2]))
    assert np.array_equal(description_classifier(against), features.prototypes.astype(float))


@pytest.mark.parametrize(("share", "least", "k"), [(0.2, 16, 16), (0.2, 2, 4), (1.0, 16, 20), (0.0, 3, 3)])
def test_k_is_a_share_of_the_pool_or_the_least(digits, share, least, k):
    adapter = NoLA(share=share, min_per_class=least, epochs=1).fit(*digits.complete(0, 5))
    assert np.bincount(adapter.pseudo_labels_, minlength=10).max() == k


def test_it_learns_its_pseudo_labels_and_beats_zero_shot_on_real_digits(digits):
    support, labels = digits.complete(0, 5)
    adapter = NoLA().fit(support, labels)
    pool = Features(image=support.unlabelled, second=support.unlabelled_second)
    assert np.mean(adapter.predict(pool)[adapter.pseudo_rows_] == adapter.pseudo_labels_) > 0.8
    query, truth = digits.complete(200, 1200)
    zero_shot = np.mean(ZeroShot().fit(support, labels).predict(query) == truth)
    assert np.mean(adapter.predict(query) == truth) > zero_shot + 0.05


def test_labels_of_the_support_are_not_used(digits):
    support, labels = digits.complete(0, 50)
    query = digits.complete(200, 220)[0]
    once = NoLA(epochs=2).fit(support, labels).decision_function(query)
    assert np.array_equal(NoLA(epochs=2).fit(support, 9 - labels).decision_function(query), once)
    none = NoLA(epochs=2).fit(support.rows(slice(0)), labels[:0])
    assert np.array_equal(none.decision_function(query), once)


def test_the_order_of_the_pool_does_not_matter_and_the_seed_does(digits):
    support, labels = digits.complete(0, 5)
    order = np.random.default_rng(1).permutation(len(support.unlabelled))
    shuffled = replace(
        support, unlabelled=support.unlabelled[order], unlabelled_second=support.unlabelled_second[order]
    )
    query = digits.complete(200, 300)[0]
    once = NoLA(epochs=5).fit(support, labels).decision_function(query)
    np.testing.assert_allclose(
        NoLA(epochs=5).fit(shuffled, labels).decision_function(query), once, atol=1e-3, rtol=1e-3
    )
    assert not np.allclose(NoLA(epochs=5, seed=1).fit(support, labels).decision_function(query), once, atol=1e-3)


def test_classes_without_a_pseudo_label_are_named(digits):
    support, labels = digits.complete(0, 5)
    pool = support.rows(np.flatnonzero(labels == labels[0])[:1])
    adapter = NoLA(epochs=1).fit(replace(support, unlabelled=pool.image, unlabelled_second=pool.second), labels)
    left_out = [c for c in range(10) if c not in adapter.pseudo_labels_]
    assert len(left_out) == 9
    assert adapter.fallback_ == f"no pseudo-label for 9 of 10 classes: {', '.join(map(str, left_out))}"
    assert np.isfinite(adapter.decision_function(digits.complete(5, 10)[0])).all()


def test_another_second_backbone_is_refused(digits):
    adapter = NoLA(epochs=1).fit(*digits.complete(0, 5))
    query = digits.complete(5, 10)[0]
    with pytest.raises(InvalidFeaturesError, match="`second` must have dimension 16, as `unlabelled_second` at `fit`"):
        adapter.predict(replace(query, second=unit_rows(query.second[:, :9]), unlabelled_second=None))


@pytest.mark.parametrize(
    ("name", "value"), [("hidden", 0), ("epochs", 1.5), ("batch_size", -1), ("learning_rate", 0), ("share", -0.1)]
)
def test_bad_parameters_are_refused(digits, name, value):
    with pytest.raises(ParameterError, match=f"`{name}` must be a .* number .* 0; got {value}"):
        NoLA(**{name: value}).fit(*digits.complete(0, 5))
