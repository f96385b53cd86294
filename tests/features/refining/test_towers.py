"""The last blocks of towers: gradients reach them and nothing else, deltas are kept and loaded equal, runs repeat."""

import copy
import io
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from evenly.features.dense.towers import dense_encoder
from evenly.features.encoder import load_encoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.deep_prompts import DeepPrompts, PromptsAndNorms
from evenly.features.refining.encoder import refined_encoder
from evenly.features.refining.objective import Batch, Sides, info_nce
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import PairRows, SharedRows, stored_rows
from evenly.features.refining.towers import TUNED, TowerDeltas, TowerTraining
from evenly.features.refining.training import TrainingRule, train_heads
from evenly.features.refining.tuned import Blocks, SingularValues, tower_blocks, tuned_towers
from evenly.features.texts.prompt_tower import EncoderPromptTower
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


def training_of(encoder, pairs, tune="blocks", side="both", *, blocks=1):
    return TowerTraining(tuned_towers(encoder, TUNED[tune], blocks, side, seed=3), pairs, read)


def trained(encoder, tune="blocks", side="both", **going_on):
    pairs = pairs_of(encoder)
    towers = training_of(encoder, pairs, tune, side)
    return list(train_heads(pairs, OBJECTIVES["contrastive"](), RULE, seed=3, trained=towers, **going_on))


@pytest.mark.parametrize(("tune", "count"), [("blocks", 24), ("singular", 8)])
def test_gradients_reach_the_last_block_of_each_tower_and_nothing_else(folder, tune, count):
    encoder = opened(folder)
    before = {name: one.detach().clone() for name, one in encoder.opened.model.state_dict().items()}
    *_, (_, refined, state) = trained(encoder, tune)
    places = {".".join(name.split(".")[:-1]).partition("resblocks.")[2].partition(".")[0] for name in refined.deltas}
    assert places == {"1"}
    assert {name.partition("resblocks")[0] for name in refined.deltas} == {"visual.transformer.", "transformer."}
    assert len(refined.deltas) == count
    assert all(delta.any() for name, delta in refined.deltas.items() if "ln_1.weight" in name or "c_fc" in name)
    assert set(state) == {f"{prefix}{name}" for prefix in ("", "exp_avg.", "exp_avg_sq.") for name in refined.deltas}
    assert all(one.grad is None for one in encoder.opened.model.parameters())
    assert all(torch.equal(one, before[name]) for name, one in encoder.opened.model.state_dict().items())


@pytest.mark.parametrize("tune", ["blocks", "singular"])
def test_the_start_is_the_frozen_encoder_to_the_bit(folder, tune):
    encoder = opened(folder)
    pairs = pairs_of(encoder)
    start = training_of(encoder, pairs, tune, blocks=2).frozen()
    assert start.image(pairs.image, pairs.uids) is pairs.image
    same = start.at(1.0)
    assert same.image(pairs.image, pairs.uids).tobytes() == pairs.image.tobytes()
    assert same.text(pairs.text, pairs.captions).tobytes() == pairs.text.tobytes()


@pytest.mark.parametrize("tune", TUNED)
def test_what_is_tuned_is_kept_and_loaded_equal_as_an_encoder_of_its_own(folder, tune):
    encoder = opened(folder)
    *_, (_, refined, _) = trained(encoder, tune)
    half = refined.at(TUNED[tune].strengths[0])
    again = refined_encoder(opened(folder), half.to_bytes())
    pairs = pairs_of(encoder)
    assert stored_rows(again.encode_images(read(pairs.uids))).tobytes() == half.image(pairs.image, pairs.uids).tobytes()
    assert stored_rows(again.encode_texts(pairs.captions)).tobytes() == half.text(pairs.text, pairs.captions).tobytes()
    assert again.identity != encoder.identity
    assert again.identity == half.on(encoder).identity
    assert not np.allclose(again.encode_texts(["a red fox"]), encoder.encode_texts(["a red fox"]), rtol=1e-4)
    own, shared = dict(encoder.opened.model.named_parameters()), dict(again.opened.model.named_parameters())
    assert half.on(encoder).opened.model.token_embedding.weight is own["token_embedding.weight"]  # it is there once
    assert set(own) <= set(shared)


