"""Scores of pictures of no class, on digits with prototypes of 0 to 7: eights and nines are near."""

import numpy as np
import pytest

from evenly.adapters.evaluation.measures.unseen import judge_unseen
from evenly.adapters.features import Features, GroupedFeatures
from evenly.adapters.methods.zero_shot import ZeroShot

ENDS = ["auroc", "auroc_low", "auroc_high", "fpr95", "fpr95_low", "fpr95_high"]


@pytest.fixture(scope="module")
def judged(digits):
    features, labels = digits.part(0, 600)
    few = Features(image=features.image, prototypes=features.prototypes[:8])
    adapter = ZeroShot().fit(few.rows([]), labels[:0])
    test, near = np.flatnonzero(labels < 8), np.flatnonzero(labels >= 8)

    def judge(times: int, groups: np.ndarray | None):
        unseen = {"near": few.rows(np.repeat(near, times))}
        given = {} if groups is None else {"unseen_groups": {"near": np.repeat(groups[: len(near)], times)}}
        rows = GroupedFeatures(features=few.rows(test), labels=labels[test], groups=np.arange(len(test)))
        return judge_unseen(adapter, rows, unseen, seed=0, **given)

    return judge


def test_pictures_of_one_group_count_as_one(judged):
    once, fourfold = judged(1, None), judged(4, np.arange(600))
    np.testing.assert_allclose(once[ENDS].to_numpy(float), fourfold[ENDS].to_numpy(float))
    naive = judged(4, None)
    told = once["skipped"] == ""
    widths = [(table["auroc_high"] - table["auroc_low"])[told] for table in (once, naive)]
    assert (widths[1] < widths[0]).all()


def test_scores_that_lack_fields_say_which_after_the_others(judged):
    table = judged(1, None)
    lacking = table[table["skipped"] != ""].set_index("score")["skipped"]
    assert lacking["clipn_ctw"] == "negation_prototypes"
    assert lacking["near_miss"] == "rejection_prototypes"
    assert lacking["cooked_msp"] == "cooked_logits"
    assert table["skipped"].ne("").is_monotonic_increasing


def test_no_set_no_table(digits):
    features, labels = digits.part(0, 50)
    adapter = ZeroShot().fit(features, labels)
    rows = GroupedFeatures(features=features, labels=labels, groups=labels)
    assert judge_unseen(adapter, rows, {}, seed=0).empty
