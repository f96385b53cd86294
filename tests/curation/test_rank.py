"""Pairs kept by the score of a ranking head."""

import pyarrow as pa
import pytest

from evenly.curation.align import resolve_threshold
from evenly.curation.errors import RuleError
from evenly.curation.rank import Rank, judge_rank


def test_a_score_below_the_threshold_goes_with_its_value_and_reason():
    found = judge_rank(pa.array([3.0, 2.0, None, 2.5]), 2.5)
    assert found.reason.to_pylist() == ["", "low_rank", "not_measured", ""]
    assert found.failed.to_pylist() == [False, False, True, False]
    assert found.value.to_pylist() == [3.0, 2.0, None, 2.5]


def test_a_share_keeps_who_ties_and_a_score_is_in_any_unit():
    scores = pa.array([10.0, 40.0, 30.0, 20.0, 30.0])
    assert resolve_threshold(scores, Rank(keep_top=0.2)) == 30.0
    assert resolve_threshold(scores, Rank(min_score=-7.5)) == -7.5


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "exactly one of"),
        ({"keep_top": 0.5, "min_score": 1.0}, "exactly one of"),
        ({"keep_top": 1.5}, r"`keep_top` must be in \(0, 1\]; got 1.5"),
        ({"min_score": float("nan")}, "`min_score` must be finite; got nan"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule, message):
    with pytest.raises(RuleError, match=message):
        Rank(**rule)