@pytest.mark.parametrize("tune", TUNED)
def test_one_tower_is_tuned_alone_and_the_other_is_not_even_run(folder, tune):
    encoder = opened(folder)
    pairs = pairs_of(encoder)

    def no_files(_uids):
        raise AssertionError("a picture was read")

    towers = TowerTraining(tuned_towers(encoder, TUNED[tune], 1, "text"), pairs, no_files)
    *_, (_, refined, _) = train_heads(pairs, OBJECTIVES["contrastive"](), RULE, seed=3, trained=towers)
    assert not any("visual" in name or "image" in name for name in refined.deltas)
    assert refined.image(pairs.image, pairs.uids) is pairs.image
    assert not np.allclose(refined.text(pairs.text, pairs.captions), pairs.text, rtol=1e-3)
    again = refined_encoder(encoder, refined.to_bytes())
    assert stored_rows(again.encode_images(read(pairs.uids))).tobytes() == pairs.image.tobytes()
    images = training_of(encoder, pairs, tune, "image")
    *_, (_, refined, _) = train_heads(pairs, OBJECTIVES["contrastive"](), RULE, seed=3, trained=images)
    assert refined.text(pairs.text, pairs.captions) is pairs.text
    assert not np.allclose(refined.image(pairs.image, pairs.uids), pairs.image, rtol=1e-3)


def test_labels_train_towers_by_their_texts(folder):
    encoder = opened(folder)
    pairs = pairs_of(encoder)
    texts = np.array(["a cat", "a dog"])
    named = SharedRows(rows=encoder.encode_texts(texts), places=np.arange(N)[:, None] % 2, texts=texts)
    towers = TowerTraining(tuned_towers(encoder, SingularValues, 1, "text"), pairs, read, captions=False)
    rule = TrainingRule(epochs=4, batch_size=24, learning_rate=1e-2)
    epochs = train_heads(replace(pairs, named=named), OBJECTIVES["labelled"](), rule, seed=3, trained=towers)
    values = [refined.deltas["transformer.resblocks.1.mlp.c_fc.weight"] for _, refined, _ in epochs]
    assert all(one.any() for one in values)
    assert not np.array_equal(values[0], values[-1])


def svd_linear(x, weight, bias, values):
    """CLIP-SVD, svf_utils/svf_torch.py: d_nsvd and SVD_Linear.forward, with vector_S = S + values."""
    left, sizes, right = (part.float() for part in torch.svd(weight.double()))  # single, it is off by 1e-5 itself
    return ((x @ right) * (sizes + values)) @ left.T + bias


def svd_block(block, x, values):
    """A block whose attention is PlainMultiHeadAttention of svf_utils: q_proj, k_proj, v_proj and proj apart."""
    (n, length, width), attention = x.shape, block.attn
    inputs = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), values["in_proj"], strict=True)
    q, k, v = (
        svd_linear(block.ln_1(x), *one).view(n, length, attention.num_heads, -1).transpose(1, 2) for one in inputs
    )
    attended = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
    x = x + svd_linear(attended, attention.out_proj.weight, attention.out_proj.bias, values["out_proj"])
    inner = block.mlp.gelu(svd_linear(block.ln_2(x), block.mlp.c_fc.weight, block.mlp.c_fc.bias, values["c_fc"]))
    return x + svd_linear(inner, block.mlp.c_proj.weight, block.mlp.c_proj.bias, values["c_proj"])


def test_singular_values_move_as_those_of_the_public_code(folder):
    encoder = opened(folder)
    tuned = tuned_towers(encoder, SingularValues, 1, "image")
    place, generator = "visual.transformer.resblocks.1.", torch.Generator().manual_seed(0)
    block, draws = encoder.opened.model.visual.transformer.resblocks[1], partial(torch.randn, generator=generator)
    values = {name: (0.3 * draws(zeros.shape)).requires_grad_() for name, zeros in tuned.start().items()}
    x, weights = draws(3, 5, 32), draws(3, 5, 32)
    changed = {name.removeprefix(place): weight for name, weight in tuned.changed(values).items()}
    ours = torch.func.functional_call(block, changed, (x,))
    kinds = {
        kind: next(one for name, one in values.items() if kind in name) for kind in ("in_proj", "out_proj", "c_fc")
    }
    theirs = svd_block(block, x, kinds | {"c_proj": values[f"{place}mlp.c_proj.weight"]})
    assert ours.detach().numpy() == pytest.approx(theirs.detach().numpy(), abs=1e-5)
    gradients = [torch.autograd.grad((rows * weights).sum(), list(values.values())) for rows in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-4)


