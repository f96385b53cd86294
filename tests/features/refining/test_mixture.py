"""A mixture of heads: starts as the frozen encoder, takes the two experts that the router gives most, learns."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from evenly.features.errors import RowsError
from evenly.features.refining.encoder import RefinedEncoder, refined_encoder
from evenly.features.refining.heads import Heads
from evenly.features.refining.mixture import HeadMixture, MixtureTraining
from evenly.features.refining.objective import Sides
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows
from evenly.features.refining.training import TrainingRule, check_trained, train_heads
from tests.features.refining.test_heads import Base

D, EXPERTS = 24, 4
RULE = TrainingRule(rank=8, epochs=3, batch_size=32, learning_rate=3e-3)


def pairs(n=160, seed=0):
    """Pictures of four clusters, alike within them, whose texts turn that another way in each."""
    random = np.random.default_rng(seed)
    clusters = np.arange(n) % EXPERTS
    centres = 3 * random.normal(size=(EXPERTS, D))
    turns = np.stack([np.linalg.qr(random.normal(size=(6, 6)))[0] for _ in range(EXPERTS)])
    basis, inner = random.normal(size=(6, D)), random.normal(size=(n, 6))
    image = centres[clusters] + inner @ basis
    text = centres[clusters] + np.einsum("nk,nkl->nl", inner, turns[clusters]) @ basis
    names = np.array([str(number) for number in range(n)])
    return PairRows(
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        uids=names,
        captions=names,
        groups=names,
        labels=np.array([""] * n),
    )


def mixture(seed=0):
    training = MixtureTraining(pairs(), 8, experts=EXPERTS, seed=seed)
    random = np.random.default_rng(seed)
    arrays = {name: values.numpy() for name, values in training.start().items()}
    ups = {name: random.normal(size=values.shape).astype(np.float32) for name, values in arrays.items() if "up" in name}
    return training, arrays | ups


def test_at_the_start_rows_are_those_of_the_frozen_encoder_to_the_bit():
    training, _ = mixture()
    start = training.refinement({name: values.numpy() for name, values in training.start().items()})
    rows = pairs().image
    assert start.image(rows).tobytes() == rows.tobytes()
    assert start.text(rows).tobytes() == rows.tobytes()


def test_a_row_goes_through_the_two_experts_that_the_router_gives_most_as_in_training():
    training, arrays = mixture()
    given_pairs = pairs()
    before = Sides(image=torch.from_numpy(given_pairs.image), text=torch.from_numpy(given_pairs.text))
    now = training.rows({name: torch.from_numpy(values) for name, values in arrays.items()}, before, None)
    kept = training.refinement(arrays)
    np.testing.assert_allclose(kept.image(given_pairs.image), now.image.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(kept.text(given_pairs.text), now.text.numpy(), rtol=1e-3, atol=1e-3)

    row = given_pairs.image[:1].astype(np.float64)
    logits = (row / np.linalg.norm(row)) @ arrays["image_router"] + arrays["image_bias"]
    first, second = np.argsort(-logits[0])[:2]
    shares = np.exp(logits[0, [first, second]])
    shares /= shares.sum()
    added = [row @ arrays["image_down"][expert] @ arrays["image_up"][expert] for expert in (first, second)]
    wanted = row + 0.5 * (shares[0] * added[0] + shares[1] * added[1])
    np.testing.assert_allclose(kept.at(0.5).image(given_pairs.image[:1]), wanted, rtol=1e-5)


@given(cut=st.integers(0, 300), n=st.integers(1, 300))
def test_a_row_has_the_same_bits_whatever_it_is_refined_with(cut, n):
    training, arrays = mixture()
    kept, rows = training.refinement(arrays), pairs(n).image
    parts = [kept.image(rows[:cut]), kept.image(rows[cut:])]
    assert np.concatenate(parts).tobytes() == kept.image(rows).tobytes()


def test_the_router_begins_at_the_clusters_and_balance_is_least_where_all_are_taken_alike():
    training, arrays = mixture()
    rows = pairs()
    unit = rows.image / np.linalg.norm(rows.image, axis=1, keepdims=True)
    first = (unit @ arrays["image_router"] + arrays["image_bias"]).argmax(axis=1)
    assert len(set(zip(first.tolist(), (np.arange(160) % EXPERTS).tolist(), strict=True))) == EXPERTS
    sides = Sides(image=torch.from_numpy(rows.image), text=torch.from_numpy(rows.text))
    parameters = {name: torch.from_numpy(values) for name, values in arrays.items()}
    even = float(training.penalty(parameters, sides))
    parameters["image_bias"] = torch.tensor([9.0, 0, 0, 0])
    assert float(training.penalty(parameters, sides)) > even > 0.0199


def test_training_goes_on_to_the_same_bits_and_finds_more_than_one_head_where_clusters_are_turned_otherwise():
    rows = pairs(480)
    rule = TrainingRule(rank=24, epochs=40, batch_size=80, learning_rate=1e-2)
    held_out = np.arange(400, 480)
    given_rows = rows.rows(np.arange(400))

    def recall(trained):
        *_, (_, kept, _) = train_heads(given_rows, OBJECTIVES["contrastive"](), rule, seed=1, trained=trained)
        image, text = kept.image(rows.image[held_out]), kept.text(rows.text[held_out])
        unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (image, text)]
        return ((unit[1] @ unit[0].T).argmax(axis=1) == np.arange(80)).mean()

    assert recall(MixtureTraining(given_rows, 24, experts=EXPERTS, seed=1)) > recall(None) + 0.2

    def trained():
        return MixtureTraining(pairs(), 8, experts=EXPERTS, seed=1)

    whole = list(train_heads(pairs(), OBJECTIVES["contrastive"](), RULE, seed=5, trained=trained()))
    _, _, state = whole[0]
    rest = list(train_heads(pairs(), OBJECTIVES["contrastive"](), RULE, seed=5, trained=trained(), start=(1, state)))
    assert rest[-1][1].to_bytes() == whole[-1][1].to_bytes()


def test_what_is_written_is_read_as_an_encoder_and_anything_else_is_refused():
    training, arrays = mixture()
    kept = training.refinement(arrays).at(0.75)
    again = HeadMixture.from_bytes(kept.to_bytes())
    assert again.to_bytes() == kept.to_bytes()
    assert again.image(pairs().image).tobytes() == kept.image(pairs().image).tobytes()
    encoder = refined_encoder(Base(), kept.to_bytes())
    assert isinstance(encoder, RefinedEncoder)
    assert encoder.identity != refined_encoder(Base(), kept.at(1.0).to_bytes()).identity
    heads = Heads.start(D, 4, seed=0).to_bytes()
    assert isinstance(refined_encoder(Base(), heads), RefinedEncoder)
    with pytest.raises(RowsError, match="`refine` must hold image_down"):
        HeadMixture.from_bytes(heads)
    wrong = arrays | {"text_bias": np.zeros(3, np.float32)}
    with pytest.raises(RowsError, match=r"`text_bias` must be finite float32 of shape \(4,\)"):
        HeadMixture.from_bytes(HeadMixture(weights=wrong).to_bytes())
    with pytest.raises(RowsError, match=r"must be one of heads, mixture, towers, singular.*; got `soup`"):
        refined_encoder(Base(), save(arrays, {"strength": '{"kind": "soup", "strength": 1}'}))
    with pytest.raises(RowsError, match="must be a file that `evenly refine` made"):
        refined_encoder(Base(), save(arrays, {"strength": '{"kind": "soup"}'}))


def test_more_experts_than_the_rank_or_beside_towers_are_refused():
    with pytest.raises(RowsError, match="`experts` must be from 2 to the rank, 8"):
        MixtureTraining(pairs(), 8, experts=9, seed=0)
    with pytest.raises(ValueError, match="`experts` must be 1 beside `towers`"):
        check_trained(2, 1, 64, "blocks", "both")
    with pytest.raises(ValueError, match="at most the rank, 4"):
        check_trained(5, 0, 4, "blocks", "both")
    with pytest.raises(ValueError, match="`tune` and `side` must stand beside `towers`"):
        check_trained(1, 0, 64, "singular", "both")
    same = pairs()
    same.image[:] = 1.0
    with pytest.raises(RowsError, match="at most the clusters that pictures have"):
        MixtureTraining(same, 8, experts=4, seed=0)
