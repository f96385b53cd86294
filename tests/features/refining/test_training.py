"""Heads are trained alike wherever it is broken off and in whatever order pairs come, and learn what pairs say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evenly.features.errors import RowsError
from evenly.features.refining.objective import Sides
from evenly.features.refining.objectives import OBJECTIVES, SAMPLERS
from evenly.features.refining.objectives.vladva import VladVa
from evenly.features.refining.pairs import PairRows, SharedRows
from evenly.features.refining.training import TrainingRule, train_heads

D = 16
RULE = TrainingRule(rank=8, epochs=4, batch_size=32, learning_rate=3e-3)


def pairs(n=96, seed=0):
    """Pictures whose texts are their columns turned round, so that a low-rank map finds them."""
    random = np.random.default_rng(seed)
    things = random.normal(size=(n, 4)) @ random.normal(size=(4, D))
    turned = things @ np.linalg.qr(random.normal(size=(D, D)))[0]

    def beside(rows, k):
        """Rows like the given ones, up to k of each pair."""
        near = np.repeat(rows, k, axis=0) + 0.2 * random.normal(size=(n * k, *rows.shape[1:]))
        places = np.arange(n * k).reshape(n, k)
        places[1::3] = -1
        places[2::3, 1:] = -1
        return SharedRows(rows=near.astype(np.float32), places=places)

    return PairRows(
        image=(things + 0.05 * random.normal(size=(n, D))).astype(np.float32),
        text=turned.astype(np.float32),
        views=beside(things, 4),
        words=beside(turned, 3),
        second=beside(things @ random.normal(size=(D, 6)), 4),
        texts=beside(turned, 2),
        duplicates=beside(np.stack([things, turned], axis=1), 2),
        synonyms=beside(turned, 2),
        named=beside(turned, 1),
        long_texts=np.array([f"the thing {number % 7} is {number % 5} here" for number in range(n)], np.object_),
        uids=np.array([f"{number:032x}" for number in range(n)]),
        captions=np.array([f"caption {number}" for number in range(n)]),
        groups=np.array([f"group {number // 2}" for number in range(n)]),
        labels=np.array(["" if number % 3 else f"label {number % 5}" for number in range(n)]),
    )


def objective(name):
    return VladVa(first_steps=20) if name == "vladva" else OBJECTIVES[name]()  # a decoder that hardly speaks trains too


def recall(heads, held_out):
    images, texts = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (heads.image(held_out.image), heads.text(held_out.text))
    )
    return ((texts @ images.T).argmax(axis=1) == np.arange(len(images))).mean()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_goes_on_to_the_same_bits_where_it_was_broken_off(name):
    given = pairs()
    whole = list(train_heads(given, objective(name), RULE, seed=5))
    assert [epoch for epoch, _, _ in whole] == [1, 2, 3, 4]
    _, _, state = whole[1]
    rest = list(train_heads(given, objective(name), RULE, seed=5, start=(2, state)))
    assert rest[-1][1].to_bytes() == whole[-1][1].to_bytes()
    assert np.isfinite(whole[-1][1].image_up).all()
    assert whole[-1][1].image_up.any()
    other = list(train_heads(given, objective(name), RULE, seed=6))
    assert other[-1][1].to_bytes() != whole[-1][1].to_bytes()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_learnt_finds_pairs_that_were_held_out(name):
    rule = TrainingRule(rank=8, epochs=30, batch_size=64, learning_rate=1e-2)
    given = pairs(256)
    if name == "clip_refine":  # it holds the frozen softmax, which is at chance on the pairs that the others learn
        given = replace(given, text=(given.image + given.text) / 2)
    if name in {"labelled", "pseudo_labelled"}:  # whose classes are the texts here
        given = replace(given, named=SharedRows(rows=given.text, places=np.arange(256)[:, None]))
    held_out = given.rows(np.arange(192, 256))
    *_, (_, heads, _) = train_heads(given.rows(np.arange(192)), objective(name), rule, seed=1)
    start = next(
        iter(train_heads(given, objective(name), TrainingRule(rank=8, epochs=1, learning_rate=1e-12), seed=1))
    )[1]
    assert recall(heads, held_out) > recall(start, held_out) + 0.05


def test_clip_refine_brings_the_means_of_pictures_and_texts_together():
    given = pairs(256)
    apart = PairRows(**vars(given) | {"text": given.text + 3})
    rule = TrainingRule(rank=8, epochs=30, batch_size=64, learning_rate=1e-2)
    *_, (_, heads, _) = train_heads(apart, OBJECTIVES["clip_refine"](), rule, seed=1)
    gaps = [
        np.linalg.norm(images.mean(axis=0) - texts.mean(axis=0))
        for images, texts in ((apart.image, apart.text), (heads.image(apart.image), heads.text(apart.text)))
    ]
    assert gaps[1] < gaps[0] / 2


def test_the_order_of_pairs_changes_nothing():
    given = pairs()
    turned = given.rows(np.random.default_rng(1).permutation(len(given)))
    trained = [list(train_heads(one, OBJECTIVES["contrastive"](), RULE, seed=5))[-1][1] for one in (given, turned)]
    assert trained[0].to_bytes() == trained[1].to_bytes()


def test_equal_captions_and_pictures_of_one_group_never_count_against_each_other():
    seen = []

    class Looking(OBJECTIVES["contrastive"]):
        def loss(self, batch, now, before):
            seen.append((batch.places, batch.negatives.numpy()))
            return super().loss(batch, now, before)

    given = pairs()
    given.captions[:10] = "the same"
    list(train_heads(given, Looking(), RULE, seed=0))
    for places, negatives in seen:
        same = (given.groups[places][:, None] == given.groups[places]) | (
            given.captions[places][:, None] == given.captions[places]
        )
        assert (negatives == ~same).all()


def test_planted_false_negatives_are_left_out_and_the_hardest_of_the_others_stay():
    own = torch.nn.functional.one_hot(torch.arange(6), 8).float()
    texts = 0.6 * own + 0.8 * torch.nn.functional.one_hot(torch.full((6,), 7), 8).float()
    texts[1] = own[0]  # nearer to picture 0 than its own text: right too, as it seems
    texts[2] = 0.65 * own[0] + 0.75 * texts[2] * 0 + 0.76 * torch.nn.functional.one_hot(torch.tensor(6), 8).float()
    allowed = ~torch.eye(6, dtype=torch.bool)
    left = SAMPLERS["unime"](window=0.1, hardest=2).negatives(allowed, Sides(image=own, text=texts))
    assert not left[0, 1]
    assert left[0, 2]
    assert (left.sum(1) <= 2).all()
    assert not left.diagonal().any()


def test_too_few_pairs_and_a_state_of_other_heads_are_refused():
    with pytest.raises(RowsError, match="`batch_size` must be at most 8"):
        next(train_heads(pairs(8), OBJECTIVES["contrastive"](), RULE, seed=0))
    _, _, state = next(train_heads(pairs(), OBJECTIVES["contrastive"](), RULE, seed=0))
    wider = TrainingRule(rank=9, epochs=4, batch_size=32)
    with pytest.raises(RowsError, match="`state` must be of the same heads"):
        next(train_heads(pairs(), OBJECTIVES["contrastive"](), wider, seed=0, start=(1, state)))
    with pytest.raises(RowsError, match="`captions` must hold one for each pair, 96; got 3"):
        PairRows(**vars(pairs()) | {"captions": np.array(["a", "b", "c"])})
