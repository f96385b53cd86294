"""CPE: sessions by the public code's mask and gradient scale, what stays of earlier classes, broken-off sessions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, ParameterError
from evenly.adapters.evaluation.protocols.base_to_new import of_classes
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.cpe import CPE
from evenly.adapters.saved import from_arrays, to_arrays, to_card
from tests.adapters.prompts.test_formulas import LABELS, LEARNED, QUERY

CUTS = (2, 4, 5)
QUICK = {"steps": 5, "batch_size": 7, "learning_rate": 0.1}


@pytest.fixture(autouse=True)
def _no_states():
    LEARNED.tower.states.clear()


def session(number):
    """The rows of the session's classes under the class list so far."""
    rows = np.flatnonzero(np.isin(LABELS, np.arange(5)[slice(CUTS[number - 1] if number else 0, CUTS[number])]))
    return of_classes(LEARNED.rows(rows), np.arange(CUTS[number])), LABELS[rows]


def learned(count=3, **parameters):
    adapter = CPE(**QUICK | parameters)
    for number in range(count):
        adapter.partial_fit(*session(number))
    return adapter


@pytest.mark.parametrize("regularisation", ["balance", "none"])
def test_a_later_session_is_that_of_the_public_code(regularisation):
    # neuraptic/cpe-clip strategies/clip_pe.py, 9309631: _after_forward, _before_update, make_optimizer; ours:
    # the rates of CoOp, as the published schedule never leaves its warm-up
    adapter = learned(1, regularisation=regularisation)
    start = torch.tensor(adapter.contexts_[-1])
    features, labels = session(1)
    optimiser = torch.optim.SGD([context := start.clone().requires_grad_()], lr=1, momentum=0.9, weight_decay=1e-5)
    batches, stages = [], CPE._stages

    def watched(self, problem, start, *, share):
        loss = self._loss
        self._loss = lambda problem, parameters, batch: (batches.append(batch), loss(problem, parameters, batch))[1]
        result = stages(self, problem, start, share=share)
        del self._loss
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CPE, "_stages", watched)
        adapter.partial_fit(features, labels)
    rates = [1e-5, *(0.05 * (1 + np.cos(np.pi * step / 5)) for step in range(1, 5))]
    for batch, rate, learned_context in zip(batches, rates, adapter.contexts_[1:], strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        rows = normalize(features.tower.rows(context), dim=-1)
        logits = 100 * torch.tensor(features.image[batch]) @ rows.T
        logits[:, : CUTS[0]] = -9999
        cross_entropy(logits, torch.from_numpy(labels[batch])).backward()
        context.grad *= (CUTS[1] - CUTS[0]) / CUTS[1] if regularisation == "balance" else 1
        optimiser.step()
        np.testing.assert_allclose(learned_context, context.detach(), rtol=1e-5, atol=1e-5)
    assert not np.allclose(start, context.detach(), atol=1e-3)


def test_one_session_is_coop_and_all_classes_are_named_after_the_last():
    features, labels = session(0)
    parameters = QUICK | {"weight_decay": 1e-5}
    assert np.array_equal(CPE(**QUICK).fit(features, labels).rows_, CoOp(**parameters).fit(features, labels).rows_)
    adapter = learned()
    assert adapter.support_.tolist() == np.bincount(LABELS).tolist()
    assert adapter.rows_.shape == (6, 5, 12)
    rows = normalize(LEARNED.tower.rows(torch.tensor(adapter.contexts_[-1])), dim=-1)
    np.testing.assert_allclose(adapter.decision_function(QUERY), 100 * QUERY.image @ rows.numpy().T, atol=1e-4)


def test_a_frozen_context_stays_and_new_classes_are_named_by_it():
    first, last = learned(1, regularisation="freeze"), learned(3, regularisation="freeze")
    assert np.array_equal(first.contexts_[-1], last.contexts_[-1])
    np.testing.assert_allclose(first.rows_[-1], last.rows_[-1, :2], atol=1e-6)  # last bits differ by how many rows
    assert len(last.rows_[-1]) == 5


def test_a_session_of_one_class_has_nothing_to_tell_apart():
    before, after = learned(2), learned(3)
    np.testing.assert_allclose(after.contexts_[-1], before.contexts_[-1], rtol=1e-4)


@pytest.mark.parametrize("regularisation", ["balance", "none"])
def test_contexts_of_earlier_classes_of_their_own_stay(regularisation):
    first, last = (learned(count, per_class=True, regularisation=regularisation) for count in (1, 2))
    assert last.contexts_.shape == (6, 4, 4, 6)
    np.testing.assert_array_equal(last.contexts_[-1, :2], first.contexts_[-1])
    assert not np.allclose(last.contexts_[-1, 2:], last.contexts_[0, 2:], atol=1e-4)


def test_a_class_that_comes_again_is_not_masked():
    adapter, repeated = learned(1), learned(1)
    features, labels = session(1)
    rows = np.concatenate([[0], np.flatnonzero(LABELS < 4)])
    repeated.partial_fit(of_classes(LEARNED.rows(rows), np.arange(4)), LABELS[rows])
    adapter.partial_fit(features, labels)
    assert not np.allclose(adapter.contexts_[-1], repeated.contexts_[-1], atol=1e-4)
    assert repeated.support_[0] == 2 * np.count_nonzero(LABELS == 0) + 1


def test_a_session_that_was_broken_off_goes_on_to_equal_bits(monkeypatch):
    unbroken = learned()
    LEARNED.tower.states.clear()
    adapter, steps, loss = learned(1), iter(range(3)), CPE._loss
    monkeypatch.setattr(CPE, "_loss", lambda self, *rest: (next(steps), loss(self, *rest))[1])
    with pytest.raises(StopIteration):
        adapter.partial_fit(*session(1))
    assert len(adapter.prototypes_) == 2
    monkeypatch.undo()
    LEARNED.tower.calls.clear()
    adapter.partial_fit(*session(1)).partial_fit(*session(2))
    assert LEARNED.tower.calls == [2, 2, *[4] * 6, *[1] * 5, *[5] * 6]  # 3 of 5 steps were kept
    assert np.array_equal(adapter.rows_, unbroken.rows_)
    assert np.array_equal(adapter.contexts_, unbroken.contexts_)


def test_it_is_saved_between_sessions():
    adapter = learned(2)
    card = to_card(adapter)
    read = from_arrays("cpe", to_arrays(adapter), card["parameters"], learned=card["learned"])
    read.partial_fit(*session(2))
    assert np.array_equal(read.rows_, learned().rows_)


def test_a_session_without_pictures_names_its_classes_too():
    nothing = learned(1).partial_fit(*(part[:0] if part is LABELS else part for part in empty(session(1))))
    assert nothing.rows_.shape == (6, 4, 12)
    first = CPE(**QUICK).fit(*empty(session(0))).partial_fit(*session(1))
    assert first.fallback_ == ""
    assert np.array_equal(first.rows_, CPE(**QUICK).fit(*session(1)).rows_)


def empty(part):
    features, labels = part
    return features.rows(slice(0)), labels[:0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ParameterError, match="`regularisation` must be one of balance, freeze, none; got 'l2'"):
        CPE(regularisation="l2").fit(*session(0))
    features, labels = session(1)
    other = replace(features, tower=replace(features.tower, identity="another"))
    with pytest.raises(InvalidFeaturesError, match="`tower` must be that of the earlier sessions, small; got another"):
        learned(1).partial_fit(other, labels)
    with pytest.raises(MissingFeaturesError, match="got none for `tower`"):
        learned(1).partial_fit(replace(features, tower=None), labels)
