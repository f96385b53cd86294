import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.thresholds import (
    UNIT,
    BalanceRule,
    choose_thresholds,
    entry_probabilities,
    expected_units,
    tail_share,
    threshold_for_tail,
)
from evenly.curation.errors import RuleError

GOLDEN = np.array([1, 2, 3, 5, 8, 13, 100, 1000], dtype=np.float64)  # MetaCLIP 2's t_to_p and p_to_t, run on these


def pool(n=4000, n_entries=30, seed=1, language=None):
    """Pairs that match 1 to 4 entries, entry e with a frequency of about 1 / (e + 1)."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_entries + 1)
    sizes = rng.integers(1, 5, n)
    rows = [sorted(set(rng.choice(n_entries, size, p=weights / weights.sum()).tolist())) for size in sizes]
    uids, concepts = [f"{i:032x}" for i in range(n)], [f"entry {e}" for e in range(n_entries)]
    return MatchedPairs.of(uids, pa.array(rows, pa.list_(pa.int32())), concepts, language=language)


def per_language(*counts):
    """Pairs that match one entry each, as many as the counts of each language say."""
    rows, languages = [], []
    for name, row in counts:
        for entry, count in enumerate(row):
            rows += [[entry]] * int(count)
            languages += [name] * int(count)
    uids, concepts = (
        [f"{i:032x}" for i in range(len(rows))],
        [str(e) for e in range(max(len(row) for _, row in counts))],
    )
    return MatchedPairs.of(
        uids, pa.array(rows, pa.list_(pa.int32())), concepts, language=pa.array(languages, pa.string())
    )


def thresholds(rule, pairs):
    return dict(zip(pairs.languages, choose_thresholds(rule, pairs, count_matches(pairs)).tolist(), strict=True))


@pytest.mark.parametrize(("t", "share"), [(10, 0.0167845), (100, 0.0282686), (2000, 1.0)])
def test_tail_share_has_the_golden_values_of_metaclip2(t, share):
    assert tail_share(GOLDEN, t) == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize(("t", "back"), [(10, 8), (100, 13), (2000, 1000)])
def test_the_way_back_from_a_tail_share_has_the_golden_values_of_metaclip2(t, back):
    assert threshold_for_tail(GOLDEN, tail_share(GOLDEN, t)) == back


def test_entry_probabilities_have_the_golden_values_of_metaclip2():
    golden = [1, 1, 1, 1, 1, 0.7692, 0.1, 0.01]
    assert entry_probabilities(GOLDEN, 10).round(4).tolist() == golden
    both = entry_probabilities(np.stack([GOLDEN, GOLDEN]), np.array([10, math.inf]))
    assert both.round(4).tolist() == [golden, [1] * 8]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.floats(0, 1))
@example([3, 1], 0.625)  # as near to 1 of 4 as to 4 of 4: the smaller count
def test_a_tail_share_gives_the_count_nearest_in_cumulative_share(counts, share):
    values = np.array(counts, dtype=np.float64)
    ordered = np.sort(values[values > 0])
    if not len(ordered):
        assert threshold_for_tail(values, share) == 1
        return
    portions = np.cumsum(ordered) / ordered.sum()
    assert threshold_for_tail(values, share) == ordered[np.abs(portions - share).argmin()]


def test_entries_without_pairs_and_an_endless_threshold_divide_by_nothing():
    none = np.zeros(3)
    assert entry_probabilities(none, 5).tolist() == [1, 1, 1]
    assert tail_share(none, 5) == 0
    assert threshold_for_tail(none, 0.06) == 1
    assert entry_probabilities(GOLDEN, math.inf).tolist() == [1] * 8


def test_the_head_of_400m_holds_what_was_published():
    """MetaCLIP's arithmetic: 16k of 500k entries are head, 320M of 5.67B matches are tail, 640M are expected to stay.

    The sum over entries counts a pair once per entry: 400M pairs stayed, so it is 1.6 times too large.
    """
    t, head, tail = 20_000, np.full(16_000, 5.35e9 / 16_000), np.full(484_000, 320e6 / 484_000)
    counts = np.concatenate([head, tail])
    assert (counts >= t).sum() == 16_000
    assert tail_share(counts, t) == pytest.approx(0.0564, abs=5e-5)
    of_entries = np.minimum(counts, t).sum()
    assert of_entries == pytest.approx(640e6)
    assert of_entries / 400e6 == pytest.approx(1.6)


@pytest.mark.parametrize("t", [3, 40, 400])
def test_the_sum_over_entries_is_an_upper_bound_of_the_pairs_that_stay(t):
    pairs = pool()
    counts = count_matches(pairs)
    expected = expected_units(pairs, entry_probabilities(counts, np.array([t]))).sum() * UNIT
    assert expected <= np.minimum(counts, t).sum()
    alone = pool(400, n_entries=1)
    counts = count_matches(alone)
    once = expected_units(alone, entry_probabilities(counts, np.array([t]))).sum() * UNIT
    assert once == pytest.approx(np.minimum(counts, t).sum(), abs=400 * UNIT)


def test_every_language_has_the_tail_share_of_the_reference():
    english, german = [1, 2, 3, 5, 8, 13, 100], [2, 4, 6, 10, 16, 26, 200]
    pairs = per_language(("en", english), ("de", german), ("xx", [7]))
    share = tail_share(np.array(english, dtype=np.float64), 10)
    found = thresholds(BalanceRule(t=10, language="language"), pairs)
    assert found == {"en": 10, "de": threshold_for_tail(np.array(german, dtype=np.float64), share), "xx": 7}
    assert found["de"] == 16
    other = thresholds(BalanceRule(t=10, language="language", reference="de"), pairs)
    assert (other["de"], other["en"]) == (10, 3)


def test_a_tail_share_holds_in_every_language_without_a_reference():
    pairs = per_language(("fr", [1, 9, 90]), ("de", [10, 10, 80]))
    assert thresholds(BalanceRule(tail_share=0.1, language="language"), pairs) == {"fr": 9, "de": 10}


def test_a_reference_that_no_pair_is_in_is_refused():
    pairs = per_language(("fr", [1]), (None, [2]))
    with pytest.raises(
        RuleError, match="`reference` must be a language of the pairs; got 'en', and they are in none, fr"
    ):
        thresholds(BalanceRule(t=10, language="language"), pairs)


@pytest.mark.parametrize("target", [50, 700, 2500])
def test_a_target_is_met_in_expectation(target):
    pairs = pool()
    counts = count_matches(pairs)
    t = choose_thresholds(BalanceRule(target=target), pairs, counts)
    assert expected_units(pairs, entry_probabilities(counts, t)).sum() * UNIT == pytest.approx(target, abs=1e-5)


def test_a_target_over_languages_is_reached_by_the_smallest_step():
    rng = np.random.default_rng(4)
    pairs = pool(2000, language=pa.array(rng.choice(["en", "de", "fr"], 2000)))
    counts, rule = count_matches(pairs), BalanceRule(target=600, language="language")
    found = choose_thresholds(rule, pairs, counts)
    english = float(found[pairs.languages.index("en")])

    def expected(t):
        at = choose_thresholds(BalanceRule(t=t, language="language"), pairs, counts)
        return expected_units(pairs, entry_probabilities(counts, at)).sum() * UNIT

    assert expected(english) >= 600 > expected(english * (1 - 1e-9))


def test_a_target_above_all_pairs_keeps_every_pair_with_an_entry():
    pairs = pool(100)
    counts = count_matches(pairs)
    assert choose_thresholds(BalanceRule(target=1000), pairs, counts).tolist() == [counts.max()]


def test_no_matches_leave_a_target_nothing_to_choose():
    pairs = MatchedPairs.of(["a", "b"], pa.array([[], None], pa.list_(pa.int32())), ["dog"])
    assert choose_thresholds(BalanceRule(target=1), pairs, count_matches(pairs)).tolist() == [1]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 300), max_size=4), st.floats(0.5, 200), st.randoms(use_true_random=False))
def test_expected_pairs_of_shards_add_up_to_the_bit_in_any_order(cuts, t, chance):
    pairs = pool(300)
    probabilities = entry_probabilities(count_matches(pairs), np.array([t]))
    bounds = sorted({0, 300, *cuts})
    shards = list(itertools.pairwise(bounds))
    chance.shuffle(shards)
    parts = [expected_units(pairs.part(start, stop), probabilities)[0] for start, stop in shards]
    assert sum(parts) == expected_units(pairs, probabilities)[0]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "exactly one of t, tail_share, target; got none"),
        ({"t": 1, "target": 2}, "got t, target"),
        ({"t": 0}, "`t` must be above 0 and finite; got 0"),
        ({"t": math.nan}, "`t` must be above 0 and finite; got nan"),
        ({"t": math.inf}, "`t` must be above 0 and finite; got inf"),
        ({"target": math.inf}, "`target` must be above 0 and finite; got inf"),
        ({"tail_share": 1.5}, "`tail_share` must be above 0 and at most 1; got 1.5"),
        ({"target": -1}, "`target` must be above 0 and finite; got -1"),
        ({"t": 1, "law": "v3"}, "`law` must be one of v1, v2; got 'v3'"),
        ({"t": 1, "texts": "all"}, "`texts` must be one of each, one_per_image; got 'all'"),
        ({"t": 1, "headroom": 0.5}, "`headroom` must be at least 1; got 0.5"),
    ],
)
def test_impossible_rules_are_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        BalanceRule(**rule)


@pytest.mark.parametrize("t", [0, -1, math.nan])
def test_a_threshold_that_thins_nothing_is_refused(t):
    with pytest.raises(RuleError, match="`t` must be above 0"):
        entry_probabilities(GOLDEN, t)
