"""Vectors in the place of words: every kind of text tower gives the rows of a text whose embeddings they are."""

import numpy as np
import pytest
import torch

from evenly.features.encoder import load_encoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.texts.prompt_tower import EncoderPromptTower
from tests.tiny_encoders import ENCODERS

NAMES = ("cat", "red fox", "sofa x")


@pytest.fixture(params=ENCODERS)
def encoder(request, tmp_path):
    folder = ENCODERS[request.param](tmp_path / request.param)
    return load_encoder(f"local-dir:{folder}", cache="unused", threads=1, batch_size=4)


@pytest.fixture
def tower(encoder):
    return EncoderPromptTower(encoder)


@pytest.mark.parametrize(("place", "text"), [("end", "a two {}"), ("middle", "a {} two"), ("front", "{} a two")])
def test_embeddings_of_words_give_the_rows_of_the_text(tower, encoder, place, text):
    context = torch.from_numpy(tower.vectors("a two"))
    rows = tower.rows(context, NAMES, place=place).detach().numpy()
    expected = encoder.encode_texts([text.format(name) for name in NAMES])
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in (rows, expected)]
    np.testing.assert_allclose(*unit, atol=1e-5)
    own = tower.rows(torch.stack([context, context, 2 * context]), NAMES, place=place)
    np.testing.assert_allclose(own[:2].detach(), rows[:2], atol=1e-5)
    assert not np.allclose(own[2].detach(), rows[2], atol=1e-5)


def test_gradients_reach_the_context_alone(tower, encoder):
    context = torch.from_numpy(tower.vectors("a two")).requires_grad_()
    tower.rows(context, NAMES)[:, 0].sum().backward()
    assert context.grad.abs().sum(dim=1).all()
    assert all(weights.grad is None for weights in encoder.opened.model.parameters())


def test_the_nearest_words_of_an_embedding_are_its_own(tower):
    words = tower.nearest_words(tower.vectors("two a"))
    assert all(word in nearest for word, (nearest, _) in zip(("two", "a"), words, strict=True))
    assert max(distance for _, distance in words) < 1e-3
    assert tower.vectors(" ").shape == (0, tower.vectors("two").shape[1])


@pytest.mark.parametrize("place", ["end", "middle", "front"])
@pytest.mark.parametrize("of_contexts", [(), (2,)], ids=["unified", "per class"])
def test_rows_are_those_of_prompts_that_are_put_together_from_embeddings(tiny, place, of_contexts):
    """As CoOp's public code does it (trainers/coop.py, ff61507): start, context, name and end, then the transformer.

    At the middle the name stands after the first m // 2 vectors; the public code has a full stop at the end, ours none.
    """
    model, names, m = tiny.opened.model, ["cat", "red fox"], 3
    context = torch.randn(*of_contexts, m, 32, generator=torch.Generator().manual_seed(0))
    tokens = tiny.opened.tokenizer([f"x x x {name}" for name in names], context_length=12)
    lengths = [int(tokens[row].argmax()) - 1 - m for row in range(2)]  # tokens of each name
    before = {"end": m, "middle": m // 2, "front": 0}[place]
    with torch.no_grad():
        embedded = model.token_embedding(tokens)
        prompts = torch.stack(
            [
                torch.cat([row[:1], own[:before], row[1 + m :][:length], own[before:], row[1 + m :][length:]])
                for row, own, length in zip(embedded, context.expand(2, m, 32), lengths, strict=True)
            ]
        )
        states = model.transformer(prompts + model.positional_embedding, attn_mask=model.attn_mask)
        ends = model.ln_final(states)[torch.arange(2), tokens.argmax(dim=-1)]
        expected = ends @ model.text_projection
        rows = EncoderPromptTower(tiny).rows(context, names, place=place)
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_heads_that_refined_the_encoder_are_trained_through(tiny):
    heads = Heads.start(16, 4, seed=0)
    changed = Heads(**(heads.arrays() | {"text_up": np.ones((4, 16), np.float32)}), strength=0.5)
    encoder = RefinedEncoder(tiny, changed)
    tower = EncoderPromptTower(encoder)
    rows = tower.rows(torch.from_numpy(tower.vectors("a two")), NAMES).detach().numpy()
    np.testing.assert_allclose(rows, encoder.encode_texts([f"a two {name}" for name in NAMES]), atol=1e-2)


def test_a_name_that_does_not_fit_and_an_encoder_without_a_tower_are_refused(tiny):
    with pytest.raises(RowsError, match=r"`names` must fit the 12 tokens .* beside 4 context vectors; got 1. tokens"):
        EncoderPromptTower(tiny).rows(torch.zeros(4, 32), ["cat " * 8])
    with pytest.raises(UnknownModelError, match="`encoder` must be of open_clip, or refined by heads or towers"):
        EncoderPromptTower(object())
