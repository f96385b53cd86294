import pytest

from evenly.curation.concepts.relevance import JudgingRule, estimate_relevance
from evenly.curation.errors import ColumnsError, RuleError


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
