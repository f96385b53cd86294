"""Texts of classes that help: which stay, by train and validation rows, and which go, with a reason."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.features import Features, GroupedFeatures
from evenly.adapters.forms.text_choice import GAINS_LESS, NO_GAIN, TOO_FEW, OwnedTexts, choose_texts, text_gains

D, CLASSES = 24, 4


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class World:
    """Classes whose pictures lie around a centre; names lie nowhere near, and texts may be centres or noise."""

    def __init__(self, seed, per_class=30) -> None:
        self.draw = np.random.default_rng(seed)
        self.centres = unit(self.draw.normal(size=(CLASSES, D)))
        self.names = unit(self.draw.normal(size=(CLASSES, D)))
        self.per_class = per_class

    def pictures(self):
        labels = np.repeat(np.arange(CLASSES), self.per_class)
        image = unit(self.centres[labels] + 0.3 * self.draw.normal(size=(len(labels), D)))
        features = Features(image=image, prototypes=self.names, encoder="e" * 64)
        return GroupedFeatures(features=features, labels=labels, groups=np.arange(len(labels)).astype(str))

    def texts(self, telling, noise):
        owners = np.tile(np.arange(CLASSES), telling + noise)
        rows = np.where(
            (np.arange(len(owners)) < telling * CLASSES)[:, None],
            self.centres[owners] + 0.1 * self.draw.normal(size=(len(owners), D)),
            self.draw.normal(size=(len(owners), D)),
        )
        return OwnedTexts(names=self.names, texts=unit(rows), owners=owners)


def test_texts_that_tell_the_classes_stay_and_noise_goes():
    world = World(3)
    owned = world.texts(telling=2, noise=6)
    choice = choose_texts(owned, train=world.pictures(), validation=world.pictures())
    telling = np.arange(len(owned.owners)) < 2 * CLASSES
    reasons = np.array(choice.reasons)
    assert set(reasons[telling]) == {""}
    assert choice.per_class == 2
    assert set(reasons[~telling]) == {GAINS_LESS}
    assert choice.texts > 0.9 > choice.names
    assert choice.difference.low > 0


def test_noise_alone_has_no_gain_on_validation_and_all_of_it_goes():
    world = World(4, per_class=8)
    world.names = world.centres
    choice = choose_texts(world.texts(telling=0, noise=3), train=world.pictures(), validation=world.pictures())
    assert set(choice.reasons) == {NO_GAIN}
    assert choice.per_class == 0
    assert choice.difference.low <= 0


def test_texts_of_fewer_than_half_of_the_classes_are_no_descriptions():
    world = World(5)
    owned = world.texts(telling=2, noise=0)
    few = owned.owners == 0
    owned = replace(owned, texts=owned.texts[few], owners=owned.owners[few])
    assert set(choose_texts(owned, train=world.pictures(), validation=world.pictures()).reasons) == {TOO_FEW}


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_gain_is_the_difference_of_the_mean_log_likelihoods(seed):
    world = World(seed, per_class=4)
    owned, train = world.texts(telling=1, noise=1), world.pictures()
    image, labels = train.features.image.astype(np.float64), train.labels
    cosines = image @ owned.names.T
    gains = text_gains(owned, train, scale=20.0)
    for place, owner in enumerate(owned.owners):
        mixed = cosines.copy()
        mixed[:, owner] = (cosines[:, owner] + image @ owned.texts[place]) / 2
        likelihoods = [
            (20 * scores[np.arange(len(labels)), labels] - np.log(np.exp(20 * scores).sum(axis=1))).mean()
            for scores in (cosines, mixed)
        ]
        assert gains[place] == pytest.approx(likelihoods[1] - likelihoods[0], abs=1e-9)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_of_texts_does_not_choose(seed):
    world = World(seed, per_class=6)
    owned, train, validation = world.texts(telling=1, noise=2), world.pictures(), world.pictures()
    order = world.draw.permutation(len(owned.owners))
    shuffled = replace(owned, texts=owned.texts[order], owners=owned.owners[order])
    first = choose_texts(owned, train=train, validation=validation)
    second = choose_texts(shuffled, train=train, validation=validation)
    assert [first.reasons[place] for place in order] == list(second.reasons)
