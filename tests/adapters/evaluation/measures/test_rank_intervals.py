import numpy as np
import pytest
from scipy.stats import spearmanr

from evenly.adapters.evaluation.measures.rank_measures import judge_order

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.integers(0, 9, 60).astype(np.float64)
SCORES = VALUES + RANDOM.normal(size=60)
BEFORE = VALUES + RANDOM.normal(size=60) * 6
ALONE = np.arange(60)


def judged(**changes):
    given = {"groups": ALONE, "text_scores": BEFORE, "seed": 1, "n": 200} | changes
    return judge_order(given.pop("scores", SCORES), VALUES, **given)


def test_estimates_are_those_of_all_rows_and_lie_in_their_intervals():
    found = judged()
    assert found["spearman"] == pytest.approx(spearmanr(SCORES, VALUES).statistic)
    assert found["difference"] == pytest.approx(found["spearman"] - spearmanr(BEFORE, VALUES).statistic)
    for name in ("spearman", "kendall", "pairwise_accuracy", "difference"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert (found["n"], found["groups"]) == (60, 60)


def test_resamples_match_a_plain_loop_over_rows():
    generator = np.random.default_rng(1)
    drawn = np.concatenate([generator.integers(60, size=(100, 60)) for _ in range(2)])
    replicates = [spearmanr(SCORES[rows], VALUES[rows]).statistic for rows in drawn]
    assert judged()["spearman_low"] == pytest.approx(np.quantile(replicates, 0.025))


def test_the_same_scores_differ_by_nothing():
    found = judged(text_scores=SCORES)
    assert found["difference"] == found["difference_low"] == found["difference_high"] == 0


def test_groups_widen_the_interval_and_one_group_allows_none():
    few = judged(groups=ALONE // 10)
    assert few["groups"] == 6
    assert np.isnan(judged(groups=np.zeros(60))["spearman_low"])


def test_scores_that_order_nothing_have_no_correlation():
    found = judged(scores=np.zeros(60))
    assert np.isnan(found["spearman"])
    assert found["pairwise_accuracy"] == 0.5
