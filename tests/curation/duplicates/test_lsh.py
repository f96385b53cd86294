from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.duplicates.kernels import bucket_keys
from evenly.curation.duplicates.lsh import (
    Signatures,
    bit_masks,
    candidate_pairs,
    in_batches,
    mixed,
    pairs_of_table,
    seeded_words,
    table_keys,
    word_masks,
)

CODES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3)), max_size=12)
MASKS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3)), min_size=1, max_size=4)


def codes_of(rows):
    return np.array(rows, dtype=np.uint64).reshape(-1, 2)


def pairs_of(codes, masks, max_distance=None, fresh=None):
    near = Signatures.within(codes, max_distance)
    parts = candidate_pairs(codes, masks, signatures=near)
    if fresh is not None:
        parts = chain.from_iterable(
            pairs_of_table(*ordered(codes, masks[table], fresh), codes, masks[: table + 1], near=near, fresh=fresh)
            for table in range(len(masks))
        )
    found = [pair for part in parts for pair in zip(*part, strict=True)]
    assert len(found) == len(set(found)) == near.candidates
    return set(found)


def ordered(codes, mask, fresh):
    """The rows and their keys in a table, of equal keys the fresh ones first."""
    keys = table_keys(codes, mask)
    order = np.lexsort((~fresh, keys))
    return order, keys[order]


def agreeing(codes, masks, max_distance):
    """The definition, pair by pair."""
    bits = [[int(word) for word in row] for row in codes]
    return {
        (i, j)
        for j in range(len(bits))
        for i in range(j)
        if any(all((a ^ b) & int(m) == 0 for a, b, m in zip(bits[i], bits[j], mask, strict=True)) for mask in masks)
        and sum((a ^ b).bit_count() for a, b in zip(bits[i], bits[j], strict=True)) <= max_distance
    }


@settings(deadline=None)
@given(CODES, MASKS, st.integers(0, 6))
def test_candidates_are_all_pairs_that_agree_under_a_mask_each_once(rows, masks, max_distance):
    codes, masks = codes_of(rows), codes_of(masks)
    assert pairs_of(codes, masks, max_distance) == agreeing(codes, masks, max_distance)


@settings(deadline=None)
@given(CODES, MASKS, st.tuples(st.integers(0, 15), st.integers(0, 3)))
def test_an_added_row_takes_no_candidate_away(rows, masks, row):
    codes, masks = codes_of([*rows, row]), codes_of(masks)
    before, after = pairs_of(codes[:-1], masks), pairs_of(codes, masks)
    assert before == {pair for pair in after if pair[1] < len(rows)}


@settings(deadline=None)
@given(CODES, MASKS, st.integers(0, 6), st.lists(st.booleans(), min_size=12, max_size=12))
def test_candidates_of_fresh_rows_are_those_of_all_with_a_fresh_end(rows, masks, max_distance, fresh):
    codes, masks, fresh = codes_of(rows), codes_of(masks), np.array(fresh[: len(rows)], np.bool_)
    wanted = {(i, j) for i, j in agreeing(codes, masks, max_distance) if fresh[i] or fresh[j]}
    assert pairs_of(codes, masks, max_distance, fresh) == wanted


def test_keys_of_buckets_are_mixed_word_by_word():
    codes, mask = codes_of([(5, 9), (6, 9)]), np.array([0, 11], np.uint64)
    keys = np.empty(2, np.uint64)
    bucket_keys(codes, mask, keys)
    assert (keys == mixed(np.array([9, 9], np.uint64))).all()


def test_a_bucket_larger_than_a_part_is_searched_whole(monkeypatch):
    monkeypatch.setattr("evenly.curation.duplicates.lsh.CHUNK", 7)
    parts = list(candidate_pairs(np.zeros((40, 1), np.uint64), word_masks(1)))
    assert {len(left) for left, _ in parts[:-1]} == {7}
    assert len({pair for part in parts for pair in zip(*part, strict=True)}) == 40 * 39 // 2


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 4))
def test_batches_hold_all_pairs_in_their_order(sizes, n):
    ends = np.cumsum([0, *sizes])
    parts = [(np.arange(start, stop), np.arange(start, stop) + 1) for start, stop in pairwise(ends.tolist())]
    batches = list(in_batches(parts, n))
    assert [row for left, _ in batches for row in left.tolist()] == list(range(ends[-1]))
    assert all((right == left + 1).all() for left, right in batches)
    assert all(n <= len(left) < 2 * n for left, _ in batches[:-1])


def test_masks_look_at_so_many_bits_and_follow_from_the_key_alone():
    masks = bit_masks(5, 20, width=512, key="a")
    assert np.bitwise_count(masks).sum(axis=1).tolist() == [20] * 5
    assert (bit_masks(5, 20, width=512, key="a") == masks).all()
    assert (bit_masks(5, 20, width=512, key="b") != masks).any()


def test_seeded_numbers_are_the_same_on_every_machine():
    assert [hex(word) for word in seeded_words("1|deduplicate_semantic", 2)] == [
        "0xe18bbd3efe4b7171",
        "0xe20a347c8d99f4d6",
    ]
    assert int(mixed(np.array([1], np.uint64))[0]) == 0xB456BCFC34C2CB2C


def test_no_rows_have_no_candidates():
    assert pairs_of(np.empty((0, 2), np.uint64), word_masks(2)) == set()


@pytest.mark.parametrize("width", [1, 3])
def test_a_word_mask_looks_at_one_whole_word(width):
    assert (word_masks(width) == np.diag([2**64 - 1] * width).astype(object)).all()
