import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.balancing import (
    balance,
    count_entries,
    entry_probabilities,
    match_limits,
    preselect,
    stay_probabilities,
    tail_share,
    threshold_for_tail,
    threshold_for_target,
)
from curation.draws import draw
from curation.errors import ColumnsError, RuleError

GOLDEN = np.array([1, 2, 3, 5, 8, 13, 100, 1000], dtype=np.float64)  # methods/curation.md section 3.2


def lists(rows):
    return pa.array(rows, pa.list_(pa.int32()))


def uids_of(n):
    return [f"{i:032x}" for i in range(n)]


def pool(n=4000, n_entries=30, seed=1):
    """Pairs that match 1 to 4 entries, entry e with a frequency of about 1 / (e + 1)."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_entries + 1)
    sizes = rng.integers(1, 5, n)
    rows = [sorted(set(rng.choice(n_entries, size, p=weights / weights.sum()).tolist())) for size in sizes]
    return uids_of(n), lists(rows), [f"entry {e}" for e in range(n_entries)]


@pytest.mark.parametrize(("t", "share"), [(10, 0.0167845), (100, 0.0282686), (2000, 1.0)])
def test_tail_share_has_the_golden_values_of_metaclip2(t, share):
    assert tail_share(GOLDEN, t) == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize(("t", "back"), [(10, 8), (100, 13), (2000, 1000)])
def test_the_way_back_from_a_tail_share_has_the_golden_values_of_metaclip2(t, back):
    assert threshold_for_tail(GOLDEN, tail_share(GOLDEN, t)) == back


def test_entry_probabilities_have_the_golden_values_of_metaclip2():
    assert entry_probabilities(GOLDEN, 10).round(4).tolist() == [1, 1, 1, 1, 1, 0.7692, 0.1, 0.01]


def test_entries_without_pairs_and_an_endless_threshold_divide_by_nothing():
    none = np.zeros(3)
    assert entry_probabilities(none, 5).tolist() == [1, 1, 1]
    assert tail_share(none, 5) == 0
    assert threshold_for_tail(none, 0.06) == 1
    assert entry_probabilities(GOLDEN, math.inf).tolist() == [1] * 8
    assert threshold_for_target(lists([[], []]), none, 1) == 1


def test_counts_are_pairs_per_entry():
    matches = lists([[0, 2], [], [2], None])
    assert count_entries(matches, 4).tolist() == [1, 0, 2, 0]
    assert count_entries(matches, 4, np.array([0.5, 9, 2, 9])).tolist() == [0.5, 0, 2.5, 0]


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 4)), st.floats(1, 1e4)), max_size=20), st.randoms(use_true_random=False)
)
def test_counts_of_shards_add_up_to_the_bit_in_any_order(rows, chance):
    matches, weights = lists([sorted(ids) for ids, _ in rows]), np.array([weight for _, weight in rows])
    whole = count_entries(matches, 5, weights)
    shards = [slice(0, 3), slice(3, 8), slice(8, None)]
    chance.shuffle(shards)
    parts = [count_entries(matches[shard], 5, weights[shard]) for shard in shards]
    assert sum(parts, np.zeros(5)).tolist() == whole.tolist()


def test_chance_to_stay_is_that_any_entry_fires():
    chances = stay_probabilities(lists([[0, 1], [1], []]), np.array([0.5, 0.2]))
    assert chances.tolist() == pytest.approx([1 - 0.5 * 0.8, 0.2, 0])


def test_as_many_stay_as_the_closed_form_says():
    uids, matches, entries = pool(20_000)
    found = balance(uids, matches, entries, t=60, seed=3)
    chances = stay_probabilities(matches, found.probabilities)
    spread = np.sqrt((chances * (1 - chances)).sum())
    assert found.expected == pytest.approx(chances.sum())
    assert abs(found.decisions.kept.to_pylist().count(True) - chances.sum()) < 3 * spread
    assert found.decisions.value.to_pylist() == pytest.approx(chances.tolist())


def test_every_draw_is_told_and_decides():
    uids, matches, entries = pool(300)
    found = balance(uids, matches, entries, t=20, seed=3)
    kept = dict(zip(uids, found.decisions.kept.to_pylist(), strict=True))
    rows = found.draws.to_pylist()
    assert len(rows) == len(matches.flatten())
    for row in rows:
        assert row["draw"] == draw(seed=3, step="balance", uid=row["uid"], entry=row["entry"])
        assert kept[row["uid"]] or row["draw"] >= row["p"]
    deciding = [row["uid"] for row in rows if row["deciding"]]
    assert sorted(deciding) == [uid for uid in uids if kept[uid]]
    assert all(row["draw"] < row["p"] for row in rows if row["deciding"])


def test_dropped_pairs_say_whether_by_draw_or_for_want_of_a_concept():
    found = balance(["a", "b"], lists([[0], []]), ["dog"], t=1e-12, seed=1)
    assert found.decisions.reason.to_pylist() == ["balance_draw", "no_concept"]
    early = preselect(["a", "b"], lists([[0], []]), ["dog"], t=1e-12, headroom=1, seed=1)
    assert early.decisions.reason.to_pylist() == ["preselect_draw", "no_concept"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 40), st.randoms(use_true_random=False))
def test_neither_row_order_nor_sharding_changes_a_verdict(seed, t, chance):
    uids, matches, entries = pool(60, 8)
    whole = balance(uids, matches, entries, t=t, seed=seed)
    order = list(range(60))
    chance.shuffle(order)
    mixed = balance([uids[i] for i in order], matches.take(pa.array(order)), entries, t=t, seed=seed)
    table = whole.decisions.to_table(pa.array(uids))
    assert mixed.decisions.to_table(pa.array([uids[i] for i in order])).sort_by("uid") == table
    counts = count_entries(matches, len(entries))
    shards = [
        balance(uids[a:b], matches[a:b], entries, t=t, seed=seed, counts=counts).decisions.to_table(pa.array(uids[a:b]))
        for a, b in ((0, 17), (17, 18), (18, 60))
    ]
    assert pa.concat_tables(shards).combine_chunks() == table


def survivors(uids, matches, early, lost=()):
    """What the balance gets of a preselection: rows that it kept and that were not lost since."""
    kept = [i for i, keep in enumerate(early.decisions.kept.to_pylist()) if keep and i not in lost]
    stayed = early.decisions.value.to_numpy()[kept]
    caps = {(row["uid"], row["entry"]): row["p"] for row in early.draws.to_pylist()}
    return [uids[i] for i in kept], matches.take(pa.array(kept)), stayed, caps


def test_two_phases_with_the_pools_counts_keep_what_one_phase_keeps():
    uids, matches, entries = pool()
    once = balance(uids, matches, entries, t=40, seed=5)
    early = preselect(uids, matches, entries, t=40, headroom=3, seed=5)
    left, found, stayed, caps = survivors(uids, matches, early)
    counts = count_entries(matches, len(entries))
    twice = balance(left, found, entries, t=40, seed=5, stayed=stayed, caps=caps, counts=counts)
    kept = [uid for uid, keep in zip(uids, once.decisions.kept.to_pylist(), strict=True) if keep]
    assert [uid for uid, keep in zip(left, twice.decisions.kept.to_pylist(), strict=True) if keep] == kept
    assert not any(twice.draws["capped"].to_pylist())
    values = dict(zip(uids, once.decisions.value.to_pylist(), strict=True))
    assert twice.decisions.value.to_pylist() == pytest.approx([values[uid] for uid in left])


def test_survivors_weighed_by_their_chance_estimate_the_counts_of_the_pool():
    uids, matches, entries = pool(20_000)
    early = preselect(uids, matches, entries, t=50, headroom=2, seed=6)
    _, found, stayed, _ = survivors(uids, matches, early)
    estimate, truth = count_entries(found, len(entries), 1 / stayed), count_entries(matches, len(entries))
    assert len(found) < len(uids) / 2
    chances = early.decisions.value.to_numpy()
    spread = np.sqrt(count_entries(matches, len(entries), (1 - chances) / chances))
    assert (np.abs(estimate - truth) <= 4 * spread + 1e-3).all()


def test_a_probability_that_losses_would_raise_is_capped_and_says_so():
    uids, matches, entries = pool()
    early = preselect(uids, matches, entries, t=40, headroom=1.1, seed=5)
    lost = {i for i in range(len(uids)) if i % 2}
    left, found, stayed, caps = survivors(uids, matches, early, lost)
    late = balance(left, found, entries, t=40, seed=5, stayed=stayed, caps=caps)
    rows = late.draws.to_pylist()
    assert any(row["capped"] for row in rows)
    assert all(row["p"] <= caps[row["uid"], row["entry"]] for row in rows)
    assert all(row["p"] == caps[row["uid"], row["entry"]] for row in rows if row["capped"])


def test_an_entry_of_a_new_caption_is_not_capped_and_stays_in_the_closed_form():
    n = 20_000
    uids, entries = uids_of(n), ["old", "kept", "new"]
    before = lists([[0, 1]] * n)
    after = lists([[1, 2]] * n)
    early = preselect(uids, before, entries, t=2000, headroom=2, seed=8)
    left, _, stayed, caps = survivors(uids, before, early)
    late = balance(left, after.slice(0, len(left)), entries, t=2000, seed=8, stayed=stayed, caps=caps)
    p, p_before = late.probabilities, early.probabilities
    assert not any(late.draws["capped"].to_pylist())
    assert stayed[0] == pytest.approx(1 - (1 - p_before[0]) * (1 - p_before[1]))
    chance = 1 - (1 - p[1] / stayed[0]) * (1 - p[2])
    assert late.decisions.value.to_pylist() == pytest.approx([stayed[0] * chance] * len(left))
    assert late.expected == pytest.approx(chance * len(left))
    spread = math.sqrt(chance * (1 - chance) * len(left))
    assert abs(late.decisions.kept.to_pylist().count(True) - late.expected) < 3 * spread


@pytest.mark.parametrize("target", [50, 700, 2500])
def test_a_target_is_met_in_expectation(target):
    uids, matches, entries = pool()
    counts = count_entries(matches, len(entries))
    t = threshold_for_target(matches, counts, target)
    assert balance(uids, matches, entries, t=t, seed=1).expected == pytest.approx(target, rel=1e-6)


def test_a_target_is_met_in_expectation_after_a_preselection_with_losses():
    uids, matches, entries = pool()
    early = preselect(uids, matches, entries, t=40, headroom=2, seed=5)
    left, found, stayed, caps = survivors(uids, matches, early, lost=set(range(0, 4000, 5)))
    counts = count_entries(found, len(entries), 1 / stayed)
    limits = match_limits(left, found, entries, caps)
    t = threshold_for_target(found, counts, 300, weights=1 / stayed, limits=limits)
    late = balance(left, found, entries, t=t, seed=5, stayed=stayed, caps=caps)
    assert late.expected == pytest.approx(300, rel=1e-6)


def test_a_target_above_all_pairs_keeps_every_pair_with_an_entry():
    uids, matches, entries = pool(100)
    counts = count_entries(matches, len(entries))
    t = threshold_for_target(matches, counts, 1000)
    assert t == counts.max()
    assert all(balance(uids, matches, entries, t=t, seed=1).decisions.kept.to_pylist())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: entry_probabilities(GOLDEN, 0), RuleError, "`t` must be above 0; got 0"),
        (lambda: entry_probabilities(GOLDEN, math.nan), RuleError, "got nan"),
        (lambda: threshold_for_target(lists([[0]]), GOLDEN, 0), RuleError, "`target` must be above 0 pairs; got 0"),
        (lambda: preselect(["a"], lists([[0]]), ["dog"], t=1, headroom=0.5, seed=1), RuleError, "at least 1; got 0.5"),
        (
            lambda: balance(["a"], lists([[0]]), ["dog"], t=1, seed=1, stayed=np.zeros(1)),
            ColumnsError,
            "`stayed` must be above 0",
        ),
    ],
)
def test_impossible_calls_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_no_pairs_give_no_decisions():
    found = balance([], lists([]), ["dog"], t=1, seed=1)
    assert len(found.decisions) == 0
    assert found.draws.num_rows == 0
