import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from evenly.curation.draws import wilson_interval
from evenly.curation.errors import RuleError


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


@given(yes=st.integers(0, 10**6), more=st.integers(0, 10**6))
def test_the_interval_of_whole_counts_is_scipys(yes, more):
    n = max(yes + more, 1)
    assert wilson_interval(yes / n, n) == pytest.approx(binomtest(yes, n).proportion_ci(method="wilson"), abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [(-0.1, 5), (1.1, 5), (0.5, 0), (float("nan"), 5)])
def test_what_is_no_share_of_trials_is_refused(share, n):
    with pytest.raises(RuleError, match="`share` must be 0 to 1 and `n` above 0"):
        wilson_interval(share, n)
