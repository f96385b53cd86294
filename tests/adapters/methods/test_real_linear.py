"""REAL-Linear: the average with its start, its first step by hand, and texts that are few or missing."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.methods.real_linear import RealLinear, training_steps
from evenly.adapters.methods.zero_shot import ZeroShot


@pytest.fixture
def support(digits):
    return digits.complete(0, 200)


@pytest.fixture
def query(digits):
    return digits.complete(200, 500)[0]


def test_the_average_starts_at_the_texts_and_ends_at_the_trained_head(support, query):
    adapter = RealLinear(wise=0.0, learning_rate=1e-2).fit(*support)
    assert np.array_equal(adapter.decision_function(query), ZeroShot().fit(*support).decision_function(query))
    start, end = adapter.affine_form()[0] / 100, adapter.set_params(wise=1.0).affine_form()[0] / 100
    half = adapter.set_params(wise=0.5).affine_form()[0] / 100
    assert np.array_equal(start, support[0].prototypes.astype(float))
    assert np.abs(end - start).max() > 0.01
    np.testing.assert_allclose(half, 0.5 * start + 0.5 * end, rtol=1e-12)


def test_the_first_step_is_that_of_adamw_on_images_and_texts_together(support):
    features, labels = support[0].rows(slice(3)), support[1][:3]
    adapter = RealLinear(batch_size=30, learning_rate=1e-3).fit(features, labels)
    texts, classes = features.prototypes.astype(float), np.arange(10)
    adapter_on_prototypes = RealLinear(batch_size=30, learning_rate=1e-3).fit(
        replace(features, class_texts=None, class_text_labels=None), labels
    )
    rows = np.concatenate([np.tile(features.image.astype(float), (10, 1)), np.tile(texts, (3, 1))])
    truth = np.concatenate([np.tile(labels, 10), np.tile(classes, 3)])
    odds = softmax(100 * rows @ texts.T) - np.eye(10)[truth]
    gradient = 100 * odds.T @ rows / len(rows)
    expected = -1e-3 * 0.01 * texts - 1e-3 * gradient / (np.abs(gradient) + 1e-8)
    clear = np.abs(gradient) > 1e-3  # a smaller one is decided by float32
    assert clear.sum() > 200
    np.testing.assert_allclose(adapter_on_prototypes.shift_[clear], expected[clear], atol=1e-6)
    assert not np.allclose(adapter.shift_, expected, atol=1e-6)


def test_every_batch_holds_as_many_texts_as_images(support):
    features = support[0].rows(slice(20))
    batches = RealLinear()._batches(features.image, features.prototypes)
    assert len(batches) == 6
    for batch in batches:
        assert len(batch) == 64
        assert (batch < 20).sum() == 32
        assert batch.max() < 30


def test_the_head_is_that_of_a_plain_loop_over_the_described_schedule(support):
    import torch

    features, labels = support
    plain = replace(features, class_texts=None, class_text_labels=None)
    adapter = RealLinear(learning_rate=1e-3).fit(plain, labels)
    batches = adapter._batches(plain.image, plain.prototypes)
    rows = torch.from_numpy(np.concatenate([plain.image, plain.prototypes]))
    truth = torch.from_numpy(np.concatenate([labels, np.arange(10)]))
    head = torch.from_numpy(plain.prototypes.copy()).requires_grad_()
    optimiser = torch.optim.AdamW([head], lr=1e-3, weight_decay=0.01)
    warmup = min(50, len(batches) // 2)
    for step, batch in enumerate(batches):
        share = (step - warmup) / len(batches)
        rate = 1e-3 * step / warmup if step < warmup else 1e-3 * (1 + np.cos(np.pi * share)) / 2
        optimiser.param_groups[0]["lr"] = 1e-4 if step == 0 else rate
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(100 * rows[batch] @ head.T, truth[batch]).backward()
        optimiser.step()
    np.testing.assert_allclose(adapter.shift_, (head.detach().numpy() - plain.prototypes), atol=2e-5)


@pytest.mark.parametrize(
    ("images", "steps"), [(1, 1), (3, 1), (32, 10), (1600, 500), (102_400, 32_000), (10**6, 32_000)]
)
def test_steps_grow_with_the_images_up_to_a_limit(images, steps):
    assert training_steps(images) == steps


@pytest.mark.parametrize("number", [0, 1, 30])
def test_few_texts_or_none_still_train(support, query, number):
    features, labels = support
    few = replace(
        features, class_texts=features.class_texts[:number], class_text_labels=features.class_text_labels[:number]
    )
    adapter = RealLinear().fit(few, labels)
    assert adapter.fallback_ == ""
    assert np.abs(adapter.shift_).max() > 0
    if number == 0:
        without = RealLinear().fit(replace(features, class_texts=None, class_text_labels=None), labels)
        assert np.array_equal(adapter.decision_function(query), without.decision_function(query))


def test_the_order_of_the_texts_does_not_matter(support, query):
    features, labels = support
    order = np.random.default_rng(0).permutation(len(features.class_texts))
    mixed = replace(
        features, class_texts=features.class_texts[order], class_text_labels=features.class_text_labels[order]
    )
    one, other = (RealLinear().fit(some, labels).decision_function(query) for some in (features, mixed))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_class_without_images_learns_from_its_texts(support):
    features, labels = support
    some = np.flatnonzero(labels != 4)
    adapter = RealLinear(learning_rate=1e-2).fit(features.rows(some), labels[some])
    others = features.class_text_labels != 4
    bare = replace(
        features, class_texts=features.class_texts[others], class_text_labels=features.class_text_labels[others]
    )
    without = RealLinear(learning_rate=1e-2).fit(bare.rows(some), labels[some])
    own = features.class_texts[~others].astype(float)
    assert (own @ adapter.shift_[4] > own @ without.shift_[4] + 0.05).all()


def test_training_beats_zero_shot_on_real_digits(digits):
    (support, labels), (query, truth) = digits.complete(0, 300), digits.complete(300, 1500)
    zero_shot = np.mean(ZeroShot().fit(support, labels).predict(query) == truth)
    trained = RealLinear(learning_rate=1e-2).fit(support, labels)
    assert np.mean(trained.predict(query) == truth) > zero_shot + 0.15


def test_no_images_are_zero_shot_in_words(support):
    features, labels = support
    assert RealLinear().fit(features.rows(slice(0)), labels[:0]).fallback_ == "zero-shot: no support rows"


def test_texts_without_their_classes_are_refused(support):
    features, labels = support
    with pytest.raises(MissingFeaturesError, match="`class_text_labels` must say the class of each"):
        RealLinear().fit(replace(features, class_text_labels=None), labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"wise": -0.1}, "`wise` must be a finite number of at least 0; got -0.1"),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0; got 0"),
        ({"batch_size": 0}, "`batch_size` must be a whole number above 0; got 0"),
    ],
)
def test_bad_parameters_are_refused(support, parameters, message):
    with pytest.raises(ParameterError, match=message):
        RealLinear(**parameters).fit(*support)
