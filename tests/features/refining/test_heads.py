"""Heads start as the frozen encoder to the bit, refine rows alike in any company, and are read back or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.errors import RowsError
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.unit_rows import to_unit_rows

D = 24


def trained(seed=0, strength=0.5):
    start = Heads.start(D, 4, seed=seed)
    random = np.random.default_rng(seed)
    return Heads(
        **start.arrays() | {name: random.normal(size=(4, D)).astype(np.float32) for name in ("image_up", "text_up")},
        strength=strength,
    )


def rows(n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32) * 7


def test_at_the_start_rows_are_those_of_the_frozen_encoder_to_the_bit():
    given_rows, heads = rows(300), Heads.start(D, 4, seed=3)
    assert heads.image(given_rows).tobytes() == given_rows.tobytes()
    assert heads.text(given_rows).tobytes() == given_rows.tobytes()


@given(cut=st.integers(0, 600), n=st.integers(1, 600))
def test_a_row_has_the_same_bits_whatever_it_is_refined_with(cut, n):
    given_rows, heads = rows(n), trained()
    parts = [heads.image(given_rows[:cut]), heads.image(given_rows[cut:])]
    assert np.concatenate(parts).tobytes() == heads.image(given_rows).tobytes()


def test_what_is_written_is_read_and_anything_else_is_refused():
    heads = trained()
    again = Heads.from_bytes(heads.to_bytes())
    assert again.text(rows(5)).tobytes() == heads.text(rows(5)).tobytes()
    assert again.strength == 0.5
    from safetensors.numpy import save

    for content in (
        b"",
        b"no heads",
        heads.to_bytes()[:-4],
        save(heads.arrays()),
        save({"x": rows(2)}, {"strength": "1"}),
    ):
        with pytest.raises(RowsError, match="`refine` must"):
            Heads.from_bytes(content)
    wide = heads.arrays() | {"text_up": np.full((4, D), np.nan, np.float32)}
    with pytest.raises(RowsError, match="`text_up` must be finite float32"):
        Heads.from_bytes(save(wide, {"strength": "1"}))
    with pytest.raises(RowsError, match="`rows` must have 24 columns"):
        heads.image(rows(3)[:, :8])


class Base:
    identity, dimension, device_name = "ab" * 32, D, "none"

    def encode_images(self, images, *, progress=None):
        del progress
        return rows(len(images))

    encode_texts = encode_images


def test_a_refined_encoder_is_another_and_starts_with_the_directions_of_the_frozen_one():
    start, other = RefinedEncoder(Base(), Heads.start(D, 4, seed=0)), RefinedEncoder(Base(), trained())
    assert len({Base.identity, start.identity, other.identity}) == 3
    assert to_unit_rows(start.encode_images([b""] * 50))[0].tobytes() == to_unit_rows(rows(50))[0].tobytes()
    assert to_unit_rows(other.encode_texts(["a"] * 50))[0].tobytes() != to_unit_rows(rows(50))[0].tobytes()
    narrow = Base()
    narrow.dimension = 8
    with pytest.raises(RowsError, match="encoder of 8 columns"):
        RefinedEncoder(narrow, trained())
