"""Tip-Adapter-F: what training starts from, what it does, and what it may depend on."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.tip_f import PUBLISHED_INITIAL_ALPHA, TipF


def cross_entropy(adapter, features, labels):
    """Mean cross-entropy of the logits at the weights that the keys were trained at."""
    logits = adapter._logits(features)
    logits -= logits.max(axis=1, keepdims=True)
    return -np.mean(logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1)))


def test_zero_epochs_are_tip(digits):
    support, query = digits.complete(0, 200), digits.part(500, 700)[0]
    trained = TipF(epochs=0, alpha=2.0, beta=5.0).fit(*support)
    plain = Tip(alpha=2.0, beta=5.0).fit(*support)
    assert np.array_equal(trained.decision_function(query), plain.decision_function(query))


def test_training_lowers_the_loss_of_the_support(digits):
    support, labels = digits.part(0, 200)
    before = cross_entropy(TipF(epochs=0).fit(support, labels), support, labels)
    after = [cross_entropy(TipF(epochs=epochs).fit(support, labels), support, labels) for epochs in (5, 20, 100)]
    assert before > after[0] > after[1] > after[2]


def test_it_beats_tip_on_real_digits(digits):
    (support, labels), (query, truth) = digits.part(0, 300), digits.part(300, 1700)
    plain, trained = Tip().fit(support, labels), TipF(epochs=100, initial_alpha=3.0, alpha=3.0).fit(support, labels)
    assert np.mean(trained.predict(query) == truth) > np.mean(plain.predict(query) == truth) + 0.02


def test_one_full_batch_step_moves_the_keys_against_the_gradient(digits):
    """AdamW's first step moves each weight by the learning rate against its gradient, after the decay."""
    support, labels = digits.part(0, 60)
    start = Tip(alpha=1.17, beta=1.0).fit(support, labels)
    moved = TipF(epochs=1, learning_rate=1e-3).fit(support, labels)
    key, direction = 7, np.zeros(64)
    for place in range(64):
        losses = []
        for step in (-1e-5, 1e-5):
            changed = Tip().fit(support, labels)
            changed.keys_ = changed.keys_.astype(np.float64)
            changed.keys_[key, place] += step
            losses.append(cross_entropy(changed, support, labels))
        direction[place] = losses[1] - losses[0]
    clear = np.abs(direction) > 1e-10
    steps = moved.keys_[key] - start.keys_[key] * (1 - 1e-3 * 0.01)
    assert clear.sum() > 30
    np.testing.assert_allclose(steps[clear], -1e-3 * np.sign(direction[clear]), atol=2e-5)


def test_epochs_go_through_the_views_in_turn(digits):
    support, labels = digits.complete(0, 50)
    adapter = TipF(epochs=5, batch_size=20).fit(support, labels)
    rows, batches = adapter._batches(support)
    assert rows.shape == (100, 64)
    assert np.array_equal(rows[50:], support.views[1])
    assert [len(batch) for batch in batches] == [20, 20, 10] * 5
    by_epoch = [np.sort(np.concatenate(batches[3 * e : 3 * e + 3])) for e in range(5)]
    assert all(np.array_equal(found, np.arange(50) + 50 * (e % 2)) for e, found in enumerate(by_epoch))
    assert len(adapter._batches(replace(support, views=None))[0]) == 50


def test_another_seed_orders_the_rows_differently(digits):
    support = digits.part(0, 60)
    first, second = (TipF(batch_size=16, seed=seed).fit(*support).keys_ for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_published_starts_are_kept():
    assert PUBLISHED_INITIAL_ALPHA["imagenet"] == TipF().initial_alpha
    assert (TipF().initial_beta, TipF().epochs, TipF().batch_size, TipF().learning_rate) == (1.0, 20, 256, 1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("initial_alpha", -1.0), ("initial_beta", -1.0), ("epochs", 1.5), ("batch_size", 0), ("learning_rate", 0)],
)
def test_bad_parameters_are_refused(digits, name, value):
    with pytest.raises(ParameterError, match=f"`{name}` must be a .* number .* 0; got {value}"):
        TipF(**{name: value}).fit(*digits.part(0, 20))
