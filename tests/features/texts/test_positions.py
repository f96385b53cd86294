"""Positions are stretched as Long-CLIP does, for each kind of text tower that has a table of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from evenly.features.encoder import load_encoder
from evenly.features.errors import UnknownModelError
from evenly.features.texts.positions import stretched, stretched_length, stretched_rows
from tests.features.conftest import TINY_CONFIG

CONTEXT = 24
SHORT = ["a cat", "", "two dogs on a red sofa", "a b c d e f g h i j k l m n o p q r"]
LATE = "a " * 25


def published(table: torch.Tensor) -> torch.Tensor:
    """The loop of beichenzbc/Long-CLIP, transcribed."""
    length, dim = table.shape
    keep = 20
    new = torch.zeros([4 * length - 3 * keep, dim], dtype=table.dtype)
    new[:keep] = table[:keep]
    for i in range(length - 1 - keep):
        for part in range(4):
            new[4 * i + part + keep] = (4 - part) * table[i + keep] / 4 + part * table[i + 1 + keep] / 4
    for part in range(4):
        new[4 * length - 3 * keep - 4 + part] = table[-1] + part * (table[-1] - table[-2]) / 4
    return new


def test_positions_are_those_of_the_published_code():
    table = torch.randn(77, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert stretched_rows(table).shape == (248, 5)
    torch.testing.assert_close(stretched_rows(table), published(table))
    assert [stretched_length(n) for n in (21, 77, 128)] == [24, 248, 452]
    assert stretched_rows(table.half()).dtype == torch.float16


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """By kind of tower: the encoder as it is and with its positions stretched."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("towers")
    text = TINY_CONFIG["text_cfg"] | {"context_length": CONTEXT}
    configs = {
        "clip": TINY_CONFIG | {"text_cfg": text},
        "custom": TINY_CONFIG | {"text_cfg": text, "custom_text": True},
        "class-token": TINY_CONFIG | {"text_cfg": text | {"embed_cls": True}, "custom_text": True},
        "no-mask": TINY_CONFIG
        | {"text_cfg": text | {"no_causal_mask": True, "pool_type": "last"}, "custom_text": True},
    }
    pairs = {}
    for name, config in configs.items():
        (folder / f"tiny-{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"tiny-{name}.json")
        torch.manual_seed(0)
        save_file(open_clip.create_model(f"tiny-{name}").state_dict(), folder / f"{name}.safetensors")
        weights = str(folder / f"{name}.safetensors")
        encoder = load_encoder(f"tiny-{name}", weights, cache="unused", threads=1, batch_size=4)
        pairs[name] = encoder, encoder.with_long_texts("stretched")
    return pairs


@pytest.mark.parametrize("kind", ["clip", "custom", "class-token", "no-mask"])
def test_every_tower_of_open_clip_reads_further(readers, kind):
    plain, longer = readers[kind]
    assert (plain.context_length, longer.context_length) == (CONTEXT, 36)
    assert plain.truncated([LATE]) == [True]
    assert longer.truncated([LATE, "a " * 40]) == [False, True]
    texts = [LATE + "cat", LATE + "dog"]
    assert np.array_equal(*plain.encode_texts(texts))
    assert not np.allclose(*longer.encode_texts(texts))
    assert plain.identity != longer.identity


def test_texts_of_20_tokens_stay_as_they_are_where_later_positions_are_not_looked_at(readers):
    for kind in ("clip", "custom"):
        plain, longer = readers[kind]
        assert max(plain.token_counts(SHORT)) == 20
        np.testing.assert_allclose(longer.encode_texts(SHORT), plain.encode_texts(SHORT), atol=1e-5)
        beyond = [SHORT[-1] + " s t"]
        assert not np.allclose(longer.encode_texts(beyond), plain.encode_texts(beyond), atol=1e-5)


def test_a_class_token_keeps_its_position(readers):
    plain, longer = readers["class-token"]
    tables = [one.opened.model.text.positional_embedding for one in (plain, longer)]
    torch.testing.assert_close(tables[0][-1], tables[1][-1])
    torch.testing.assert_close(stretched_rows(tables[0][:-1]), tables[1][:-1])


def test_the_model_that_is_stretched_stays_as_it_is(readers):
    plain, longer = readers["clip"]
    before = plain.encode_texts(SHORT)
    assert plain.opened.model.positional_embedding.shape[0] == CONTEXT
    own, other = (one.opened.model.token_embedding.weight for one in (plain, longer))
    assert own.data_ptr() == other.data_ptr()  # no second copy of the weights
    longer.encode_texts([LATE])
    assert plain.encode_texts(SHORT).tobytes() == before.tobytes()


@pytest.mark.slow
def test_the_embedded_model_has_positions_too(embedded):
    longer = embedded.with_long_texts("stretched")
    assert (embedded.context_length, longer.context_length) == (128, 452)
    assert longer.encode_texts(SHORT).tobytes() == embedded.encode_texts(SHORT).tobytes()
    texts = [LATE * 6 + name for name in ("cat", "dog")]
    assert np.array_equal(*embedded.encode_texts(texts))
    assert not np.array_equal(*longer.encode_texts(texts))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (12, "must have more than 20 tokens to read; got 12. Take `chunks`"),
        (400, "must have a text tower with room for 1540 positions; got one with 512"),
    ],
)
def test_towers_that_cannot_be_stretched_are_named(tiny, embedded, context, message):
    opened = tiny.opened if context == 12 else replace(embedded.opened, context_length=context)
    with pytest.raises(UnknownModelError, match=message):
        stretched(opened)


def test_a_tower_without_a_table_of_positions_is_named(embedded):
    opened = embedded.opened
    kept = opened.model.text.transformer.embeddings.position_embeddings
    opened.model.text.transformer.embeddings.position_embeddings = None
    try:
        with pytest.raises(UnknownModelError, match=r"a table of positions; got `bert`, which has none\."):
            embedded.with_long_texts("stretched")
    finally:
        opened.model.text.transformer.embeddings.position_embeddings = kept
