"""CoOp: the loss and the steps of its equations, stages, and what a saved fit says of its words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.prompts import training
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.saved import from_arrays, to_arrays, to_card


@pytest.fixture(scope="module")
def support(digits):
    return digits.complete(0, 200)


def test_first_step_is_that_of_sgd_on_the_cross_entropy_of_scaled_cosines(support):
    features, labels = support
    adapter = CoOp(steps=5, batch_size=200, learning_rate=0.5).fit(features, labels)
    tower = features.tower
    context = torch.from_numpy(tower.vectors("a photo of a")).requires_grad_()
    rates = [1e-5, *(0.25 * (1 + np.cos(np.pi * step / 5)) for step in range(1, 5))]
    momentum = torch.zeros_like(context)
    for step, rate in enumerate(rates):
        rows = normalize(tower.rows(context), dim=-1)
        loss = cross_entropy(100 * torch.tensor(features.image) @ rows.T, torch.from_numpy(labels))
        (gradient,) = torch.autograd.grad(loss, context)
        momentum = 0.9 * momentum + gradient + 5e-4 * context.detach()
        context = (context.detach() - rate * momentum).requires_grad_()
        np.testing.assert_allclose(adapter.contexts_[step + 1], context.detach(), atol=1e-4, rtol=1e-4)


def test_it_learns_and_validation_can_stop_it(support, digits):
    adapter = CoOp(learning_rate=0.01, per_class=True).fit(*support)
    query, labels = digits.complete(200, 700)
    learned = np.mean(adapter.predict(query) == labels)
    start = adapter.set_params(stop=0.0).decision_function(query)
    assert learned > np.mean(start.argmax(axis=1) == labels) + 0.1
    rows = normalize(query.tower.rows(torch.from_numpy(query.tower.vectors("a photo of a"))), dim=-1).numpy()
    np.testing.assert_allclose(start, 100 * query.image @ rows.T, atol=1e-3)


@pytest.mark.parametrize(
    "parameters", [{"per_class": True}, {"initial": "", "n_context": 4}, {"place": "middle"}, {"place": "front"}]
)
def test_every_kind_of_context_is_saved_and_predicts_without_the_tower(support, digits, parameters):
    adapter = CoOp(steps=5, **parameters).fit(*support)
    card = to_card(adapter)
    read = from_arrays("coop", to_arrays(adapter), card["parameters"], learned=card["learned"])
    query = digits.part(200, 260)[0]
    assert query.tower is None
    assert np.array_equal(read.decision_function(query), adapter.decision_function(query))
    contexts = 10 if parameters.get("per_class") else 1
    assert [len(words) for words in read.nearest_words()] == [4] * contexts


def test_a_training_of_another_version_is_not_gone_on_from(support, monkeypatch):
    features, labels = support
    CoOp(steps=5).fit(features, labels)
    features.tower.calls.clear()
    CoOp(steps=5).fit(features, labels)
    assert len(features.tower.calls) == 6  # read: rows of all stages alone
    monkeypatch.setattr(training, "VERSION", training.VERSION + 1)
    CoOp(steps=5).fit(features, labels)
    assert len(features.tower.calls) == 6 + 5 + 6


def test_what_does_not_fit_is_refused(support):
    features, labels = support
    with pytest.raises(ParameterError, match="`stop` must lie in 0 to 1; got 2"):
        CoOp(stop=2).fit(features, labels)
    with pytest.raises(ParameterError, match="`place` must be one of end, middle, front; got 'left'"):
        CoOp(place="left").fit(features, labels)
    with pytest.raises(ParameterError, match=r"`learning_rate` must be so low .*; got 1e\+30"):
        CoOp(learning_rate=1e30, steps=10).fit(features, labels)
    with pytest.raises(InvalidFeaturesError, match="`tower` must have a name per class, 10; got 9"):
        replace(features, tower=features.tower.of_classes(np.arange(9)))
    image, prototypes = (unit_rows(rows[:, :60]) for rows in (features.image, features.prototypes))
    with pytest.raises(InvalidFeaturesError, match="`tower` must give rows of dimension 60, as `image` has; got 64"):
        CoOp(steps=5).fit(Features(image=image, prototypes=prototypes, tower=features.tower), labels)
