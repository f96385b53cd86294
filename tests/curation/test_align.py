import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.align import Align, judge_alignment, resolve_threshold
from evenly.curation.errors import RuleError

SCORES = pa.array([0.1, 0.9, 0.5, 0.7, 0.3, 0.2, 0.8, 0.6, 0.4, 0.0])


def judged(scores, **rule):
    return judge_alignment(scores, resolve_threshold(scores, Align(**rule)))


@pytest.mark.parametrize(("share", "threshold", "kept"), [(0.3, 0.6, 4), (0.29, 0.7, 3), (0.01, 0.9, 1), (1, 0.0, 10)])
def test_threshold_stands_where_datacomp_puts_it(share, threshold, kept):
    assert resolve_threshold(SCORES, Align(keep_top=share)) == threshold
    assert judged(SCORES, keep_top=share).kept.to_pylist().count(True) == kept


def test_ties_with_the_threshold_stay():
    decisions = judged(pa.array([0.5, 0.5, 0.5, 0.1]), keep_top=0.25)
    assert decisions.reason.to_pylist() == ["", "", "", "low_score"]
    assert decisions.value.to_pylist() == [0.5, 0.5, 0.5, 0.1]


def test_a_fixed_score_is_the_threshold():
    assert judged(SCORES, min_score=0.8).kept.to_pylist().count(True) == 2


def test_a_pair_without_score_fails_and_does_not_count():
    decisions = judged(pa.array([0.5, None, 0.1]), keep_top=0.5)
    assert decisions.verdict.to_pylist() == ["kept", "failed", "kept"]
    assert decisions.reason.to_pylist()[1] == "not_measured"


def test_no_scores_keep_nothing_and_fail_nothing():
    assert len(judged(pa.array([], pa.float64()), keep_top=0.3)) == 0


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=30), st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_at_least_the_share_stays_whatever_the_order(values, share, chance):
    scores = [value / 20 for value in values]
    mixed = list(scores)
    chance.shuffle(mixed)
    rule = Align(keep_top=share)
    assert resolve_threshold(pa.array(scores), rule) == resolve_threshold(pa.array(mixed), rule)
    assert judged(pa.array(scores), keep_top=share).kept.to_pylist().count(True) >= int(len(scores) * share)


@pytest.mark.parametrize("rule", [{}, {"keep_top": 0.3, "min_score": 0.2}, {"keep_top": 0}, {"keep_top": 1.1}])
def test_impossible_rule_is_refused(rule):
    with pytest.raises(RuleError, match="must"):
        Align(**rule)


def test_a_score_that_is_no_cosine_is_refused():
    with pytest.raises(RuleError, match="got 28"):
        Align(min_score=28)
