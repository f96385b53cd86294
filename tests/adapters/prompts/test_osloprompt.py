"""OSLoPrompt: near misses by name or row, what their logits reject, and what is read of texts of the classes."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.rejection import judge_rejection
from evenly.adapters.features import GroupedFeatures
from evenly.adapters.ood.near_miss import near_miss
from evenly.adapters.ood.scores import energy, msp
from evenly.adapters.prompts.osloprompt import OSLoPrompt

NEAR = ("seven with a bar", "letter o")


@pytest.fixture(scope="module")
def support(digits):
    features, labels = digits.complete(0, 200)
    return replace(features, rejection_names=NEAR), labels


@pytest.fixture(scope="module")
def adapter(support):
    return OSLoPrompt(learning_rate=0.02).fit(*support)


def test_near_misses_shift_each_row_and_leave_the_classes_as_they_are(adapter, digits):
    query, labels = digits.complete(200, 700)
    logits = adapter.decision_function(query)
    cosines = 100 * query.image.astype(float) @ adapter.class_rows().T
    np.testing.assert_allclose(msp(logits), msp(cosines), rtol=1e-4)
    mass = near_miss(query.image, adapter.class_rows(), adapter.near_rows())
    np.testing.assert_allclose(1 / (1 + np.exp(-energy(logits))), mass, atol=1e-5)
    start = adapter.set_params(stop=0.0).predict(query)
    assert np.mean(adapter.set_params(stop=1.0).predict(query) == labels) > np.mean(start == labels) + 0.05


def test_names_go_through_the_tower_and_rows_stay_as_they_are(support):
    features, labels = support
    features.tower.calls.clear()
    by_name = OSLoPrompt(steps=5).fit(features, labels)
    assert set(features.tower.calls) == {12, 16 * 2}
    assert not np.array_equal(by_name.rows_[0, 10:], by_name.rows_[-1, 10:])
    by_row = OSLoPrompt(steps=5).fit(replace(features, rejection_names=()), labels)
    assert np.array_equal(by_row.near_rows(), features.rejection_prototypes)
    alone = OSLoPrompt(steps=5).fit(replace(features, rejection_names=(), rejection_prototypes=None), labels)
    assert [by_name.fallback_, by_row.fallback_] == ["", ""]
    assert alone.fallback_ == "no names or rows of near misses: nothing competes with the classes"
    assert alone.affine_form() is not None
    assert by_row.affine_form() is None


def test_another_name_is_another_training_and_class_texts_are_read(support):
    features, labels = support
    first = OSLoPrompt(steps=5, logit_scale=10).fit(features, labels)
    for changed in (
        {"rejection_names": ("letter o", "letter l")},
        {"class_texts": features.class_texts[::-1].copy()},
    ):
        again = OSLoPrompt(steps=5, logit_scale=10).fit(replace(features, **changed), labels)
        assert not np.array_equal(again.contexts_, first.contexts_)


def test_validation_chooses_the_threshold_of_its_energy(adapter, digits):
    parts = {}
    for name, start in (("validation", 200), ("test", 400)):
        features, labels = digits.complete(start, start + 200)
        parts[name] = GroupedFeatures(features=features, labels=labels, groups=np.arange(200))
    strange = digits.complete(600, 800)[0]
    strange = replace(strange, image=np.ascontiguousarray(strange.image[:, ::-1]))
    table = judge_rejection(adapter, parts["validation"], parts["test"], {"ood": strange}, seed=0)
    row = table[(table["score"] == "energy") & (table["set"] == "ood")].iloc[0]
    right = adapter.predict(parts["test"].features) == parts["test"].labels
    accepted = energy(adapter.decision_function(parts["test"].features)) >= row["threshold"]
    assert row["closed"] == pytest.approx(np.mean(right & accepted))
    assert row["h"] == pytest.approx(2 * row["closed"] * row["opened"] / (row["closed"] + row["opened"]))


def test_what_does_not_fit_is_refused(support):
    with pytest.raises(ParameterError, match="`style_weight` must be a finite number of at least 0; got -1"):
        OSLoPrompt(style_weight=-1).fit(*support)
