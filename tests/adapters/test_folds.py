from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from evenly.adapters import folds
from evenly.adapters.folds import folds_of, reciprocal_ranks
from evenly.adapters.methods.caps import CapS
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.methods.perceptionclip import PerceptionCLIP
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.search import tune
from tests.adapters.conftest import labelled


def drawn(digits, *, shots, seed, validation_shots=None):
    """Train and validation rows, `shots` of each class, drawn from the first 1,000 digits."""
    features, labels = digits.complete(0, 1000)
    order = np.random.default_rng(seed).permutation(1000)
    of_class = [order[labels[order] == place] for place in range(10)]
    last = shots + (validation_shots or shots)
    parts = [np.concatenate([rows[part] for rows in of_class]) for part in (slice(shots), slice(shots, last))]
    return [labelled(features, labels).rows(rows) for rows in parts]


def test_with_few_labels_train_judges_the_fit_on_validation(digits):
    train, validation = drawn(digits, shots=1, seed=0)
    first, second = folds_of(GDA, train=train, validation=validation, fits={})
    assert np.array_equal(first.train.features.image, train.features.image)
    assert np.array_equal(second.train.features.image, validation.features.image)
    assert np.array_equal(second.judging.features.image, train.features.image)
    assert np.array_equal(second.train.labels, validation.labels)


def test_a_train_row_whose_class_has_no_validation_row_does_not_judge(digits):
    train, validation = drawn(digits, shots=1, seed=0)
    _, second = folds_of(GDA, train=train, validation=validation.rows(validation.labels < 7), fits={})
    assert sorted(second.judging.labels) == list(range(7))


@pytest.mark.parametrize(("shots", "validation_shots"), [(2, 1), (5, 5), (16, 4)])
def test_many_rows_are_judged_as_ever(digits, shots, validation_shots):
    train, validation = drawn(digits, shots=shots, seed=0, validation_shots=validation_shots)
    assert len(folds_of(GDA, train=train, validation=validation, fits={})) == 1


def test_every_row_judges_a_method_that_learns_from_no_label(digits):
    train, validation = drawn(digits, shots=1, seed=0)
    fits = {}
    both = folds_of(PerceptionCLIP, train=train, validation=validation, fits=fits)
    assert [len(fold.judging.labels) for fold in both] == [10, 10]
    assert all(fold.fits is fits for fold in both), "one fit serves both"


def test_validation_that_lacks_what_a_fit_needs_judges_alone(digits):
    train, validation = drawn(digits, shots=1, seed=0)
    plain = validation.with_features(replace(validation.features, captions=None))
    assert len(folds_of(CapS, train=train, validation=validation, fits={})) == 2
    assert len(folds_of(CapS, train=train, validation=plain, fits={})) == 1
    assert len(folds_of(GDA, train=train, validation=plain, fits={})) == 2


def test_reciprocal_ranks_are_those_of_a_sorted_list():
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(4, size=(200, 6)).astype(np.float32), rng.integers(6, size=200)  # many ties
    orders = [sorted(range(6), key=lambda place, row=row: (-row[place], place)) for row in logits]
    total = sum(1 / (1 + order.index(label)) for order, label in zip(orders, labels, strict=True))
    assert reciprocal_ranks(logits, labels) == pytest.approx(total, abs=1e-9)


def test_accuracies_are_of_the_rows_that_judge(digits):
    train, validation = drawn(digits, shots=2, seed=1)
    tuned = tune(GDA, train=train, validation=validation, guard=False)
    (there, here) = (
        GDA(**tuned.chosen).fit(a.features, a.labels).predict(b.features) == b.labels
        for a, b in ((train, validation), (validation, train))
    )
    assert tuned.validation_rows == 40
    assert tuned.best_accuracy == np.concatenate([there, here]).mean() == tuned.curve["validation_accuracy"].max()
    assert np.array_equal(tuned.adapter.support_, [2] * 10), "what is fitted is fitted on train"
    assert tuned.why.endswith("on 40 validation rows (20 of validation, 20 of train)")


