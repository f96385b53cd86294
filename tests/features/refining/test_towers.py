"""The last blocks of towers: gradients reach them and nothing else, deltas are kept and loaded equal, runs repeat."""

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from evenly.features.encoder import load_encoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.encoder import refined_encoder
from evenly.features.refining.objective import Sides, info_nce
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows, stored_rows
from evenly.features.refining.towers import TowerDeltas, TowerTraining, last_blocks
from evenly.features.refining.training import TrainingRule, train_heads
from tests import tiny_encoders
from tests.tiny_encoders import ENCODERS, WORDS

N = 24
RULE = TrainingRule(epochs=2, batch_size=8, learning_rate=1e-3)


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of random weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two blocks in each tower, with random weights."""
    return tiny_encoders.write_clip(tmp_path_factory.mktemp("model"), layers=2)


def opened(folder, **options):
    return load_encoder(f"local-dir:{folder}", cache="unused", **{"batch_size": 4, "threads": 1} | options)


def picture(number):
    stream = io.BytesIO()
    Image.new("RGB", (40, 40 + number % 3), (number * 9 % 256, number * 31 % 256, 100)).save(stream, "PNG")
    return stream.getvalue()


def read(uids):
    return [picture(int(uid)) for uid in uids]


def pairs_of(encoder):
    captions = [f"a {WORDS[3 + number % 4]} of number {WORDS[9 + number % 3]}" for number in range(N)]
    uids = [str(number) for number in range(N)]
    return PairRows(
        image=stored_rows(encoder.encode_images(read(uids))),
        text=stored_rows(encoder.encode_texts(captions)),
        uids=np.array(uids),
        captions=np.array(captions),
        groups=np.array(uids),
        labels=np.array([""] * N),
    )


def trained(encoder, *, blocks=1, **going_on):
    pairs = pairs_of(encoder)
    towers = TowerTraining(encoder, blocks, pairs, read)
    return list(train_heads(pairs, OBJECTIVES["contrastive"](), RULE, seed=3, trained=towers, **going_on))


def test_gradients_reach_the_last_block_of_each_tower_and_nothing_else(folder):
    encoder = opened(folder)
    before = {name: one.detach().clone() for name, one in encoder.opened.model.state_dict().items()}
    *_, (_, refined, state) = trained(encoder)
    places = {".".join(name.split(".")[:-1]).partition("resblocks.")[2].partition(".")[0] for name in refined.deltas}
    assert places == {"1"}
    assert {name.partition("resblocks")[0] for name in refined.deltas} == {"visual.transformer.", "transformer."}
    assert len(refined.deltas) == 24
    assert all(delta.any() for name, delta in refined.deltas.items() if "ln_1.weight" in name or "c_fc" in name)
    assert set(state) == {f"{prefix}{name}" for prefix in ("", "exp_avg.", "exp_avg_sq.") for name in refined.deltas}
    assert all(one.grad is None for one in encoder.opened.model.parameters())
    assert all(torch.equal(one, before[name]) for name, one in encoder.opened.model.state_dict().items())


def test_the_start_is_the_frozen_encoder_to_the_bit(folder):
    encoder = opened(folder)
    pairs = pairs_of(encoder)
    start = TowerTraining(encoder, 2, pairs, read).frozen()
    assert start.image(pairs.image, pairs.uids) is pairs.image
    same = start.at(1.0)
    assert same.image(pairs.image, pairs.uids).tobytes() == pairs.image.tobytes()
    assert same.text(pairs.text, pairs.captions).tobytes() == pairs.text.tobytes()


def test_deltas_are_kept_and_loaded_equal_as_an_encoder_of_its_own(folder):
    encoder = opened(folder)
    *_, (_, refined, _) = trained(encoder)
    half = refined.at(0.5)
    again = refined_encoder(opened(folder), half.to_bytes())
    pairs = pairs_of(encoder)
    assert stored_rows(again.encode_images(read(pairs.uids))).tobytes() == half.image(pairs.image, pairs.uids).tobytes()
    assert stored_rows(again.encode_texts(pairs.captions)).tobytes() == half.text(pairs.text, pairs.captions).tobytes()
    identities = {one.identity for one in (encoder, again, refined_encoder(encoder, refined.to_bytes()))}
    assert len(identities) == 3
    assert again.identity == half.on(encoder).identity
    assert not np.allclose(again.encode_texts(["a red fox"]), encoder.encode_texts(["a red fox"]), rtol=1e-4)
    name = "transformer.resblocks.1.mlp.c_fc.weight"
    weights = dict(again.opened.model.named_parameters())
    own = dict(encoder.opened.model.named_parameters())
    assert torch.equal(weights[name], own[name] + 0.5 * torch.from_numpy(np.array(refined.deltas[name])))
    shared = dict(half.on(encoder).opened.model.named_parameters())
    assert shared["token_embedding.weight"] is own["token_embedding.weight"]  # what did not change is there once


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"batch_size": 3}])
def test_towers_are_trained_alike_wherever_it_was_broken_off_and_by_however_many_threads(folder, options):
    whole = trained(opened(folder, batch_size=options.get("batch_size", 4)))
    _, _, state = whole[0]
    rest = trained(opened(folder, **options), start=(1, state))
    assert rest[-1][1].to_bytes() == whole[-1][1].to_bytes()
    assert all(rest[-1][2][name].tobytes() == values.tobytes() for name, values in whole[-1][2].items())


def test_training_lowers_the_loss_of_its_pairs(folder):
    encoder = opened(folder)
    pairs = pairs_of(encoder)
    towers = TowerTraining(encoder, 1, pairs, read)
    rule = TrainingRule(epochs=10, batch_size=24, learning_rate=3e-3)
    *_, (_, refined, _) = train_heads(pairs, OBJECTIVES["contrastive"](), rule, seed=3, trained=towers)

    def loss(refinement):
        rows = refinement.image(pairs.image, pairs.uids), refinement.text(pairs.text, pairs.captions)
        image, text = map(torch.from_numpy, rows)
        negatives = torch.from_numpy(pairs.captions[:, None] != pairs.captions)
        return float(info_nce(Sides(image=image, text=text), negatives, temperature=0.05))

    assert loss(refined) < loss(refined.at(0)) / 2


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_kind_of_encoder_has_blocks_that_can_be_trained(kind, tmp_path):
    encoder = opened(ENCODERS[kind](tmp_path / kind))
    *_, (_, refined, _) = trained(encoder)
    sides = {name.startswith("visual") for name in refined.deltas}
    assert sides == {True, False}
    assert all(np.isfinite(delta).all() for delta in refined.deltas.values())
    assert any(delta.any() for name, delta in refined.deltas.items() if name.startswith("visual"))
    assert any(delta.any() for name, delta in refined.deltas.items() if not name.startswith("visual"))


def test_bf16_weights_are_trained_by_deltas_in_single_precision(folder):
    encoder = opened(folder, precision="bf16")
    *_, (_, refined, _) = trained(encoder)
    assert {delta.dtype for delta in refined.deltas.values()} == {np.dtype(np.float32)}
    assert any(delta.any() for delta in refined.deltas.values())
    changed = dict(refined.on(encoder).opened.model.named_parameters())
    assert changed["transformer.resblocks.1.mlp.c_fc.weight"].dtype == torch.bfloat16


def test_a_tower_without_such_blocks_or_with_fewer_is_refused_by_what_it_has(folder):
    with pytest.raises(UnknownModelError, match=r"image tower; got 3, of 2 in visual\.transformer\.resblocks"):
        last_blocks(opened(folder).opened.model, 3)

    class Convolutions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.trunk = torch.nn.Sequential()
            self.visual.trunk.add_module("conv_stem", torch.nn.Conv2d(3, 8, 3))
            self.visual.trunk.add_module("blocks", torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3)))

    with pytest.raises(UnknownModelError, match="a tower without: Sequential with conv_stem, blocks"):
        last_blocks(Convolutions(), 1)


def test_deltas_of_another_model_are_refused(folder, tmp_path):
    *_, (_, refined, _) = trained(opened(folder))
    one_block = opened(tiny_encoders.write_clip(tmp_path / "model", layers=1))
    with pytest.raises(RowsError, match=r"the encoder's model, which has no `transformer\.resblocks\.1"):
        refined_encoder(one_block, refined.to_bytes())
    name = "transformer.resblocks.1.ln_1.weight"
    wrong = TowerDeltas(deltas=dict(refined.deltas) | {name: np.full(32, np.inf, np.float32)})
    with pytest.raises(RowsError, match=f"`{name}` must be finite"):
        refined_encoder(opened(folder), wrong.to_bytes())
