"""CLIPN: both losses by the public code, the choice by known classes alone, and scores on what a fit has learned."""

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import softmax

from evenly.adapters.evaluation.measures.unseen import judge_unseen
from evenly.adapters.evaluation.protocols.array_fit import fit_arrays
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.experiment import fit_and_evaluate
from evenly.adapters.evaluation.protocols.further_tables import further_tables
from evenly.adapters.features import GroupedFeatures, LabelledFeatures, unit_rows
from evenly.adapters.labelled import LabelledRows
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.ood.clipn import PLAIN_CLIP, TRAINED, atd_of_rows, ctw_of_rows
from evenly.adapters.own_features.arrays import Parts
from evenly.adapters.prompts.clipn import CLIPN, opposition_loss, yes_no_losses
from evenly.adapters.saved import from_arrays, to_arrays, to_card
from evenly.adapters.search import tune

QUICK = {"steps": 10, "batch_size": 60}


@pytest.fixture(scope="module")
def known(digits):
    """Digits 0 to 7 with their tower and hand-written negations; eights and nines are of no class."""
    features, labels = digits.complete(0, 600)
    few = replace(
        digits.part(0, 600)[0].with_prototypes(features.prototypes[:8]),
        norms=features.norms,
        negation_prototypes=features.negation_prototypes[:8],
        tower=features.tower.of_classes(np.arange(8)),
    )
    return few, labels


@pytest.fixture(scope="module")
def parts(known):
    features, labels = known
    places = np.arange(600)

    def part(start, stop):
        rows = np.flatnonzero((places >= start) & (places < stop) & (labels < 8))
        return GroupedFeatures(features=features.rows(rows), labels=labels[rows], groups=rows)

    unseen = features.rows(np.flatnonzero(labels >= 8))
    return Parts(train=part(0, 200), val=part(200, 400), test=part(400, 600), unseen={"ood": unseen})


def published_losses(image, yes_rows, no_rows, scale=100.0):
    # xmed-lab/CLIPN src/open_clip/loss.py ClipLoss, a45efd0: image i and text i are a pair
    n, eyes = len(image), np.eye(len(image))
    logits = np.stack([scale * image @ yes_rows.T, scale * image @ no_rows.T], axis=-1)
    yes_no = softmax(logits, axis=-1)
    loss_bin = -np.log(eyes * yes_no[:, :, 0] + (1 - eyes) * yes_no[:, :, 1])
    distance = 2 - 2 * (yes_rows * no_rows).sum(axis=-1) + 1e-4
    return (eyes * loss_bin).sum() / n, ((1 - eyes) * loss_bin).sum() / (n**2 - n), (2 - np.sqrt(distance)).mean()


def test_each_loss_is_that_of_the_public_code_where_every_text_has_its_picture():
    generator = np.random.default_rng(3)
    image, yes_rows = (unit_rows(generator.normal(size=(12, 32))).astype(np.float64) for _ in range(2))
    for no_rows in (unit_rows(yes_rows + generator.normal(size=(12, 32))).astype(np.float64), yes_rows):
        yes, no = (torch.from_numpy(100 * image @ rows.T) for rows in (yes_rows, no_rows))
        losses = (
            *yes_no_losses(yes, no, torch.arange(12)),
            opposition_loss(torch.from_numpy(yes_rows), torch.from_numpy(no_rows)),
        )
        np.testing.assert_allclose([float(loss) for loss in losses], published_losses(image, yes_rows, no_rows), 1e-5)


def test_a_denial_far_from_right_still_has_a_finite_loss():
    yes, no = torch.tensor([[-900.0, 900.0]]), torch.tensor([[900.0, -900.0]])
    assert [float(loss) for loss in yes_no_losses(yes, no, torch.tensor([0]))] == [1800.0, 1800.0]


def test_validation_pictures_of_known_classes_choose_and_the_logits_stay_those_of_zero_shot(parts):
    train, validation = (LabelledFeatures(features=p.features, labels=p.labels) for p in (parts.train, parts.val))
    tuned = tune(CLIPN, train=train, validation=validation, fixed=QUICK)
    losses = tuned.curve["yes_no_loss"]
    assert tuned.chosen == {name: tuned.curve[name][losses.idxmin()] for name in ("learning_rate", "stop")}
    assert losses.nunique() > 5
    own = np.eye(8)[validation.labels] == 1
    gap = 100 * validation.features.image.astype(np.float64) @ (train.features.prototypes - tuned.adapter.no_rows()).T
    assert np.logaddexp(0, -gap[own]).mean() + np.logaddexp(0, gap[~own]).mean() == pytest.approx(losses.min())
    assert not tuned.kept_zero_shot
    assert tuned.validation_accuracy == tuned.zero_shot_accuracy
    assert tuned.why.startswith("best of 10 points by yes_no_loss: ")
    zero_shot = ZeroShot().fit(train.features, train.labels)
    judged = parts.test.features
    assert np.array_equal(tuned.adapter.decision_function(judged), zero_shot.decision_function(judged))