def with_tokens(prefix, context, suffix):
    return torch.cat([prefix, context.expand(len(prefix), -1, -1), suffix], dim=1)


def maple_text(model, tokens, context, deeper):
    """MaPLe, trainers/maple.py, TextEncoder over construct_prompts; clip/model.py, ResidualAttentionBlock_MaPLe."""
    embedding = model.token_embedding(tokens)
    x = with_tokens(embedding[:, :1], context, embedding[:, 1 + len(context) :]) + model.positional_embedding
    for number, block in enumerate(model.transformer.resblocks):
        if 0 < number <= len(deeper):
            x = with_tokens(x[:, :1], deeper[number - 1], x[:, 1 + len(context) :])
        x = block(x, attn_mask=model.attn_mask)
    return model.ln_final(x)[torch.arange(len(x)), tokens.argmax(dim=-1)] @ model.text_projection


def maple_image(visual, pixels, context, deeper):
    """MaPLe, clip/model.py, VisionTransformer_MaPLe and its blocks."""
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(torch.cat([x, context.expand(len(x), -1, -1)], dim=1))
    for number, block in enumerate(visual.transformer.resblocks):
        if 0 < number <= len(deeper):
            x = torch.cat([x[:, : -len(context)], deeper[number - 1].expand(len(x), -1, -1)], dim=1)
        x = block(x)
    return visual.ln_post(x[:, 0]) @ visual.proj


@pytest.mark.parametrize("depth", [1, 2])
def test_deep_prompts_are_those_of_the_public_code(folder, depth):
    encoder = opened(folder)
    towers = training_of(encoder, pairs_of(encoder), "deep_prompts", blocks=depth)
    values, generator, model = towers.start(), torch.Generator().manual_seed(0), encoder.opened.model
    words = model.token_embedding(encoder.tokens(["a photo"]))[0, 1:3]
    assert torch.equal(values["deep_prompts.text_0"], words)
    if depth == 2:
        assert 0.01 < values["deep_prompts.text_1"].std() < 0.03
        assert len(values) == 6
    values = {name: one + 0.1 * torch.randn(one.shape, generator=generator) for name, one in values.items()}
    text = [values[f"deep_prompts.text_{number}"] for number in range(depth)]
    image = [
        text[number] @ values[f"deep_prompts.weight_{number}"].T + values[f"deep_prompts.bias_{number}"]
        for number in range(depth)
    ]
    refined = towers.refinement({name: one.numpy() for name, one in values.items()})
    again = refined_encoder(encoder, refined.to_bytes())
    theirs = maple_text(model, encoder.tokens(["a photo red fox", "a photo a dog on a sofa"]), text[0], text[1:])
    assert again.encode_texts(["red fox", "a dog on a sofa"]) == pytest.approx(theirs.detach().numpy(), abs=1e-5)
    pixels = encoder.images.pixels.normalised(encoder.images.prepare(read(["1", "7"])))
    theirs = maple_image(model.visual, pixels, image[0], image[1:])
    assert again.encode_images(read(["1", "7"])) == pytest.approx(theirs.detach().numpy(), abs=1e-5)
    assert encoder.encode_texts(["red fox"]) != pytest.approx(again.encode_texts(["red fox"]), abs=1e-3)
    assert again.context_length == encoder.context_length - 2
    files = read(["1", "7"])
    assert dense_encoder(again, "prompted").grid == dense_encoder(encoder, "frozen").grid
    assert np.isfinite(dense_encoder(again, "prompted").encode_dense(files).cells).all()
    with pytest.raises(UnknownModelError, match="refined by deep prompts"):
        EncoderPromptTower(again)
    with pytest.raises(RowsError, match="`strength` must be 0 or 1 of deep prompts"):
        refined.at(0.5).text(encoder.encode_texts(["red fox"]), np.array(["red fox"]))
    assert refined.at(0.0).on(encoder).encode_texts(["fox"]).tobytes() == encoder.encode_texts(["fox"]).tobytes()


