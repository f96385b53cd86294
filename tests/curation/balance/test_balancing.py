import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.balance import balancing as module
from evenly.curation.balance.balancing import balance, earlier_limits
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.picked_texts import pick_texts
from evenly.curation.balance.thresholds import (
    BalanceRule,
    PreselectionLimits,
    choose_thresholds,
    entry_probabilities,
    stay_chances,
)
from evenly.curation.draws import draw
from evenly.curation.errors import ColumnsError

LAWS = ("v1", "v2")
each_law = pytest.mark.parametrize("law", LAWS)


def pairs_of(rows, concepts, uids=None, language=None):
    uids = [f"{i:032x}" for i in range(len(rows))] if uids is None else uids
    return MatchedPairs.of(uids, pa.array(rows, pa.list_(pa.int32())), concepts, language=language)


def pool(n=4000, n_entries=30, seed=1):
    """Pairs that match 1 to 4 entries, entry e with a frequency of about 1 / (e + 1)."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_entries + 1)
    sizes = rng.integers(1, 5, n)
    rows = [sorted(set(rng.choice(n_entries, size, p=weights / weights.sum()).tolist())) for size in sizes]
    return pairs_of(rows, [f"entry {e}" for e in range(n_entries)])


def chosen(pairs, where):
    """Some of the pairs, in the order of `where`."""
    rows = np.split(pairs.numbers, pairs.ends[1:-1])
    uids = pairs.uids.to_pylist()
    return pairs_of([rows[i].tolist() for i in where], pairs.concepts, [uids[i] for i in where])


def decide(pairs, t, *, law="v1", seed=1, counts=None, earlier=None):
    counts = count_matches(pairs) if counts is None else counts
    return balance(pairs, counts=counts, thresholds=np.array([t], dtype=float), law=law, seed=seed, earlier=earlier)


def kept(pairs, found):
    return {uid for uid, keep in zip(pairs.uids.to_pylist(), found.decisions.kept.to_pylist(), strict=True) if keep}


def by_entry(found):
    """The draws as (uid, entry number, p, draw, capped, is it deciding)."""
    for row in found.draws.to_pylist():
        draws = row["draws"]
        shown = draws if len(draws) == len(row["entries"]) else [draws[0] if draws else None] * len(row["entries"])
        for entry, p, u, capped in zip(row["entries"], row["p"], shown, row["capped"], strict=True):
            yield row["uid"], entry, p, u, capped, entry == row["deciding"]


@each_law
@pytest.mark.parametrize("seed", range(5))
def test_as_many_stay_as_the_closed_form_says(law, seed):
    pairs = pool(8000)
    found = decide(pairs, 60, law=law, seed=seed)
    chances = stay_chances(pairs, found.probabilities)
    spread = np.sqrt((chances * (1 - chances)).sum())
    assert found.expected.tolist() == pytest.approx([chances.sum()])
    assert abs(found.decisions.kept.to_pylist().count(True) - chances.sum()) < 3 * spread
    assert found.decisions.value.to_pylist() == chances.tolist()


@each_law
@pytest.mark.parametrize(("entry", "count"), [(0, 6000), (1, 1500), (2, 12)])
def test_head_middle_and_tail_are_kept_as_often_as_the_closed_form_says(law, entry, count):
    counts = np.array([6000, 1500, 12])
    pairs = pairs_of([[e] for e in range(3) for _ in range(counts[e])], ["head", "middle", "tail"])
    p = min(1, 300 / count)
    for seed in (11, 12, 13):
        after = count_matches(
            pairs, decide(pairs, 300, law=law, seed=seed).decisions.kept.to_numpy(False).astype(float)
        )
        assert abs(after[0, entry] - count * p) <= 3 * math.sqrt(count * p * (1 - p))


def test_a_pair_with_a_rare_entry_always_stays_so_heads_keep_more_than_t():
    pairs = pairs_of([[0, 1]] * 50 + [[0]] * 5000, ["head", "rare"])
    found = decide(pairs, 100)
    heads = count_matches(pairs, found.decisions.kept.to_numpy(False).astype(float))[0, 0]
    assert all(found.decisions.kept.to_pylist()[:50])
    assert heads > 100 + 3 * math.sqrt(50)  # mean 50 + 5000 * 100 / 5050


def test_every_draw_is_told_and_decides_by_match():
    pairs = pool(300)
    found = decide(pairs, 20, seed=3)
    stays = kept(pairs, found)
    told = list(by_entry(found))
    needed = {uid for uid, _, p, _, _, _ in told if p >= 1}
    for uid, entry, p, u, _, _ in told:
        assert u == (None if uid in needed else draw(seed=3, step="balance", uid=uid, entry=f"entry {entry}"))
        assert uid in stays or u >= p
    assert {uid for uid, *_ in told} == set(pairs.uids.to_pylist())
    matches = [pair for pair in found.draws.to_pylist() if pair["uid"] not in needed]
    rows = dict(zip(pairs.uids.to_pylist(), np.split(pairs.numbers, pairs.ends[1:-1]), strict=True))
    assert all(pair["entries"] == rows[pair["uid"]].tolist() for pair in matches)
    deciding = {uid: (p, u) for uid, _, p, u, _, is_it in told if is_it}
    assert deciding.keys() == stays
    for uid, (p, u) in deciding.items():
        fired = [other for other_uid, _, q, other, _, _ in told if other_uid == uid and other is not None and other < q]
        assert p >= 1 if u is None else u == min(fired)


def test_one_draw_decides_by_pair():
    pairs = pool(300)
    found = decide(pairs, 20, law="v2", seed=3)
    chances = dict(zip(pairs.uids.to_pylist(), found.decisions.value.to_pylist(), strict=True))
    stays = kept(pairs, found)
    for row in found.draws.to_pylist():
        if max(row["p"]) >= 1:
            assert (row["draws"], row["p"]) == ([], [1.0])
            continue
        assert row["draws"] == [draw(seed=3, step="balance", uid=row["uid"], entry="")]
        assert (row["uid"] in stays) == (row["draws"][0] < chances[row["uid"]])
        largest = row["entries"][row["p"].index(max(row["p"]))]
        assert row["deciding"] == (largest if row["uid"] in stays else None)


@each_law
def test_a_pair_that_a_rare_entry_keeps_needs_no_draw(law, monkeypatch):
    drawn = []
    real = module.draws_at
    monkeypatch.setattr(module, "draws_at", lambda **asked: drawn.append(len(asked["rows"])) or real(**asked))
    pairs = pairs_of([[0, 1], [0, 2], [0, 3]] + [[0]] * 40, ["head", "a", "b", "c"])
    found = decide(pairs, 5, law=law)
    assert drawn == [40]
    assert found.draws["deciding"].to_pylist()[:3] == [1, 2, 3]
    assert found.draws["entries"].to_pylist()[:3] == [[1], [2], [3]]


@each_law
def test_a_probability_just_below_one_is_drawn(law):
    found = decide(pairs_of([[0]] * 1000, ["dog"]), 999, law=law)
    assert {len(draws) for draws in found.draws["draws"].to_pylist()} == {1}


def test_dropped_pairs_say_whether_by_draw_by_pick_or_for_want_of_a_concept():
    pairs = pairs_of([[0], [], [0], [0]], ["dog"])
    picked = pick_texts(pairs.uids, pa.array(["x", "y", "x", "z"]), seed=1)
    found = decide(picked.applied_to(pairs), 1e-12)
    other = int(np.flatnonzero(~picked.chosen)[0])
    reasons = ["balance_draw", "no_concept", "balance_draw", "balance_draw"]
    reasons[other] = "other_text"
    assert found.decisions.reason.to_pylist() == reasons
    assert pairs.uids[other].as_py() not in found.draws["uid"].to_pylist()


@each_law
def test_one_text_per_picture_stays_with_the_share_of_its_texts(law):
    n = 4000
    pairs = pairs_of([[i % 3] for i in range(3 * n)], ["head", "middle", "tail"])
    picked = pick_texts(pairs.uids, pa.array([f"picture {i // 3}" for i in range(3 * n)]), seed=4)
    judged = picked.applied_to(pairs)
    counts = np.array([[8000.0, 4000.0, 100.0]])
    found = decide(judged, 2000, law=law, seed=4, counts=counts)
    stays = found.decisions.kept.to_numpy(False).reshape(n, 3)
    assert stays.sum(axis=1).max() == 1
    for text, p in enumerate((0.25, 0.5, 1.0)):
        assert found.decisions.value[text].as_py() == pytest.approx(p / 3)
        assert abs(stays[:, text].sum() - n * p / 3) < 3 * math.sqrt(n * p / 3 * (1 - p / 3))
    assert found.expected.tolist() == pytest.approx([n * 1.75 / 3], abs=1e-4)


def test_of_several_texts_that_pass_each_pair_stays_once():
    pairs = pairs_of([[0], [0], [1]], ["dog", "cat"])
    found = decide(pairs, 10)
    assert found.decisions.kept.to_pylist() == [True] * 3
    assert found.draws["uid"].to_pylist() == pairs.uids.to_pylist()


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.sampled_from(LAWS),
    st.booleans(),
    st.lists(st.integers(0, 60), max_size=5),
    st.randoms(use_true_random=False),
)
def test_neither_row_order_nor_sharding_nor_batches_change_a_verdict(seed, t, law, one_text, cuts, chance):  # noqa: PLR0917
    pairs = pool(60, 8)
    if one_text:
        images = pa.array([f"picture {i // 2}" for i in range(60)])
        pairs = pick_texts(pairs.uids, images, seed=seed).applied_to(pairs)
    counts = count_matches(pairs)
    whole = decide(pairs, t, law=law, seed=seed)
    table = whole.decisions.to_table(pairs.uids)
    bounds = sorted({0, 60, *cuts})
    shards = list(itertools.pairwise(bounds))
    chance.shuffle(shards)
    parts = [pairs.part(start, stop) for start, stop in shards]
    found = [decide(part, t, law=law, seed=seed, counts=counts) for part in parts]
    joined = pa.concat_tables([one.decisions.to_table(part.uids) for one, part in zip(found, parts, strict=True)])
    assert joined.sort_by("uid").combine_chunks() == table
    drawn = pa.concat_tables([one.draws for one in found])
    assert drawn.take(pa.array(np.argsort(drawn["uid"].to_pylist()))).to_pylist() == whole.draws.to_pylist()
    assert sum(one.expected for one in found).tolist() == whole.expected.tolist()
    if not one_text:
        order = list(range(60))
        chance.shuffle(order)
        mixed = chosen(pairs, order)
        again = decide(mixed, t, law=law, seed=seed)
        assert again.decisions.to_table(mixed.uids).sort_by("uid").combine_chunks() == table


def survivors(pairs, early, lost=(), now=None):
    """What the balance gets of a preselection: pairs that it kept and that were not lost since, and what it said."""
    left = [i for i, keep in enumerate(early.decisions.kept.to_pylist()) if keep and i not in lost]
    then = chosen(pairs, left)
    later = then if now is None else pairs_of([now[i] for i in left], pairs.concepts, then.uids)
    chances = early.decisions.value.to_numpy()[left]
    limits = earlier_limits(later, then, early.probabilities)
    return later, PreselectionLimits(chances=chances, limits=limits)


@each_law
def test_two_phases_with_the_pools_counts_keep_what_one_phase_keeps(law):
    pairs = pool()
    counts = count_matches(pairs)
    once, early = decide(pairs, 40, law=law, seed=5), decide(pairs, 120, law=law, seed=5)
    later, earlier = survivors(pairs, early)
    twice = decide(later, 40, law=law, seed=5, counts=counts, earlier=earlier)
    assert kept(later, twice) == kept(pairs, once)
    assert not any(capped for *_, capped, _ in by_entry(twice))
    values = dict(zip(pairs.uids.to_pylist(), once.decisions.value.to_pylist(), strict=True))
    assert twice.decisions.value.to_pylist() == [values[uid] for uid in later.uids.to_pylist()]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(LAWS),
    st.integers(0, 2**32),
    st.floats(0.5, 30),
    st.floats(1, 4),
    st.floats(0.2, 10),
    st.lists(st.tuples(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.booleans()), min_size=1, max_size=40),
)
def test_what_the_balance_keeps_the_preselection_kept_and_p_never_rises(law, seed, t, headroom, change, rows):  # noqa: PLR0917
    """Whatever captions changed, whatever was lost and wherever the final threshold lies."""
    pairs = pairs_of([sorted(then) for then, _, _ in rows], list("abcde"))
    early = decide(pairs, t * headroom, law=law, seed=seed)
    lost = {i for i, (_, _, gone) in enumerate(rows) if gone}
    later, earlier = survivors(pairs, early, lost, [sorted(now) for _, now, _ in rows])
    counts = count_matches(later, 1 / earlier.chances)
    late = decide(later, t * change, law=law, seed=seed, counts=counts, earlier=earlier)
    assert kept(later, late) <= kept(pairs, early)
    assert (late.decisions.value.to_numpy() <= earlier.chances).all()
    then = dict(zip(pairs.uids.to_pylist(), (sorted(row[0]) for row in rows), strict=True))
    for uid, entry, p, _, capped, _ in by_entry(late):
        if entry in then[uid]:
            assert p <= early.probabilities[0, entry]
            assert capped == (late.probabilities[0, entry] > early.probabilities[0, entry])
        else:
            assert (p, capped) == (late.probabilities[0, entry], False)
    by_old = [row for row in by_entry(late) if row[1] in then[row[0]] and row[3] is not None and row[3] < row[2]]
    if law == "v1":
        assert all(u < early.probabilities[0, entry] for _, entry, _, u, _, _ in by_old)


@each_law
def test_survivors_weighed_by_their_chance_estimate_the_counts_of_the_pool(law):
    pairs = pool(20_000)
    early = decide(pairs, 100, law=law, seed=6)
    later, earlier = survivors(pairs, early)
    estimate, truth = count_matches(later, 1 / earlier.chances), count_matches(pairs)
    assert len(later) < len(pairs) / 2
    chances = early.decisions.value.to_numpy()
    spread = np.sqrt(count_matches(pairs, (1 - chances) / chances))
    assert (np.abs(estimate - truth) <= 4 * spread + 1e-3).all()


@each_law
def test_a_probability_that_losses_would_raise_is_capped_and_says_so(law):
    pairs = pool()
    early = decide(pairs, 44, law=law, seed=5)
    later, earlier = survivors(pairs, early, lost={i for i in range(len(pairs)) if i % 2})
    late = decide(later, 40, law=law, seed=5, counts=count_matches(later, 1 / earlier.chances), earlier=earlier)
    told = list(by_entry(late))
    assert any(capped for *_, capped, _ in told)
    assert all(p == early.probabilities[0, entry] for _, entry, p, _, capped, _ in told if capped)


@each_law
def test_an_entry_of_a_new_caption_is_not_capped_and_stays_in_the_closed_form(law):
    n = 20_000
    pairs = pairs_of([[0, 1]] * n, ["old", "kept", "new"])
    early = decide(pairs, 4000, law=law, seed=8)
    later, earlier = survivors(pairs, early, now=[[1, 2]] * n)
    late = decide(later, 2000, law=law, seed=8, counts=count_matches(later, 1 / earlier.chances), earlier=earlier)
    (p,), (p_before,) = late.probabilities, early.probabilities
    before = earlier.chances[0]
    assert not any(capped for *_, capped, _ in by_entry(late))
    assert before == pytest.approx(1 - (1 - p_before[0]) * (1 - p_before[1]))
    chance = 1 - (1 - p[1] / before) * (1 - p[2])
    assert late.decisions.value.to_pylist() == pytest.approx([before * chance] * len(later))
    assert late.expected.tolist() == pytest.approx([chance * len(later)])
    spread = math.sqrt(chance * (1 - chance) * len(later))
    assert abs(late.decisions.kept.to_pylist().count(True) - late.expected[0]) < 3 * spread


def test_a_target_is_met_in_expectation_after_a_preselection_with_losses():
    pairs = pool()
    later, earlier = survivors(pairs, decide(pairs, 80, seed=5), lost=set(range(0, 4000, 5)))
    counts = count_matches(later, 1 / earlier.chances)
    (t,) = choose_thresholds(BalanceRule(target=300), later, counts, earlier)
    assert decide(later, t, counts=counts, earlier=earlier).expected.tolist() == pytest.approx([300], abs=1e-4)


@each_law
def test_each_language_is_thinned_by_its_own_threshold(law):
    language = pa.array(["en"] * 300 + ["de"] * 100)
    pairs = pairs_of([[0]] * 400, ["dog"], language=language)
    found = balance(pairs, counts=count_matches(pairs), thresholds=np.array([100.0, 30.0]), law=law, seed=1)
    assert pairs.languages == ("de", "en")
    assert found.probabilities.tolist() == [[1.0], [0.1]]
    stays = found.decisions.kept.to_pylist()
    assert all(stays[300:])
    assert abs(stays[:300].count(True) - 30) < 3 * math.sqrt(300 * 0.1 * 0.9)
    assert found.expected.tolist() == pytest.approx([100, 30])


def test_a_survivor_without_a_chance_is_refused():
    pairs = pairs_of([[0]], ["dog"])
    with pytest.raises(ColumnsError, match="`earlier` must have chances above 0"):
        decide(pairs, 1, earlier=PreselectionLimits(chances=np.zeros(1), limits=np.ones(1)))


@each_law
def test_no_pairs_give_no_decisions(law):
    found = decide(pairs_of([], ["dog"]), 1, law=law)
    assert len(found.decisions) == 0
    assert found.draws.num_rows == 0
    assert found.expected.tolist() == [0]


def test_probabilities_follow_from_the_counts_of_the_whole():
    pairs = pool(200)
    counts = count_matches(pairs)
    found = decide(pairs.part(0, 10), 7, counts=counts)
    assert found.probabilities.tolist() == entry_probabilities(counts, np.array([7.0])).tolist()
