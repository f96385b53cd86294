"""GOPro: the token of a picture, what views change, and the context by which a fit predicts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm, cross_entropy, mse_loss, normalize

from evenly.adapters.errors import ParameterError
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.gopro import GOPro


@pytest.fixture(scope="module")
def support(digits):
    return digits.complete(0, 200)


def simclr(first, second, tau=0.1):
    """The contrast of two views of each picture (mainaksingha01/GOPro trainers/gopro.py SIMCLRLoss, e284586)."""
    a, b = normalize(first, dim=1), normalize(second, dim=1)
    own = 1e9 * torch.eye(len(a))
    labels = torch.arange(len(a))
    of_a = cross_entropy(torch.cat([a @ b.T / tau, a @ a.T / tau - own], dim=1), labels)
    of_b = cross_entropy(torch.cat([b @ a.T / tau, b @ b.T / tau - own], dim=1), labels)
    return (of_a + of_b) / 2


def test_first_steps_are_those_of_the_published_loss_whose_contrast_moves_nothing_but_its_projector(support):
    features, labels = support
    one = features.rows(slice(0, 1))
    adapter = GOPro(steps=5, rivals=9, learning_rate=0.5, consistency=1.0).fit(one, labels[:1])
    tower, image, views = features.tower, torch.tensor(one.image), [torch.tensor(view) for view in one.views]
    parts = {"context": torch.from_numpy(tower.vectors("a photo of a")), "layer": torch.zeros(64, 6)}
    parts["projector"] = torch.eye(64)
    momentum = {name: torch.zeros_like(values) for name, values in parts.items()}

    def textfeat(rows):
        return normalize(tower.rows(parts["context"] + rows[0] @ parts["layer"]), dim=-1)

    for step, rate in enumerate([1e-5, *(0.25 * (1 + np.cos(np.pi * step / 5)) for step in range(1, 5))]):
        parts = {name: values.detach().requires_grad_() for name, values in parts.items()}
        original, mocov3, augmix = textfeat(image), *map(textfeat, views)
        loss = cross_entropy(100 * image @ original.T, torch.from_numpy(labels[:1]))
        loss = loss + mse_loss(original, mocov3) + mse_loss(original, augmix)
        projected = [torch.tensor(rows[:4]) @ parts["projector"] for rows in (features.image, features.views[0])]
        loss = loss + 0.1 * simclr(*(batch_norm(rows, None, None, training=True) for rows in projected))
        gradients = dict(zip(parts, torch.autograd.grad(loss, list(parts.values())), strict=True))
        for name, values in parts.items():
            momentum[name] = 0.9 * momentum[name] + gradients[name] + 5e-4 * values.detach()
            parts[name] = values.detach() - rate * momentum[name]
        expected = parts["context"] + image[0] @ parts["layer"]
        np.testing.assert_allclose(adapter.contexts_[step + 1], expected, atol=1e-4, rtol=1e-4)
    assert not torch.equal(parts["projector"], torch.eye(64))


def test_it_learns_and_views_hold_the_token_back(support, digits):
    features, labels = support
    adapter = GOPro(learning_rate=0.02).fit(features, labels)
    query, truth = digits.complete(200, 700)
    start = adapter.set_params(stop=0.0).predict(query)
    assert np.mean(adapter.set_params(stop=1.0).predict(query) == truth) > np.mean(start == truth) + 0.05
    without = GOPro(learning_rate=0.02).fit(replace(features, views=None), labels)
    assert adapter.fallback_ == ""
    assert without.fallback_ == "no views of pictures: their consistency is not learned"
    assert not np.array_equal(adapter.contexts_, without.contexts_)


def test_it_starts_where_coop_starts(support):
    start, of_coop = (kind(steps=5).fit(*support).rows_[0] for kind in (GOPro, CoOp))
    assert np.array_equal(start, of_coop)


def test_what_does_not_fit_is_refused(support):
    with pytest.raises(ParameterError, match="`rivals` must be a whole number above 0; got 0"):
        GOPro(rivals=0).fit(*support)
