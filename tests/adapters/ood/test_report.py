import numpy as np
import pytest

from evenly.adapters.evaluation.measures.unseen import ood_report
from evenly.adapters.ood import BASELINES, OOD_SCORES, OODInputs, ood_table

GENERATOR = np.random.default_rng(0)


def inputs(spread: float, **more):
    return OODInputs(logits=GENERATOR.normal(size=(80, 5)) * spread, **more)


ID, NEAR, FAR = inputs(6), inputs(4), inputs(1)


@pytest.fixture(scope="module")
def found():
    return ood_report(ID, {"near": {"a": NEAR}, "far": {"b": FAR}}, seed=0, n=100)


def test_every_score_that_all_sets_allow_has_its_table(found):
    table, _ = found
    assert table["score"].unique().tolist() == ["msp", "max_logit", "energy", "entropy"]
    score = OOD_SCORES["energy"]
    alone = ood_table(score(ID), {"near": {"a": score(NEAR)}, "far": {"b": score(FAR)}}, seed=0, n=100)
    mine = table[table["score"] == "energy"].reset_index(drop=True)
    assert mine[list(alone)].equals(alone)
    assert (table["note"] == "").all()


def test_a_score_left_out_says_which_field_some_set_lacks(found):
    _, skipped = found
    assert set(skipped) == set(OOD_SCORES) - {"msp", "max_logit", "energy", "entropy"}
    assert skipped["cooked_msp"] == "cooked_logits"
    with_log = OODInputs(logits=ID.logits, cooked_logits=np.zeros((80, 1)))
    _, skipped = ood_report(with_log, {"far": {"b": FAR}}, seed=0, n=10)
    assert skipped["cooked_msp"] == "cooked_logits"


def test_a_score_is_compared_to_the_baseline_of_its_own_classifier_on_shared_resamples(found):
    table = found[0].set_index(["score", "kind", "set"])
    assert set(table["classifier"]) == {"adapter"}
    of_msp, of_entropy = table.loc["msp"], table.loc["entropy"]
    assert (of_msp[["auroc_difference", "auroc_difference_low", "auroc_difference_high"]] == 0).all(axis=None)
    np.testing.assert_allclose(of_entropy["auroc_difference"], of_entropy["auroc"] - of_msp["auroc"])
    far = of_entropy.loc["far", "b"]
    paired = far["auroc_difference_high"] - far["auroc_difference_low"]
    alone = [rows.loc["far", "b"]["auroc_high"] - rows.loc["far", "b"]["auroc_low"] for rows in (of_entropy, of_msp)]
    assert far["auroc_difference_low"] <= far["auroc_difference"] <= far["auroc_difference_high"]
    assert paired < np.hypot(*alone)  # as wide as that where each score had resamples of its own


def test_the_baseline_is_there_wherever_a_score_of_its_classifier_is():
    for score in OOD_SCORES.values():
        baseline = OOD_SCORES[BASELINES[score.classifier]]
        assert baseline.classifier == score.classifier
        assert {*baseline.needs} <= {*score.needs}
        assert {*baseline.valid_for} >= {*score.valid_for}


def test_plain_negations_are_labelled_in_the_table(digits):
    features, _ = digits.complete(0, 60)
    known, other = OODInputs.of(features.rows(slice(0, 30))), OODInputs.of(features.rows(slice(30, 60)))
    table, skipped = ood_report(known, {"near": {"a": other}}, seed=0, n=20)
    notes = table.groupby("score")["note"].first()
    assert notes["clipn_atd"] == notes["clipn_ctw"] == "plain-CLIP negations (not the trained CLIPN no-encoder)"
    assert notes["near_miss"] == ""
    assert "msp" in skipped


def test_no_score_at_all_is_an_empty_table():
    table, skipped = ood_report(OODInputs(), {"far": {"b": OODInputs()}}, seed=0)
    assert table.empty
    assert set(skipped) == set(OOD_SCORES)