def test_of_equal_points_that_of_the_higher_ranks_is_chosen(digits):
    train, validation = drawn(digits, shots=1, seed=3)
    tuned = tune(Tip, train=train, validation=validation, guard=False)
    best = tuned.curve[tuned.curve["validation_accuracy"] == tuned.best_accuracy]
    assert len(best) > 1

    def ranks(point):
        given = {"alpha": point.alpha, "beta": point.beta}
        pairs = ((train, validation), (validation, train))
        fits = ((Tip(**given).fit(a.features, a.labels), b) for a, b in pairs)
        return sum(reciprocal_ranks(fit.decision_function(rows.features), rows.labels) for fit, rows in fits)

    chosen = ranks(best[(best["alpha"] == tuned.chosen["alpha"]) & (best["beta"] == tuned.chosen["beta"])].iloc[0])
    assert chosen >= max(ranks(point) for point in best.iloc[:: max(len(best) // 20, 1)].itertuples())
    assert chosen >= ranks(best.iloc[0])


@pytest.mark.parametrize(("kind", "shots"), [(GDA, 1), (GDA, 2), (GDA, 4), (LinearProbe, 1)])
def test_a_method_that_learns_from_wrong_labels_is_refused(digits, kind, shots):
    for seed in range(3):
        train, validation = drawn(digits, shots=shots, seed=seed)
        wrong = replace(train, labels=(train.labels + 1) % 10)
        assert isinstance(tune(kind, train=wrong, validation=validation).adapter, ZeroShot)


def test_of_thousands_of_points_one_that_gains_by_chance_from_wrong_labels_does_no_harm(digits):
    rest, truth = digits.complete(1000, 1700)
    train, validation = drawn(digits, shots=2, seed=2)
    tuned = tune(Tip, train=replace(train, labels=(train.labels + 1) % 10), validation=validation)
    zero_shot = ZeroShot().fit(train.features, train.labels)
    kept, plain = (np.mean(adapter.predict(rest) == truth) for adapter in (tuned.adapter, zero_shot))
    assert not tuned.kept_zero_shot
    assert kept > plain - 0.01


@dataclass(kw_only=True, eq=False)
class RightOnTrain(ZeroShot):
    """Right on every one of 10 train rows, on half of validation."""

    learns_from: ClassVar[tuple[str, ...]] = ("support",)

    def correct_counts(self, features, labels, points, **_):  # noqa: ARG002 - the contract names them
        return np.full(len(points), len(labels) if len(labels) == 10 else len(labels) // 2)


def test_a_gain_on_train_that_validation_denies_is_none(digits):
    train, validation = drawn(digits, shots=1, seed=0, validation_shots=2)
    tuned = tune(RightOnTrain, train=replace(train, labels=(train.labels + 1) % 10), validation=validation)
    assert tuned.best_accuracy > tuned.zero_shot_accuracy
    assert tuned.kept_zero_shot
    assert tuned.why.endswith("(20 of validation, 10 of train), but below it on validation alone")


def test_a_gain_at_one_shot_is_kept_more_often_than_by_validation_alone(digits, monkeypatch):
    rest, truth = digits.complete(1000, 1700)
    draws = [drawn(digits, shots=1, seed=seed) for seed in range(20)]
    both = [tune(GDA, train=train, validation=validation) for train, validation in draws]
    monkeypatch.setattr(folds, "FEW_PER_CLASS", 0)
    alone = [tune(GDA, train=train, validation=validation) for train, validation in draws]
    assert sum(tuned.kept_zero_shot for tuned in both) < sum(tuned.kept_zero_shot for tuned in alone)
    means = [np.mean([np.mean(tuned.adapter.predict(rest) == truth) for tuned in some]) for some in (both, alone)]
    assert means[0] > means[1]