def test_a_long_text_keeps_its_end_mark_behind_deep_prompts(folder):
    encoder = opened(folder)
    texts = [" ".join(["fox"] * count) for count in (7, 8, 9, 30)]
    again = training_of(encoder, pairs_of(encoder), "deep_prompts", "text").refinement(
        {
            name: one.numpy()
            for name, one in training_of(encoder, pairs_of(encoder), "deep_prompts", "text").start().items()
        }
    )
    rows = again.on(encoder).encode_texts(texts)
    assert again.on(encoder).truncated(texts) == [False, False, True, True]
    assert np.array_equal(rows[1], rows[3])
    assert not np.allclose(rows[0], rows[1], atol=1e-4)


def test_visual_prompts_alone_are_learned_as_they_are(folder):
    encoder = opened(folder)
    before = {name: one.detach().clone() for name, one in encoder.opened.model.state_dict().items()}
    *_, (_, refined, state) = trained(encoder, "deep_prompts", "image")
    assert set(refined.deltas) == {"deep_prompts.image_0"}
    assert state["exp_avg.deep_prompts.image_0"].any()
    assert all(torch.equal(one, before[name]) for name, one in encoder.opened.model.state_dict().items())


def nola_image(visual, pixels, prompts):
    """NoLA, trainers/NoLA.py, incorporate_prompt; clip/model.py, embeddings_patch, forward_after_patch_embeddings."""
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(x)
    x = torch.cat([x[:, :1], prompts.expand(len(x), -1, -1), x[:, 1:]], dim=1)
    for block in visual.transformer.resblocks:
        x = block(x)
    return visual.ln_post(x[:, 0]) @ visual.proj


def nola_loss(preds, target, epsilon=0.1):
    """NoLA, utils/utils.py, LabelSmoothingCrossEntropy."""
    log_preds = torch.log_softmax(preds, dim=-1)
    nll = torch.nn.functional.nll_loss(log_preds, target)
    return epsilon * (-log_preds.sum(dim=-1).mean() / preds.shape[-1]) + (1 - epsilon) * nll


def test_tokens_and_norms_learn_from_pseudo_labels_as_in_the_public_code(folder):
    encoder, texts = opened(folder), np.array(["a cat", "a dog", "a fox"])
    named = SharedRows(rows=encoder.encode_texts(texts), places=np.arange(N)[:, None] % 3, texts=texts)
    pairs, places, generator = replace(pairs_of(encoder), named=named), np.arange(7), torch.Generator().manual_seed(0)
    towers = training_of(encoder, pairs, "prompts_and_norms", "image")
    values = {name: (one + 0.1 * torch.randn(one.shape, generator=generator)) for name, one in towers.start().items()}
    values = {name: one.requires_grad_() for name, one in values.items()}
    visual = copy.deepcopy(encoder.opened.model.visual)
    norms = {name: one for name, one in visual.named_parameters() if "ln_" in name}
    for name, weights in norms.items():
        weights.requires_grad_().data += values[f"visual.{name}"].data
    assert values.keys() == {"deep_prompts.image_0", *(f"visual.{name}" for name in norms)}
    assert len(norms) == 2 * (2 + 2 * 2)

    objective = OBJECTIVES["pseudo_labelled"]()
    objective.prepare(pairs, seed=0)
    batch = Batch(
        places=places, pairs=pairs, negatives=None, progress=0.0, generator=generator, refined=None,
        texts=partial(towers.texts, values),
    )  # fmt: skip
    pixels = encoder.images.prepare(read(pairs.uids[places]))
    sides = Sides(image=torch.from_numpy(pairs.image[places]), text=torch.from_numpy(pairs.text[places]))
    ours = objective.loss(batch, towers.rows(values, sides, (pixels, None)), sides)
    unit = torch.nn.functional.normalize
    prompts = values["deep_prompts.image_0"].detach().requires_grad_()
    tokens = visual.ln_pre(prompts)  # there they come behind the first normalisation, here before it, as in MaPLe
    rows = 100 * unit(nola_image(visual, encoder.images.pixels.normalised(pixels), tokens), dim=1)
    theirs = nola_loss(rows @ unit(torch.from_numpy(named.rows), dim=1).T, torch.from_numpy(places % 3))
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    same = {"deep_prompts.image_0": prompts} | {f"visual.{name}": weights for name, weights in norms.items()}
    gradients = torch.autograd.grad(ours, [values[name] for name in same])
    for one, other in zip(gradients, torch.autograd.grad(theirs, list(same.values())), strict=True):
        assert one.any()
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-4)


