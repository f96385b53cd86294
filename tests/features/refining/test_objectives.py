"""What each objective is for shows on planted rows: duplicates find their record, and so on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evenly.features.errors import RowsError
from evenly.features.refining.objective import Batch, Sides, drawn_row
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.pairs import SharedRows
from evenly.features.refining.training import TrainingRule, train_heads
from tests.features.refining.test_training import D, pairs

RULE = TrainingRule(rank=8, epochs=30, batch_size=64, learning_rate=1e-2)


def last(name, given, rule=RULE, **options):
    *_, (_, heads, _) = train_heads(given, OBJECTIVES[name](**options), rule, seed=1)
    return heads


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_one_row_of_each_pair_is_drawn_and_over_time_all_are():
    shared = SharedRows(
        rows=np.arange(5, dtype=np.float32)[:, None], places=np.array([[0, 1, -1], [4, -1, -1], [-1] * 3])
    )
    given = pairs(3)
    seen = [set() for _ in range(3)]
    for seed in range(30):
        batch = Batch(
            places=np.arange(3), pairs=given, negatives=torch.ones(3, 3, dtype=torch.bool), progress=0,
            generator=torch.Generator().manual_seed(seed), refined=lambda sides: sides, texts=lambda rows, _: rows,
        )  # fmt: skip
        rows, has_one = drawn_row(shared, batch)
        assert has_one.tolist() == [True, True, False]
        for place, row in enumerate(rows[:, 0].tolist()):
            seen[place].add(row)
    assert seen == [{0, 1}, {4}, {0}]


def test_shared_rows_go_with_their_pairs():
    given = pairs(12)
    some = given.rows(np.array([3, 5]))
    assert np.array_equal(some.views.padded()[0], given.views.padded()[0][[3, 5]])
    assert some.long_texts.tolist() == given.long_texts[[3, 5]].tolist()
    with pytest.raises(RowsError, match="`words` must hold one for each pair, 12; got 2"):
        replace(given, words=some.words)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if OBJECTIVES[name].needs])
def test_pairs_without_what_an_objective_needs_are_refused(name):
    bare = replace(pairs(), **dict.fromkeys(OBJECTIVES[name].needs))
    with pytest.raises(RowsError, match="`pairs` must have"):
        next(train_heads(bare, OBJECTIVES[name](), RULE, seed=0))


def test_duplicates_find_their_record_better_where_records_are_linked():
    random = np.random.default_rng(3)
    given = pairs(256)
    image, text = given.image, given.text + 2 * random.normal(size=given.text.shape).astype(np.float32)
    noise = 4 * random.normal(size=(256, 2, 4)) @ random.normal(size=(4, D))  # what tells duplicates from their record
    records = (np.stack([image, text], axis=1) + noise).astype(np.float32)
    given = replace(given, text=text, duplicates=SharedRows(rows=records, places=np.arange(256)[:, None]))
    train, test = given.rows(np.arange(192)), given.rows(np.arange(192, 256))

    def share(heads):
        def mixed(images, texts):
            return unit(0.636 * unit(heads.image(images)) + 0.364 * unit(heads.text(texts)))

        of_test = test.duplicates.padded()[0][:, 0]
        near = mixed(of_test[:, 0], of_test[:, 1]) @ mixed(test.image, test.text).T
        return (near.argmax(1) == np.arange(64)).mean()

    assert share(last("clippings", train)) > share(last("contrastive", train)) + 0.05


def test_the_heads_get_no_gradient_through_the_teacher_of_dclip_and_are_drawn_to_it():
    rule = TrainingRule(rank=8, epochs=3, batch_size=32, learning_rate=1e-2)
    alone, drawn = (list(train_heads(pairs(), OBJECTIVES["dclip"](weight=w), rule, seed=1))[-1] for w in (0.0, 1.0))
    assert alone[1].to_bytes() == last("contrastive", pairs(), rule).to_bytes()
    assert drawn[1].to_bytes() != alone[1].to_bytes()
    for name in ("own.key", "own.query", "own.image_up", "own.text_up"):
        assert np.array_equal(drawn[2][name], alone[2][name]), name
        assert drawn[2][f"exp_avg.{name}"].any()


@pytest.mark.slow
def test_the_next_word_is_said_better_from_rows_refined_for_it():
    random = np.random.default_rng(5)
    kinds = random.integers(0, 6, size=(192, 2))
    shown = 0.3 * np.eye(D)[kinds[:, 0]] + 0.3 * np.eye(D)[6 + kinds[:, 1]]
    given = pairs(192)
    given = replace(given, image=(given.image + shown).astype(np.float32), text=(given.text + shown).astype(np.float32))
    given.long_texts[:] = [f"the {'abcdef'[a]}ball is {'uvwxyz'[b]}ish today" for a, b in kinds]
    judge = OBJECTIVES["vladva"]()
    judge.prepare(given, seed=7)

    def loss(heads):
        sides = Sides(image=torch.from_numpy(heads.image(given.image)), text=torch.from_numpy(heads.text(given.text)))
        return float(judge._said(np.arange(192), sides.unit(), torch.Generator().manual_seed(0)))

    assert loss(last("vladva", given, weight=3.0)) < loss(last("contrastive", given)) - 0.02


def test_texts_without_a_word_leave_the_contrastive_loss_alone():
    given = pairs()
    given.long_texts[:] = ""
    rule = TrainingRule(rank=8, epochs=2, batch_size=32)
    assert last("vladva", given, rule).to_bytes() == last("contrastive", given, rule).to_bytes()


def test_a_detail_that_captions_leave_out_and_the_second_backbone_sees_grows_in_rows():
    random = np.random.default_rng(2)
    given = pairs(256)
    detail = random.choice([-1.0, 1.0], size=256)
    direction = unit(random.normal(size=D))
    image = (given.image + 0.5 * detail[:, None] * direction).astype(np.float32)
    seen = np.stack([detail, random.normal(size=256) * 0.1], axis=1).astype(np.float32)
    given = replace(given, image=image, second=SharedRows(rows=seen, places=np.arange(256)[:, None]))
    train, test = given.rows(np.arange(192)), given.rows(np.arange(192, 256))

    def apart(heads):
        """How far two pictures are that differ in the detail alone."""
        other = test.image - detail[192:, None] * direction
        return np.linalg.norm(
            unit(heads.image(test.image)) - unit(heads.image(other.astype(np.float32))), axis=1
        ).mean()

    assert apart(last("un2clip", train)) > 1.2 * apart(last("contrastive", train))


def test_names_that_are_likelier_on_a_picture_are_drawn_more_often():
    shared = SharedRows(rows=np.eye(2, dtype=np.float32), places=np.array([[0, 1]] * 200))
    batch = Batch(
        places=np.arange(200), pairs=pairs(200), negatives=torch.ones(200, 200, dtype=torch.bool), progress=0,
        generator=torch.Generator().manual_seed(1), refined=lambda sides: sides, texts=lambda rows, _: rows,
    )  # fmt: skip
    rows, _ = drawn_row(shared, batch, weights=torch.tensor([[0.9, 0.1]]).repeat(200, 1))
    assert 0.8 < rows[:, 0].mean() < 0.97


def test_pictures_are_told_by_names_that_no_caption_says():
    random = np.random.default_rng(4)
    given = pairs(256)
    kinds = random.integers(0, 6, size=256)
    names = random.normal(size=(6, 2, D)).astype(np.float32)  # two other names of each kind
    image = (given.image + 3 * np.eye(D)[kinds]).astype(np.float32)
    synonyms = SharedRows(rows=names.reshape(12, D), places=2 * kinds[:, None] + np.arange(2))
    given = replace(given, image=image, synonyms=synonyms, labels=np.array([f"kind {kind}" for kind in kinds]))
    train, test = given.rows(np.arange(192)), given.rows(np.arange(192, 256))

    def share(heads):
        near = unit(heads.image(test.image)) @ unit(heads.text(names.reshape(12, D))).T
        return (near.argmax(1) // 2 == kinds[192:]).mean()

    rule = TrainingRule(rank=16, epochs=60, batch_size=64, learning_rate=1e-2)
    assert share(last("gkc", train, rule)) > share(last("contrastive", train, rule)) + 0.2


def test_mcip_takes_other_captions_and_moves_texts_alone_at_last():
    given, rule = pairs(), TrainingRule(rank=8, epochs=10, batch_size=32, learning_rate=1e-2)
    epochs = [heads for _, heads, _ in train_heads(given, OBJECTIVES["mcip"](realigned=0.3), rule, seed=1)]
    assert np.array_equal(epochs[6].image_up, epochs[9].image_up)
    assert not np.array_equal(epochs[5].image_up, epochs[6].image_up)
    assert not np.array_equal(epochs[8].text_up, epochs[9].text_up)
    alone = last("mcip", given, rule, others=0.0)
    assert alone.to_bytes() != epochs[-1].to_bytes()
    bare = replace(given, texts=SharedRows(rows=given.texts.rows, places=np.full((len(given), 1), -1)))
    assert last("mcip", bare, rule).to_bytes() == alone.to_bytes()
