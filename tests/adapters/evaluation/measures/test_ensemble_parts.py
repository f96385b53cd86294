"""Each classifier of an ensemble on its own: the same rows, the same measures, and what its rows may lack."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.evaluation.measures.ensemble_parts import judge_parts
from evenly.adapters.features import GroupedFeatures, unit_rows
from evenly.adapters.methods.cooked import ON_IMAGES, ON_SECOND, Cooked
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.ood.metrics import auroc
from evenly.adapters.ood.scores import entropy


@pytest.fixture
def problem(digits):
    (train, labels), (test, truth) = digits.complete(0, 200), digits.complete(200, 500)
    strange = replace(test, image=unit_rows(np.roll(test.image, 20, axis=1)))
    return train, labels, test, truth, strange


def judged(adapter, test, truth, unseen):
    rows = GroupedFeatures(features=test, labels=truth, groups=np.arange(len(truth)) // 2)
    return judge_parts(adapter, rows, seed=3, unseen=unseen)


def test_parts_have_the_accuracy_and_auroc_of_the_classifiers_they_are(problem):
    train, labels, test, truth, strange = problem
    adapter = Cooked().fit(train, labels)
    table = judged(adapter, test, truth, {"ood": strange})
    rows = table[table["set"] == "ood"].set_index("part")
    assert list(rows.index) == ["zero-shot", "probe on the image features", ON_SECOND, "all"]
    zero_shot = ZeroShot().fit(train, labels)
    assert rows.loc["zero-shot", "accuracy"] == np.mean(zero_shot.predict(test) == truth)
    expected = auroc(entropy(zero_shot.decision_function(test)), entropy(zero_shot.decision_function(strange)))
    assert rows.loc["zero-shot", "auroc"] == pytest.approx(expected, abs=1e-3)
    assert rows.loc["all", "accuracy"] == np.mean(adapter.predict(test) == truth)
    assert (rows["low"] <= rows["accuracy"]).all()
    assert (rows["auroc_low"] <= rows["auroc"]).all()


def test_without_pictures_of_no_class_there_is_a_row_per_part(problem):
    train, labels, test, truth, _ = problem
    table = judged(Cooked().fit(replace(train, second=None, unlabelled_second=None), labels), test, truth, {})
    assert table["part"].tolist() == ["zero-shot", "probe on the image features", ON_IMAGES, "all"]
    assert table["set"].tolist() == [""] * 4
    assert table["auroc"].isna().all()


def test_a_set_that_lacks_the_second_backbone_is_left_out(problem):
    train, labels, test, truth, strange = problem
    table = judged(
        Cooked().fit(train, labels), test, truth, {"near": replace(strange, second=None, unlabelled_second=None)}
    )
    assert table["set"].tolist() == [""] * 4


def test_an_adapter_of_one_classifier_has_no_parts(problem):
    train, labels, test, truth, strange = problem
    assert judged(GDA().fit(train, labels), test, truth, {"ood": strange}).empty
    assert judged(Cooked().fit(train.rows(slice(1)), labels[:1]), test, truth, {"ood": strange}).empty
