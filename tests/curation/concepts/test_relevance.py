import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.concepts.relevance import JudgingRule, estimate_relevance, wilson_interval
from evenly.curation.errors import ColumnsError, RuleError


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0), (0.81, 263, 0.7582, 0.8529)],
)
def test_intervals_are_those_of_wilson(share, n, low, high):
    assert wilson_interval(share, n) == pytest.approx((low, high), abs=1e-3)


@given(yes=st.integers(0, 50), more=st.integers(0, 50))
def test_the_ends_of_an_interval_solve_wilsons_equation(yes, more):
    n = yes + more + 1
    share = yes / n
    for end in wilson_interval(share, n):
        assert 0 <= end <= 1
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / n), abs=1e-6)


def test_a_caption_of_several_rows_counts_as_often_but_is_one_judgement():
    plain = estimate_relevance([True, False, True, True], [1, 1, 1, 1])
    assert (plain.share, plain.effective) == (0.75, 4)
    heavy = estimate_relevance([True, False], [9, 1])
    assert heavy.share == pytest.approx(0.9)
    assert heavy.effective == pytest.approx(100 / 82)
    assert heavy.high - heavy.low > plain.high - plain.low
    assert estimate_relevance([], []) is None
    with pytest.raises(ColumnsError, match="`rows` must hold a number of rows"):
        estimate_relevance([True], [0])


def test_judging_stops_by_reals_rule_or_at_the_most():
    rule = JudgingRule()
    assert [rule.is_enough(*counts) for counts in ((999, 999), (1000, 199), (1000, 200), (9999, 3), (10_000, 0))] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert JudgingRule(most=20).is_enough(20, 0)
    with pytest.raises(RuleError, match="`most` must be at least 1; got 0"):
        JudgingRule(most=0)
