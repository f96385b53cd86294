"""A hold moves rows of nouns as far as it was asked, whatever the encoder's scale, and its penalty is its formula."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.features.errors import RowsError
from evenly.features.refining.heads import HeadTraining
from evenly.features.refining.hold import HELD, HeldTexts, Hold, noun_texts
from evenly.features.refining.mixture import MixtureTraining
from evenly.features.refining.objective import Sides
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.training import HOLD_WEIGHT, TrainingRule, train_heads
from tests.features.refining.test_training import D, pairs

RULE = TrainingRule(rank=8, epochs=24, batch_size=32, learning_rate=1e-2, hold=0.02)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def nouns(n=64, scale=1.0):
    rows = scale * np.random.default_rng(7).normal(size=(n, D))
    return HeldTexts(texts=np.array([f"noun {number}" for number in range(n)]), rows=rows.astype(np.float32))


def trained(rule=RULE, *, scale=1.0, experts=1, **further):
    of_pairs = pairs(128)
    scaled = type(of_pairs)(**vars(of_pairs) | {"image": of_pairs.image * scale, "text": of_pairs.text * scale})
    kind = MixtureTraining(scaled, 8, experts=experts, seed=5) if experts > 1 else None
    epochs = train_heads(
        scaled, OBJECTIVES["contrastive"](), rule, seed=5, trained=kind, texts=nouns(scale=scale), **further
    )
    return list(epochs)


def shift(refinement, held):
    return 1 - (unit(held.rows) * unit(refinement.text(held.rows, held.texts))).sum(axis=1).mean()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), size=st.sampled_from([1e-2, 1.0, 30.0]))
def test_the_penalty_is_that_of_second_moments(seed, size):
    """Over many rows: the sum over both sides of (down^T C down) * (up up^T), C the second moment of unit rows."""
    random = np.random.default_rng(seed)
    held, parameters = nouns(4, scale=size), {}
    for side in ("image", "text"):
        parameters[f"{side}_down"] = torch.from_numpy(random.normal(size=(D, 3)))
        parameters[f"{side}_up"] = torch.from_numpy(random.normal(size=(3, D)))
    image = torch.from_numpy(size * random.normal(size=(40_000, D)))
    original, training = Sides(image=image, text=image), HeadTraining(D, 3, seed=0)
    wide = HeldTexts(texts=held.texts, rows=held.rows.astype(np.float64))
    hold = Hold(wide, 0.01)
    penalty = hold.penalty(
        training, parameters, original, training.rows(parameters, original, None), torch.Generator().manual_seed(1)
    )
    expected = 0.0
    for side, rows in (("image", image.numpy()), ("text", wide.rows)):
        moment = unit(rows).T @ unit(rows) / len(rows)
        down, up = (parameters[f"{side}_{part}"].numpy() for part in ("down", "up"))
        expected += ((down.T @ moment @ down) * (up @ up.T)).sum()
    assert float(penalty) == pytest.approx(20 * expected, rel=0.02)  # the nouns are 40,000 draws of four


@pytest.mark.parametrize("experts", [1, 2])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_nouns_move_as_far_as_asked_whatever_the_scale_and_freely_without(scale, experts):
    *_, (_, free, state) = trained(TrainingRule(rank=8, epochs=24, batch_size=32, learning_rate=1e-2), scale=scale)
    assert HOLD_WEIGHT not in state
    *_, (_, held, state) = trained(scale=scale, experts=experts)
    assert shift(free, nouns(scale=scale)) > 3 * RULE.hold
    assert RULE.hold / 2 < shift(held, nouns(scale=scale)) < 1.5 * RULE.hold
    assert state[HOLD_WEIGHT] != 20


@pytest.mark.parametrize("experts", [1, 2])
def test_training_with_a_hold_goes_on_to_the_same_bits(experts):
    whole = trained(experts=experts)
    done, _, state = whole[4]
    rest = trained(experts=experts, start=(done, state))
    assert rest[-1][1].to_bytes() == whole[-1][1].to_bytes()
    assert all(rest[-1][2][name].tobytes() == values.tobytes() for name, values in whole[-1][2].items())


def test_nouns_are_drawn_alike_in_whatever_order_and_said_in_two_ways():
    synsets = [(f"n{number:08}", [f"thing_{number}", "other"]) for number in range(2 * HELD)]
    texts = noun_texts(synsets)
    assert texts == noun_texts(reversed(synsets))
    assert len(set(texts)) == 2 * HELD
    assert texts[1] == f"a photo of a {texts[0]}"
    assert texts[0].startswith("thing ")


def test_a_hold_without_texts_is_refused():
    with pytest.raises(RowsError, match="`texts` must be rows that are held"):
        next(train_heads(pairs(), OBJECTIVES["contrastive"](), RULE, seed=1))
