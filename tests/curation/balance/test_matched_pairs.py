import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.balance.matched_pairs import MatchedPairs, count_entries, count_matches
from evenly.curation.errors import ColumnsError


def lists(rows):
    return pa.array(rows, pa.list_(pa.int32()))


def pairs_of(rows, n_entries=5, language=None):
    uids = [f"{i:032x}" for i in range(len(rows))]
    concepts = [f"entry {e}" for e in range(n_entries)]
    column = None if language is None else pa.array(language, pa.string())
    return MatchedPairs.of(uids, lists(rows), concepts, language=column)


def test_counts_are_pairs_per_entry():
    rows = [[0, 2], [], [2], None]
    assert count_entries(lists(rows), 4).tolist() == [1, 0, 2, 0]
    assert count_matches(pairs_of(rows, 4)).tolist() == [[1, 0, 2, 0]]
    assert count_matches(pairs_of(rows, 4), np.array([0.5, 9, 2, 9])).tolist() == [[0.5, 0, 2.5, 0]]


def test_each_language_counts_its_own_pairs_and_a_pair_without_one_counts_as_unnamed():
    pairs = pairs_of([[0, 1], [1], [1], [0]], 2, ["en", "de", None, "en"])
    assert pairs.languages == ("", "de", "en")
    assert count_matches(pairs).tolist() == [[0, 1], [0, 1], [2, 1]]


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 4)), st.floats(1, 1e4), st.sampled_from(["en", "de", None])), max_size=20
    ),
    st.lists(st.integers(0, 20), max_size=4),
    st.randoms(use_true_random=False),
)
def test_counts_of_shards_add_up_to_the_bit_in_any_order(rows, cuts, chance):
    weights = np.array([weight for _, weight, _ in rows])
    whole = pairs_of([sorted(ids) for ids, _, _ in rows], 5, [language for _, _, language in rows])
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    shards = list(itertools.pairwise(bounds))
    chance.shuffle(shards)
    parts = [count_matches(whole.part(start, stop), weights[start:stop]) for start, stop in shards]
    assert sum(parts, np.zeros(whole.table_shape)).tolist() == count_matches(whole, weights).tolist()


def test_weights_that_are_no_round_numbers_add_up_to_the_bit_too():
    whole, weights = pairs_of([[0]] * 999, 1), 3.0 / np.arange(1, 1000)
    parts = [count_matches(whole.part(i, i + 9), weights[i : i + 9])[0, 0] for i in range(0, 999, 9)]
    total = count_matches(whole, weights)[0, 0]
    assert total == pytest.approx(weights.sum(), abs=999 * 2**-21)
    assert {sum(parts), sum(reversed(parts)), sum(sorted(parts))} == {total}


def test_an_empty_shard_counts_nothing():
    pairs = pairs_of([[0, 1], [1]])
    assert len(pairs.part(1, 1)) == 0
    assert not count_matches(pairs.part(1, 1)).any()
    assert count_matches(pairs_of([])).tolist() == [[0] * 5]


def test_entries_with_equal_texts_are_counted_apart():
    pairs = MatchedPairs.of(["a"], lists([[0, 1]]), ["dog", "dog"])
    assert count_matches(pairs).tolist() == [[1, 1]]


def test_batches_hold_every_pair_and_match_once():
    pairs = pairs_of([[0], [1, 2], [], [3], [0, 4]])
    found = [(rows, part.uids.to_pylist(), part.numbers.tolist()) for rows, _, part in pairs.batches(2)]
    assert [numbers for _, _, numbers in found] == [[0, 1, 2], [3], [0, 4]]
    assert [uid for _, uids, _ in found for uid in uids] == pairs.uids.to_pylist()
    assert [pairs.numbers[matches].tolist() for _, matches, _ in pairs.batches(2)] == [[0, 1, 2], [3], [0, 4]]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ColumnsError, match="must be equally long; got 2 uids, 1 lists"):
        MatchedPairs.of(["a", "b"], lists([[0]]), ["dog"])
    with pytest.raises(ColumnsError, match="equally long"):
        MatchedPairs.of(["a"], lists([[0]]), ["dog"], language=pa.array(["en", "de"]))