def test_a_saved_fit_scores_without_the_tower(parts):
    adapter = CLIPN(**QUICK, stop=0.6).fit(parts.train.features, parts.train.labels)
    card = to_card(adapter)
    read = from_arrays("clipn", to_arrays(adapter), card["parameters"], learned=card["learned"])
    assert np.array_equal(read.no_rows(), adapter.no_rows())
    assert np.array_equal(read.no_rows(), adapter.rows_[3])
    test = replace(parts.test, features=replace(parts.test.features, tower=None))
    unseen = {name: replace(rows, tower=None) for name, rows in parts.unseen.items()}
    zero_shot = ZeroShot().fit(parts.train.features, parts.train.labels)
    table = judge_unseen(read, test, unseen, seed=0)
    learned, written = table[table["note"] == TRAINED], judge_unseen(zero_shot, test, unseen, seed=0)
    assert set(learned["score"]) == {"clipn_ctw", "clipn_atd"}
    assert set(written[written["note"] == PLAIN_CLIP]["score"]) == {"clipn_ctw", "clipn_atd"}
    for name, score in (("clipn_ctw", ctw_of_rows), ("clipn_atd", atd_of_rows)):
        values = [score(rows.image, read.prototypes_, read.no_rows()) for rows in (test.features, unseen["ood"])]
        assert all(((value >= 0) & (value <= 1)).all() for value in values)
        area = (values[1][:, None] < values[0]).mean() + (values[1][:, None] == values[0]).mean() / 2
        assert learned[(learned["score"] == name) & (learned["set"] == "ood")]["auroc"].item() == pytest.approx(area)


def test_fitted_on_arrays_its_scores_stand_beside_msp_and_no_unseen_picture_chooses(parts):
    fit = fit_arrays(parts, "clipn", parameters=QUICK)
    table = fit.unseen[fit.unseen["set"] == "ood"].set_index("score")
    assert table.loc["clipn_atd", "note"] == table.loc["clipn_ctw", "note"] == TRAINED
    assert table.loc["msp", "auroc"] == table.loc["zero_shot_msp", "auroc"]
    others = replace(parts, unseen={"ood": parts.unseen["ood"].rows(slice(0, 9))})
    assert fit_arrays(others, "clipn", parameters=QUICK).tuned.chosen == fit.tuned.chosen


def test_without_support_the_denials_that_were_written_are_scored(parts):
    adapter = CLIPN(**QUICK).fit(parts.train.features.rows([]), parts.train.labels[:0])
    table = judge_unseen(adapter, parts.test, parts.unseen, seed=0)
    assert set(table[table["score"].str.startswith("clipn")]["note"]) == {PLAIN_CLIP}
    no_rows = adapter.no_rows()
    assert set(ctw_of_rows(parts.test.features.image, adapter.prototypes_, no_rows)) == {0.5}
    np.testing.assert_allclose(atd_of_rows(parts.test.features.image, adapter.prototypes_, no_rows), 0.5)


def test_of_a_recipe_the_learned_denials_are_scored_whatever_adapter_is_best(known, parts):
    features, labels = known
    places = np.flatnonzero(labels < 8)
    split = np.array(["train", "val", "test"])[np.minimum(places // 200, 2)]
    rows = LabelledRows(
        pairs=pa.table({}),
        labels=labels[places],
        split=split,
        groups=places.astype(np.str_),
        classes=tuple("01234567"),
        notes=(),
        features=features.rows(places),
        unlabelled=features.rows([]),
        prototypes={"names": features.prototypes},
        unseen={"far": parts.unseen["ood"]},
        unseen_groups={"far": np.arange(len(parts.unseen["ood"])).astype(np.str_)},
    )
    data = EvaluationData(**{name: getattr(rows, name) for name in [item.name for item in fields(EvaluationData)][:-1]})
    evaluation = fit_and_evaluate(data, seed=0, adapters=["linear", "clipn"], settings={"clipn": QUICK})
    assert evaluation.best_on_validation() == ("linear", "none")
    tables = further_tables(rows, evaluation, np.ones(8), seed=0)
    notes = tables["ood"].to_pandas().groupby("score")["note"].first()
    assert notes["clipn_ctw"] == notes["clipn_atd"] == TRAINED
    assert {"clipn_ctw", "clipn_atd", "msp"} <= {*tables["open_set"].to_pandas()["score"]}
