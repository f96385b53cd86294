import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import percentile_interval
from evenly.adapters.ood.metrics import RankedScores, aupr, auroc, fpr95

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60)  # few values: many ties
many_scores = st.lists(st.integers(-40, 40).map(float), min_size=20, max_size=60)


def auroc_interval(scores_id, scores_ood, *, seed, groups_id=None, groups_ood=None, n=2000):
    ranked = RankedScores(scores_id, scores_ood)
    areas, _ = ranked.replicates(groups_id, groups_ood, seed=seed, name="", n=n)
    return percentile_interval(ranked.measures()[0], areas)


def truth_and_scores(scores_id, scores_ood):
    return np.r_[np.zeros(len(scores_id)), np.ones(len(scores_ood))], -np.r_[scores_id, scores_ood]


@settings(deadline=None)
@given(scores, scores)
def test_auroc_and_aupr_equal_scikit_learns_with_ood_positive_ties_and_all(scores_id, scores_ood):
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, out = truth_and_scores(scores_id, scores_ood)
    assert auroc(scores_id, scores_ood) == pytest.approx(roc_auc_score(truth, out), abs=1e-12)
    assert aupr(scores_id, scores_ood) == pytest.approx(average_precision_score(truth, out), abs=1e-12)


def published_fpr95(scores_id, scores_ood):
    """The public code of out-of-distribution work (`fpr_and_fdr_at_recall`), transcribed; recalls as exact fractions.

    Distinct scores of all rows, down to the first with full recall, from the lowest up: the first nearest to 0.95.
    """
    values, points = sorted({*scores_id, *scores_ood}, reverse=True), []
    for value in values:
        kept, passed = (sum(score >= value for score in side) for side in (scores_id, scores_ood))
        points.append((Fraction(kept, len(scores_id)), passed))
        if kept == len(scores_id):
            break
    distances = [abs(recall - Fraction(19, 20)) for recall, _ in reversed(points)]
    return points[::-1][distances.index(min(distances))][1] / len(scores_ood)


@settings(deadline=None)
@given(st.one_of(scores, many_scores), st.one_of(scores, many_scores))
def test_fpr95_equals_the_published_code_ties_and_all(scores_id, scores_ood):
    assert fpr95(scores_id, scores_ood) == pytest.approx(published_fpr95(scores_id, scores_ood), abs=1e-12)


def test_fpr95_of_equal_recalls_is_that_of_the_lowest_threshold_and_never_flatters():
    twenty = np.arange(20.0)
    assert fpr95(twenty, [0.0, 0.5, 0.7, 5.0]) == pytest.approx(3 / 4), "0.5 keeps the same 19 ID rows as 1 does"
    assert fpr95([1.0, 2.0], [0.5, 1.5]) == pytest.approx(1 / 2), "full recall ends at the lowest ID row"
    generator = np.random.default_rng(0)
    for n in (37, 65, 120, 500):
        scores_id, scores_ood = generator.normal(1, 1, n), generator.normal(0, 1, 90)
        assert fpr95(scores_id, scores_ood) == published_fpr95(scores_id.tolist(), scores_ood.tolist())


def test_known_cases():
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([0, 1], [2, 3]) == 0
    assert auroc([1, 1, 1], [1, 1]) == 0.5
    assert fpr95([1, 1, 1], [1, 0]) == 0.5
    assert fpr95([2, 3], [0, 1]) == 0
    twenty = np.arange(20.0)
    assert fpr95(twenty, [0.0, 1.0, 5.0]) == pytest.approx(2 / 3), "19 of 20 ID rows score 1 or more"
    ten = np.arange(10.0)
    assert fpr95(ten, [0.5, 1.0]) == 1, "recalls 0.9 and 1 are equally near: the higher one"


def test_no_rows_give_nan():
    for measure in (auroc, fpr95, aupr):
        assert np.isnan(measure([], [1.0]))
        assert np.isnan(measure([1.0], []))


def test_scores_with_nan_are_refused():
    with pytest.raises(InvalidFeaturesError, match="`scores_ood` must hold no NaN; got one at row 1"):
        auroc([1.0], [0.0, np.nan])
    with pytest.raises(InvalidFeaturesError, match=r"`scores_id` must have shape \(n,\)"):
        aupr(np.zeros((2, 2)), [0.0])


@settings(deadline=None, max_examples=30)
@given(st.one_of(scores, many_scores), st.one_of(scores, many_scores), st.randoms(use_true_random=False))
def test_a_weight_is_that_many_copies_of_a_row(scores_id, scores_ood, random):
    repeats = [[random.randint(0, 3) for _ in side] for side in (scores_id, scores_ood)]
    repeats[0][0] = repeats[1][0] = 2
    weights = [np.array([side], dtype=float) for side in repeats]
    area, share = RankedScores(scores_id, scores_ood).weighted(*weights)
    copies = np.repeat(scores_id, repeats[0]), np.repeat(scores_ood, repeats[1])
    assert area[0] == pytest.approx(auroc(*copies), abs=1e-12)
    assert share[0] == pytest.approx(fpr95(*copies), abs=1e-12)


def test_interval_is_near_the_normal_one_and_seeded():
    generator = np.random.default_rng(0)
    scores_id, scores_ood = generator.normal(1, 1, 300), generator.normal(0, 1, 300)
    found = auroc_interval(scores_id, scores_ood, seed=0)
    area = auroc(scores_id, scores_ood)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)  # Hanley and McNeil 1982
    spread = np.sqrt((area * (1 - area) + 299 * (first - area**2) + 299 * (second - area**2)) / 300**2)
    assert found.estimate == area
    assert found.low == pytest.approx(area - 1.96 * spread, abs=0.01)
    assert found.high == pytest.approx(area + 1.96 * spread, abs=0.01)
    assert auroc_interval(scores_id, scores_ood, seed=0) == found
    assert auroc_interval(scores_id, scores_ood, seed=1) != found


def test_rows_of_one_group_count_as_one():
    generator = np.random.default_rng(0)
    scores_id, scores_ood = generator.normal(1, 1, 100), generator.normal(0, 1, 80)
    once = auroc_interval(scores_id, scores_ood, seed=0)
    copies = [np.repeat(side, 4) for side in (scores_id, scores_ood)]
    groups = [np.repeat(np.arange(len(side)), 4) for side in (scores_id, scores_ood)]
    np.testing.assert_allclose(auroc_interval(*copies, groups_id=groups[0], groups_ood=groups[1], seed=0), once)
    naive = auroc_interval(*copies, seed=0)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_one_group_gives_no_interval():
    found = auroc_interval([1.0, 2], [0.0, 1], groups_ood=["a", "a"], seed=0)
    assert found.estimate == 0.875
    assert np.isnan([found.low, found.high]).all()


def test_2000_resamples_of_1000_rows_take_under_2_seconds():
    generator = np.random.default_rng(0)
    start = time.process_time()
    auroc_interval(generator.normal(1, 1, 500), generator.normal(0, 1, 500), seed=0)
    assert time.process_time() - start < 2