def test_norms_begin_at_the_frozen_ones_and_train_beside_tokens_alone(folder):
    encoder = opened(folder)
    before = {name: one.detach().clone() for name, one in encoder.opened.model.state_dict().items()}
    pairs = pairs_of(encoder)
    start = training_of(encoder, pairs, "prompts_and_norms", "image").frozen()
    assert start.image(pairs.image, pairs.uids) is pairs.image
    tokens = training_of(encoder, pairs, "deep_prompts", "image").frozen().at(1.0)
    assert start.at(1.0).image(pairs.image, pairs.uids).tobytes() == tokens.image(pairs.image, pairs.uids).tobytes()
    *_, (_, refined, state) = trained(encoder, "prompts_and_norms", "image")
    norms = {f"visual.{name}" for name, _ in encoder.opened.model.visual.named_parameters() if "ln_" in name}
    assert set(refined.deltas) == {"deep_prompts.image_0"} | norms
    assert all(state[f"exp_avg.{name}"].any() for name in refined.deltas)
    assert all(torch.equal(one, before[name]) for name, one in encoder.opened.model.state_dict().items())
    with pytest.raises(RowsError, match="must hold deep prompts"):
        PromptsAndNorms(encoder, sorted(refined.deltas)[:-1])


def test_deltas_are_added_at_their_strength(folder):
    encoder = opened(folder)
    *_, (_, refined, _) = trained(encoder)
    again = refined_encoder(opened(folder), refined.at(0.5).to_bytes())
    assert again.identity != refined_encoder(encoder, refined.to_bytes()).identity
    name = "transformer.resblocks.1.mlp.c_fc.weight"
    weights = dict(again.opened.model.named_parameters())
    own = dict(encoder.opened.model.named_parameters())
    assert torch.equal(weights[name], own[name] + 0.5 * torch.from_numpy(np.array(refined.deltas[name])))


@pytest.mark.parametrize(
    ("tune", "options"),
    [
        ("blocks", {}),
        ("blocks", {"threads": 2}),
        ("blocks", {"batch_size": 3}),
        ("singular", {}),
        ("deep_prompts", {}),
        ("prompts_and_norms", {}),
    ],
)
def test_towers_are_trained_alike_wherever_it_was_broken_off_and_by_however_many_threads(folder, tune, options):
    whole = trained(opened(folder, batch_size=options.get("batch_size", 4)), tune)
    _, _, state = whole[0]
    rest = trained(opened(folder, **options), tune, start=(1, state))
    assert rest[-1][1].to_bytes() == whole[-1][1].to_bytes()
    assert all(rest[-1][2][name].tobytes() == values.tobytes() for name, values in whole[-1][2].items())


def test_training_lowers_the_loss_of_its_pairs(folder):
    encoder = opened(folder)
    pairs = pairs_of(encoder)
    towers = training_of(encoder, pairs)
    rule = TrainingRule(epochs=10, batch_size=24, learning_rate=3e-3)
    *_, (_, refined, _) = train_heads(pairs, OBJECTIVES["contrastive"](), rule, seed=3, trained=towers)

    def loss(refinement):
        rows = refinement.image(pairs.image, pairs.uids), refinement.text(pairs.text, pairs.captions)
        image, text = map(torch.from_numpy, rows)
        negatives = torch.from_numpy(pairs.captions[:, None] != pairs.captions)
        return float(info_nce(Sides(image=image, text=text), negatives, temperature=0.05))

    assert loss(refined) < loss(refined.at(0)) / 2


