from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import SplitError
from evenly.adapters.splits import PARTS, check_whole_groups, joined_groups, settle_parts, split_by_group, unit_hash

GOLDEN = ["val", "test", "val", "train", "val", "val", "train", "val", "train", "val", "test", "test"]

names = st.text(min_size=1, max_size=6)
rows = st.lists(st.tuples(names, st.integers(0, 3)), min_size=1, max_size=60)


def parts_of(groups, split):
    found = {}
    for group, part in zip(groups, split, strict=True):
        found.setdefault(group, set()).add(part)
    return found


@settings(deadline=None)
@given(rows, st.integers(0, 5), st.booleans())
def test_a_group_is_never_parted(pairs, seed, stratified):
    groups, labels = zip(*pairs, strict=True)
    split = split_by_group(groups, labels if stratified else None, seed=seed)
    assert set(split) <= set(PARTS)
    assert all(len(parts) == 1 for parts in parts_of(groups, split).values())
    check_whole_groups(split, np.array(groups))


@settings(deadline=None)
@given(rows, st.integers(0, 5), st.booleans(), st.randoms())
def test_row_order_does_not_matter(pairs, seed, stratified, random):
    mixed = random.sample(pairs, len(pairs))

    def split(some):
        groups, labels = zip(*some, strict=True)
        return parts_of(groups, split_by_group(groups, labels if stratified else None, seed=seed))

    assert split(pairs) == split(mixed)


@settings(deadline=None)
@given(rows, names)
def test_without_labels_a_new_group_moves_no_other(pairs, new):
    groups = [group for group, _ in pairs]
    before = parts_of(groups, split_by_group(groups, seed=1))
    after = parts_of([*groups, new], split_by_group([*groups, new], seed=1))
    assert {group: after[group] for group in groups} == before


def test_the_assignment_is_fixed_for_good():
    groups = [f"group {i}" for i in range(12)]
    assert split_by_group(groups, seed=20261124).tolist() == GOLDEN
    assert unit_hash(1, "split", "a") != unit_hash(1, "spl", "ita")


def test_shares_are_near_the_fractions_and_the_seed_changes_them():
    groups = [str(i) for i in range(5000)]
    split = split_by_group(groups, seed=3)
    counts = Counter(split.tolist())
    assert abs(counts["train"] / 5000 - 0.6) < 0.03
    assert abs(counts["val"] / 5000 - 0.2) < 0.03
    assert (split != split_by_group(groups, seed=4)).any()


def test_labels_share_out_each_class():
    groups = [str(i) for i in range(200)]
    labels = [i % 20 for i in range(200)]
    split = split_by_group(groups, labels, seed=0)
    for label in range(20):
        counts = Counter(split[i] for i in range(200) if labels[i] == label)
        assert counts == {"train": 6, "val": 2, "test": 2}


def test_labels_keep_each_parts_probability_for_small_classes():
    counts = Counter()
    for seed in range(2000):
        counts.update(split_by_group(["a", "b"], ["x", "x"], seed=seed).tolist())
    assert abs(counts["test"] / 4000 - 0.2) < 0.03
    assert abs(counts["train"] / 4000 - 0.6) < 0.03


@pytest.mark.parametrize(
    ("fractions", "allowed"), [((1, 0, 0), {"train"}), ((0, 1, 0), {"val"}), ((0, 0, 1), {"test"})]
)
def test_a_fraction_of_zero_stays_empty(fractions, allowed):
    assert set(split_by_group([str(i) for i in range(100)], seed=0, fractions=fractions)) == allowed


def test_no_rows_give_no_parts():
    assert split_by_group([], seed=0).shape == (0,)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.5, 0.2, 0.2)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(SplitError, match="`fractions` must be three shares"):
        split_by_group(["a"], seed=0, fractions=fractions)


def test_bad_rows_are_refused():
    with pytest.raises(SplitError, match="`groups` must be non-empty; got '' at row 1"):
        split_by_group(["a", ""], seed=0)
    with pytest.raises(SplitError, match="one label per row, 2; got 1"):
        split_by_group(["a", "b"], ["x"], seed=0)
    with pytest.raises(SplitError, match="one name per uid, 2; got 1"):
        joined_groups(["u", "v"], ["a"], [])


