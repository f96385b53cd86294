"""Compiled loops of the search for duplicates: as Python runs them, and as their definitions say."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evenly.curation.duplicates import kernels
from evenly.curation.duplicates.caption_duplicates import ShingleSets
from evenly.curation.duplicates.colours import colour_pairs
from evenly.curation.duplicates.lsh import seeded_words
from tests.curation.interpreted import agreed, interpreted

BOTH = (kernels, interpreted("evenly.curation.duplicates.kernels"))
WORD = st.integers(0, 2**64 - 1)
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
TEXTS = st.lists(st.text("ab é犬", max_size=9), max_size=6)
a_few = settings(max_examples=25)


def words(numbers):
    return np.array(numbers, np.uint64)


def letters_of(texts):
    """The code points of all texts, and where each text ends."""
    return np.array([ord(letter) for text in texts for letter in text], np.uint32), np.cumsum(
        [len(text) for text in texts], dtype=np.int64
    )


@a_few
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 2)), max_size=12),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_pairs_of_a_bucket_are_written_in_parts_of_any_size(rows, room, limit):
    codes, mask = words([[code] for code, _, _ in rows]).reshape(-1, 1), words([6])
    component, shares = [place for _, _, place in rows], [1.0, 0.5, 0.0]
    keys = agreed(BOTH, "bucket_keys", codes, mask, np.zeros(len(rows), np.uint64))[-1]
    fresh = np.array([is_fresh for _, is_fresh, _ in rows], np.bool_)
    order = np.lexsort((~fresh, keys))
    place, pairs = np.array([0, 1, 0]), []
    while True:
        sides = np.zeros(room, np.int64), np.zeros(room, np.int64)
        result = agreed(
            *(BOTH, "emit_pairs", order, keys[order], codes, fresh[order], np.zeros((0, 1), np.uint64)),
            *(codes[order], np.full(len(rows), limit / 2), np.array(component, np.int64), np.array(shares)),
            *(place, *sides),
        )
        pairs += zip(result[-2][: result[0]].tolist(), result[-1][: result[0]].tolist(), strict=True)
        place = result[-3]
        if result[0] < room:
            break
    near = {
        (i, j): (rows[i][0] ^ rows[j][0]).bit_count()
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if (fresh[i] or fresh[j]) and rows[i][0] & 6 == rows[j][0] & 6
    }
    assert place[2] == sum(differing <= limit for differing in near.values())
    assert sorted(pairs) == [
        (i, j)
        for (i, j), differing in near.items()
        if differing <= limit * (shares[component[i]] if component[i] == component[j] else 1)
    ]


@a_few
@given(TEXTS)
def test_folds_differ_in_no_more_bits_than_sets_in_shingles(texts):
    sets = ShingleSets.of(texts)
    folds = agreed(BOTH, "fold_shingles", sets.shingles, sets.ends, np.ones((len(texts), 1), np.uint64))[-1]
    parts = [set(part.tolist()) for part in np.split(sets.shingles, sets.ends)[:-1]]
    for one, shingles in zip(folds[:, 0].tolist(), parts, strict=True):
        for other, other_shingles in zip(folds[:, 0].tolist(), parts, strict=True):
            apart, alone = (one ^ other).bit_count(), len(shingles ^ other_shingles)
            assert apart <= alone
            assert (alone - apart) % 2 == 0
            assert apart or len(shingles ^ other_shingles) != 1


@a_few
@given(TEXTS)
@example(["aaaab", "", "aaa"])
def test_shingles_are_the_sets_of_three_letters_that_follow_each_other(texts):
    letters, ends = letters_of(texts)
    _, _, _, shingles, shingle_ends = agreed(
        BOTH, "shingle", letters, ends, np.zeros(len(letters), np.uint64), np.zeros(len(texts), np.int64)
    )
    for text, part in zip(texts, np.split(shingles, shingle_ends)[:-1], strict=True):
        codes = {tuple(map(ord, text[place : place + 3])) for place in range(len(text) - 2)}
        assert part.tolist() == sorted(a << 42 | b << 21 | c for a, b, c in codes)


@a_few
@given(TEXTS, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@example(["aa a", "aa"], 0.5)  # at the threshold
def test_common_shingles_and_bands_of_signatures_are_those_of_python(texts, least):
    sets = ShingleSets.of(texts)
    left, right = (side.ravel() for side in np.mgrid[: len(texts), : len(texts)])
    common = agreed(BOTH, "intersect", sets.shingles, sets.ends, left, right, least, np.zeros(len(left), np.int64))[-1]
    parts = [set(part.tolist()) for part in np.split(sets.shingles, sets.ends)[:-1]]
    for i, j, count in zip(left, right, common, strict=True):
        shared, either = len(parts[i] & parts[j]), len(parts[i] | parts[j])
        assert count == (shared if shared >= least * either else 0)
    factors, offsets = (seeded_words(name, 4).reshape(2, 2) | np.uint64(1) for name in "fo")
    bands = agreed(BOTH, "band", sets.shingles, sets.ends, factors, offsets, np.zeros((len(texts), 2), np.uint64))[-1]
    for i, j in zip(left, right, strict=True):
        assert parts[i] != parts[j] or (bands[i] == bands[j]).all()


@settings(max_examples=10)
@given(SEEDS, st.integers(4, 12), st.integers(0, 2), st.sampled_from([0.0, 200.0, 1e9]))
def test_a_tree_of_colours_holds_each_row_once_in_the_box_of_its_node(rng, n, depth, narrow):
    sketches = rng.integers(0, 255, (n, kernels.WIDTH), dtype=np.uint8)  # 255 + 1 is 0 in Python's copy
    spans = np.zeros((2 ** (depth + 1) - 1, 2), np.int64)
    _, _, rows, spans, _ = agreed(BOTH, "grow_tree", sketches, np.arange(n), spans, narrow)
    assert sorted(rows) == list(range(n))
    boxes = np.zeros((2, len(spans), kernels.WIDTH), np.uint8)
    *_, low, high = agreed(BOTH, "fill_boxes", sketches[rows], spans, *boxes)
    for node, (begin, end) in enumerate(spans):
        part = sketches[rows[begin:end]]
        assert not len(part) or ((low[node] == part.min(0)).all() and (high[node] == part.max(0)).all())


@a_few
@given(SEEDS, st.integers(1, 600), st.sampled_from([0, 3, 22]), st.sampled_from([0, 4]))
@example(np.random.default_rng(1), 600, 22, 4)  # a tree of four leaves
def test_pictures_of_near_colours_and_hashes_are_found_in_any_order_and_none_is_missed(rng, n, limit, distance):
    grids = rng.integers(0, 252, (3, 768), dtype=np.uint8)[rng.integers(0, 3, n)]
    grids += rng.integers(0, 5, (n, 1), dtype=np.uint8)
    hashes = words([0, 1, 2**63 - 1])[rng.integers(0, 3, n)]
    order = rng.permutation(n)
    pairs = [pair for part in colour_pairs(grids, limit, hashes, distance) for pair in zip(*part, strict=True)]
    shuffled = colour_pairs(grids[order], limit, hashes[order], distance)
    again = [tuple(sorted(pair)) for part in shuffled for pair in zip(*(order[side] for side in part), strict=True)]
    apart = np.stack([np.abs(grids[:, :40].astype(np.int16) - grid[:40]).max(1) for grid in grids])
    near = (apart <= limit) & (np.bitwise_count(hashes[:, None] ^ hashes) <= distance)
    assert sorted(pairs) == sorted(again) == list(zip(*np.nonzero(np.triu(near, 1)), strict=True))


@settings(max_examples=12)
@given(SEEDS, st.sampled_from([4.0, 16.0, 255.0]))
def test_changes_of_colour_are_those_of_python_and_the_same_both_ways(rng, limit):
    grids = rng.integers(0, 256, (6, 6), dtype=np.uint8)
    grids[1] = (grids[0] * 0.9 + 0.5).astype(np.uint8)
    grids[2] = grids[0]
    left, right = np.array([0, 0, 0, 3, 1]), np.array([1, 2, 3, 4, 5])
    blank = np.zeros((2, 5), np.int64)
    *_, family, levels = agreed(BOTH, "fill_shifts", grids, left, right, limit, *blank)
    *_, family_back, levels_back = agreed(BOTH, "fill_shifts", grids, right, left, limit, *blank)
    assert (family == family_back).all()
    assert (levels == levels_back).all()
    assert levels[0] <= 1
    assert levels[1] == 0
    assert ((family == 0) == (levels > limit)).all()
