"""Class rows by a text tower in training: through the heads of a refined encoder, repeated by seed, refused by name."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.effects import NotMeasurableError
from evenly.adapters.effects.ground import TowerProblem, TowerRule, unit
from evenly.features.encoder import load_encoder
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.refining.mixture import HeadMixture
from evenly.tasks.adapters.tuned_rows import STAGES, tuned_class_rows
from tests import tiny_encoders

CLASSES = ("cat", "fox", "owl", "dog")
LABELS = np.repeat(["cat", "dog", "fox"], 5)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """An encoder whose text tower has two blocks."""
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of random weights
    folder = tiny_encoders.write_clip(tmp_path_factory.mktemp("model"), layers=2)
    return load_encoder(f"local-dir:{folder}", cache="unused", batch_size=4, threads=1)


@pytest.fixture(scope="module")
def refined(frozen):
    """The encoder with heads that turn its texts round: what brings the tower's own rows nearer leads these away."""
    heads, one = Heads.start(frozen.dimension, frozen.dimension, seed=1), np.eye(frozen.dimension, dtype=np.float32)
    return RefinedEncoder(frozen, replace(heads, text_down=one, text_up=-4 * one, strength=0.5))


def problem(tune="singular", *, rate=0.03, seed=1, blocks=2):
    generator, size = np.random.default_rng(2), tiny_encoders.DIMENSION
    rows = {name: generator.normal(size=size) for name in CLASSES}
    image = np.stack([rows[name] + 0.1 * generator.normal(size=size) for name in LABELS])
    rule = TowerRule(tune=tune, blocks=blocks, steps=2 * STAGES, learning_rate=rate)
    names = np.array([f"picture {number}" for number in range(len(LABELS))])
    return TowerProblem(image=unit(image), uids=names, labels=LABELS, classes=CLASSES, rule=rule, seed=seed)


def loss(rows, of):
    """The cross-entropy of the labels among those that occur."""
    places = [CLASSES.index(name) for name in LABELS]
    logits = 100 * of.image @ rows[[0, 1, 3]].T
    own = 100 * (of.image * rows[places]).sum(axis=1)
    return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())


@pytest.mark.parametrize("tune", ["singular", "deep_prompts"])
def test_training_brings_names_nearer_to_their_pictures_and_moves_other_names_too(frozen, refined, tune):
    for encoder in (frozen, refined):
        given = problem(tune)
        stages = list(tuned_class_rows(encoder, given))
        assert len(stages) == STAGES
        start = unit(encoder.encode_texts(CLASSES))
        assert loss(stages[-1], given) < loss(start, given) / 6
        assert not np.allclose(stages[-1][2], start[2], atol=1e-3)  # of which no picture is shown


def test_rows_before_any_step_are_those_of_the_encoder_through_its_heads(frozen, refined):
    for encoder in (frozen, refined):
        rows = next(tuned_class_rows(encoder, problem(rate=1e-9)))
        assert np.allclose(rows, unit(encoder.encode_texts(CLASSES)), atol=2e-3)  # rows are stored in half precision
    assert not np.allclose(unit(frozen.encode_texts(CLASSES)), unit(refined.encode_texts(CLASSES)), atol=0.1)


def test_the_same_seed_gives_the_same_rows_and_another_draws_other_tokens(refined):
    given = problem("deep_prompts")
    first, again, other = (next(tuned_class_rows(refined, one)) for one in (given, given, replace(given, seed=2)))
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other)


def test_a_tower_that_cannot_be_trained_is_not_measured(frozen):
    with pytest.raises(NotMeasurableError, match="`towers` must be at most the transformer blocks of the text tower"):
        next(tuned_class_rows(frozen, problem(blocks=3)))
    experts = HeadMixture(weights={"image_router": np.zeros((frozen.dimension, 1), np.float32)})
    with pytest.raises(NotMeasurableError, match="rows of its texts pass through HeadMixture"):
        next(tuned_class_rows(RefinedEncoder(frozen, experts), problem()))
