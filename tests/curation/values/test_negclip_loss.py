"""negCLIPLoss against its equation, written out pair by pair, and the draws of its batches."""

import math

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.negclip_loss import NegCLIPLoss, draw_batches, negclip_values
from evenly.features import to_unit_rows


def unit(n, *, seed, d=16):
    return to_unit_rows(np.random.default_rng(seed).normal(size=(n, d)))[0]


def by_the_equation(images, texts, temperature):
    """tau * -l(x) = tau / 2 (log p(text | image) + log p(image | text)), each a softmax over the batch."""
    images, texts = (rows.astype(np.float64) for rows in (images, texts))
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    values = []
    for i in range(len(images)):
        own = math.exp(images[i] @ texts[i] / temperature)
        of_texts, of_images = (np.exp(one / temperature).sum() for one in (texts @ images[i], images @ texts[i]))
        values.append(temperature / 2 * (math.log(own / of_texts) + math.log(own / of_images)))
    return values


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
@pytest.mark.parametrize("n", [1, 2, 40, 1500])
def test_a_value_is_what_the_equation_gives(n, temperature):
    images, texts = unit(n, seed=1), unit(n, seed=2)
    assert np.allclose(
        negclip_values(images, texts, temperature), by_the_equation(images, texts, temperature), atol=2e-6
    )


def at(*degrees):
    """Unit rows in the plane."""
    return np.column_stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def test_three_pairs_in_the_plane_have_these_values():
    """As the authors' code gives them."""
    values = negclip_values(at(0, 30, 90), at(10, 20, 80), 0.1)
    assert values == pytest.approx([-0.0492984, -0.0503186, -0.0017193], abs=2e-7)


def test_a_value_is_finite_where_pictures_and_captions_are_alike():
    """The authors' code gives minus infinity: exp(100) is more than single precision holds."""
    assert negclip_values(np.eye(4), np.eye(4), 0.01).tolist() == [0.0] * 4


def test_a_caption_that_fits_every_picture_is_worth_less_than_one_that_fits_its_own():
    images = np.eye(4, dtype=np.float16)
    texts = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]], np.float16)
    values = negclip_values(images, texts, 0.1)
    assert values.argmin() == 3
    assert np.allclose(values, by_the_equation(images, texts, 0.1), atol=1e-6)


def test_batches_are_of_about_one_size_and_hang_on_the_uid_alone():
    rule, uids = NegCLIPLoss(batch=1000), pa.array([f"{n:032x}" for n in range(10_000)])
    assert (rule.batches(10_000), rule.rounds_of(10_000), rule.rounds_of(1400)) == (10, 10, 1)
    drawn = draw_batches(uids, 10, seed=3, round_number=0)
    assert np.abs(np.bincount(drawn, minlength=10) - 1000).max() < 150
    assert np.array_equal(drawn[::-1][:50], draw_batches(uids[::-1], 10, seed=3, round_number=0)[:50])
    for other in ({"seed": 4, "round_number": 0}, {"seed": 3, "round_number": 1}):
        assert 800 < (drawn == draw_batches(uids, 10, **other)).sum() < 1200


@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"batch": 1}, {"rounds": 0}])
def test_a_rule_that_cannot_be_is_refused(fields):
    with pytest.raises(RuleError, match=f"`{next(iter(fields))}` must be"):
        NegCLIPLoss(**fields)