@pytest.mark.parametrize("tune", ["blocks", pytest.param("singular", marks=pytest.mark.slow), "deep_prompts"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_each_kind_of_encoder_has_blocks_that_can_be_trained(kind, tune, tmp_path):
    encoder = opened(ENCODERS[kind](tmp_path / kind))
    *_, (_, refined, _) = trained(encoder, tune)
    start = {name: values.numpy() for name, values in refined.tuned.start().items()}
    assert all(np.isfinite(delta).all() for delta in refined.deltas.values())
    of_pictures = {name for name in start if name.startswith(("visual", "deep_prompts.weight", "deep_prompts.bias"))}
    for names in (of_pictures, set(start) - of_pictures):
        assert any(not np.array_equal(refined.deltas[name], start[name]) for name in names)
    again, pairs = refined_encoder(encoder, refined.to_bytes()), pairs_of(encoder)
    rows = again.encode_images(read(pairs.uids)), again.encode_texts(pairs.captions)
    assert stored_rows(rows[0]).tobytes() == refined.image(pairs.image, pairs.uids).tobytes()
    assert stored_rows(rows[1]).tobytes() == refined.text(pairs.text, pairs.captions).tobytes()
    assert all(not np.allclose(new, old, atol=1e-4) for new, old in zip(rows, (pairs.image, pairs.text), strict=True))


def test_bf16_weights_are_trained_by_deltas_in_single_precision(folder):
    encoder = opened(folder, precision="bf16")
    *_, (_, refined, _) = trained(encoder)
    assert {delta.dtype for delta in refined.deltas.values()} == {np.dtype(np.float32)}
    assert any(delta.any() for delta in refined.deltas.values())
    changed = dict(refined.on(encoder).opened.model.named_parameters())
    assert changed["transformer.resblocks.1.mlp.c_fc.weight"].dtype == torch.bfloat16


def test_a_tower_without_such_blocks_or_with_fewer_is_refused_by_what_it_has(folder):
    with pytest.raises(UnknownModelError, match=r"image tower; got 3, of 2 in visual\.transformer\.resblocks"):
        tower_blocks(opened(folder).opened.model, "image", 3)

    class Convolutions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.trunk = torch.nn.Sequential()
            self.visual.trunk.add_module("conv_stem", torch.nn.Conv2d(3, 8, 3))
            self.visual.trunk.add_module("blocks", torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3)))

    with pytest.raises(UnknownModelError, match="a tower without: Sequential with conv_stem, blocks"):
        Blocks.names(Convolutions(), 1, ["image"])
    with pytest.raises(UnknownModelError, match="a tower without: Sequential with conv_stem, blocks"):
        DeepPrompts.names(Convolutions(), 1, ["image"])
    model = opened(folder).opened.model
    model.visual.forward = model.visual.__class__.forward.__get__(model.visual)
    model.visual.__class__ = type("Other", (torch.nn.Module,), {})
    with pytest.raises(
        UnknownModelError, match="vision transformer of open_clip or timm, or of the text tower alone; got"
    ):
        DeepPrompts.names(model, 1, ["image"])
    with pytest.raises(RowsError, match=r"must hold deep prompts; got deep_prompts\.text_1"):
        TowerDeltas(deltas={"deep_prompts.text_1": np.zeros((2, 32), np.float32)}, kind="deep_prompts").on(
            opened(folder)
        )


def test_deltas_of_another_model_are_refused(folder, tmp_path):
    *_, (_, refined, _) = trained(opened(folder))
    one_block = opened(tiny_encoders.write_clip(tmp_path / "model", layers=1))
    with pytest.raises(RowsError, match=r"the encoder's model, which has no `transformer\.resblocks\.1"):
        refined_encoder(one_block, refined.to_bytes())
    name = "transformer.resblocks.1.ln_1.weight"
    wrong = TowerDeltas(deltas=dict(refined.deltas) | {name: np.full(32, np.inf, np.float32)})
    with pytest.raises(RowsError, match=f"`{name}` must be finite"):
        refined_encoder(opened(folder), wrong.to_bytes())