def test_a_split_that_parts_a_group_or_names_an_unknown_part_is_refused():
    with pytest.raises(SplitError, match="got group `a` in train and test"):
        check_whole_groups(np.array(["train", "val", "test"]), np.array(["a", "b", "a"]))
    with pytest.raises(SplitError, match="`split` must hold train, val, test only; got `dev`"):
        check_whole_groups(np.array(["train", "dev"]), np.array(["a", "b"]))


def test_twins_join_the_groups_of_merged_rows():
    uids = ["1", "2", "3", "4", "5", "6"]
    groups = ["cat", "dog", "", None, "cat", "owl"]
    joined = joined_groups(uids, groups, [("2", "1"), ("3", "gone"), ("6", "gone")])
    assert joined.tolist() == ["cat", "cat", "3", "4", "cat", "3"]


def test_a_merged_row_joins_its_group_only_where_it_is_handed_in():
    edges = [("dead", "kept")]
    assert joined_groups(["kept", "friend"], ["h", "g"], edges).tolist() == ["h", "g"]
    assert joined_groups(["kept", "friend", "dead"], ["h", "g", "g"], edges).tolist() == ["g", "g", "g"]


nodes = st.sampled_from([str(i) for i in range(12)])


@settings(deadline=None)
@given(st.lists(st.tuples(nodes, nodes), max_size=15), st.randoms())
def test_twins_are_the_connected_components_whatever_the_order_of_the_edges(edges, random):
    uids = [str(i) for i in range(8)]
    groups = ["a", "a", "b", "", "", "c", None, "d"]
    joined = joined_groups(uids, groups, edges)
    assert np.array_equal(joined, joined_groups(uids, groups, random.sample(edges, len(edges))))

    group_of = {uid: group or uid for uid, group in zip(uids, groups, strict=True)}
    reach = {name: {name} for name in {*group_of.values(), *map(str, range(12))}}
    for _ in range(20):
        for uid, into in edges:
            first, second = group_of.get(uid, uid), group_of.get(into, into)
            both = reach[first] | reach[second]
            for name in both:
                reach[name] = reach[name] | both
    for i, one in enumerate(uids):
        for j, other in enumerate(uids):
            assert (joined[i] == joined[j]) == (group_of[other] in reach[group_of[one]])


def test_a_long_chain_of_merges_is_one_group():
    uids = [f"{i:05}" for i in range(20000)]
    joined = joined_groups(uids, [""] * 20000, [(uids[i], uids[i + 1]) for i in range(19999)])
    assert set(joined.tolist()) == {"00000"}


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.sampled_from([*PARTS, ""])), min_size=1, max_size=40))
def test_a_given_split_is_settled_so_that_no_group_lies_in_two_parts(pairs):
    groups, split = (np.array(column, dtype=np.str_) for column in zip(*pairs, strict=True))
    kept, stays, notes = settle_parts(split, groups)
    assert np.array_equal(kept, split)
    check_whole_groups(split[stays], groups[stays])
    assert not (split[stays] == "").any()
    assert (not notes) == bool(stays.all())
    for name in set(groups.tolist()):
        given_parts = set(split[groups == name].tolist()) - {""}
        if "test" in given_parts:
            assert (split[(groups == name) & stays] == "test").all()


def test_rows_that_a_split_leaves_out_are_counted_by_why():
    split = np.array(["train", "test", "", "train", "val"])
    groups = np.array(["a", "a", "b", "c", "c"])
    _, stays, notes = settle_parts(split, groups)
    assert stays.tolist() == [False, True, False, False, True]
    assert notes == (
        "1 rows are in no part of the split: left out",
        "2 rows have a twin in a part that is judged later: left out",
    )


def test_an_unknown_part_of_a_given_split_is_refused():
    with pytest.raises(SplitError, match="must hold train, val, test only; got `dev`"):
        settle_parts(np.array(["dev"]), np.array(["a"]))
