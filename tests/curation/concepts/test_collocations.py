import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.concepts.collocations import WordCounter, pair_pmi
from evenly.curation.concepts.matching import Matcher
from evenly.curation.errors import ColumnsError


def counted(captions, mode="faithful", cut=None):
    counter = WordCounter(mode)
    cut = cut or max(len(captions), 1)
    for start in range(0, len(captions), cut):
        counter.add(pa.array(captions[start : start + cut], pa.string()))
    return counter


def as_dict(table):
    return dict(zip(table["entry"].to_pylist(), table["count"].to_pylist(), strict=True))


CORPUS = ["New York city", "New York, a city", None, "", "a New  York city - New York"]


def test_words_and_pairs_are_those_that_faithful_matching_finds():
    counter = counted(CORPUS)
    assert as_dict(counter.words()) == {"New": 4, "York": 4, "a": 2, "city": 3}
    assert as_dict(counter.pairs()) == {"New York": 3, "York city": 2, "a New": 1, "a city": 1}


def test_words_and_pairs_in_normalized_mode_cross_marks():
    counter = counted(CORPUS, "normalized")
    assert as_dict(counter.words()) == {"new": 4, "york": 4, "a": 2, "city": 3}
    pairs = {"new york": 4, "york city": 2, "york a": 1, "a city": 1, "a new": 1, "city new": 1}
    assert as_dict(counter.pairs()) == pairs


def test_pmi_of_a_corpus_counted_by_hand():
    """13 words: New York stands 3 times, New and York 4 times each: log2(3 * 13 / 16)."""
    counter = counted(CORPUS)
    words, pairs = counter.words(), counter.pairs()
    pmi = dict(zip(pairs["entry"].to_pylist(), pair_pmi(pairs, words, 13).to_pylist(), strict=True))
    assert pmi == {
        "New York": math.log2(39 / 16),
        "York city": math.log2(26 / 12),
        "a New": math.log2(13 / 8),
        "a city": math.log2(13 / 6),
    }


def test_pmi_is_exact_at_a_power_of_two():
    """3 * 5 * 2^30 / (3 * 5): subtracting the logarithms, as nltk does, gives 29.999999999999996 and misses 30."""
    words = pa.table({"entry": ["a", "b"], "count": [3, 5]})
    pairs = pa.table({"entry": ["a b"], "count": [3]})
    assert math.log2(15 * 2**30) - math.log2(15) < 30
    assert pair_pmi(pairs, words, 5 * 2**30).to_pylist() == [30.0]
    assert pair_pmi(pairs, words, 5 * 2**30 - 1).to_pylist()[0] < 30


def test_a_pair_whose_word_was_not_counted_has_no_pmi():
    words = pa.table({"entry": ["a", "b"], "count": [1, 0]})
    pairs = pa.table({"entry": ["a b", "a c", "a a"], "count": [1, 1, 0]})
    assert pair_pmi(pairs, words, 10).to_pylist() == [None, None, None]


TEXTS = st.lists(st.one_of(st.none(), st.text(alphabet="aB1 ,.-\t\n", max_size=12)), max_size=12)


@given(TEXTS, st.sampled_from(["faithful", "normalized"]), st.integers(1, 5))
def test_batches_and_order_of_captions_change_nothing(captions, mode, cut):
    whole = counted(captions, mode)
    cut_up = counted(captions[::-1], mode, cut)
    assert whole.words() == cut_up.words()
    assert whole.pairs() == cut_up.pairs()


@settings(max_examples=200, deadline=None)  # matching compiles on its first call
@given(TEXTS, st.sampled_from(["faithful", "normalized"]))
def test_what_is_counted_is_what_a_matcher_finds(captions, mode):
    counter = counted(captions, mode)
    entries = [*as_dict(counter.words()), *as_dict(counter.pairs())]
    found = Matcher(entries, mode).match(pa.array(captions, pa.string())).to_pylist()
    seen = {entries[one] for row in found for one in row or ()}
    assert seen == set(entries)


def test_many_batches_are_merged_into_the_same_counts(monkeypatch):
    monkeypatch.setattr("evenly.curation.concepts.collocations._MERGE_AT", 2)
    captions = [f"word{n % 7} word{n % 3}" for n in range(100)]
    assert counted(captions, cut=1).pairs() == counted(captions).pairs()


def test_no_captions_give_empty_tables():
    counter = counted([])
    assert counter.words().num_rows == counter.pairs().num_rows == 0
    assert counter.pairs().schema == pa.schema({"entry": pa.string(), "count": pa.int64()})


def test_a_pair_of_three_words_is_refused():
    with pytest.raises(ColumnsError, match="two words and a space between; got 'a b c'"):
        pair_pmi(pa.table({"entry": ["a b c"], "count": [1]}), pa.table({"entry": ["a"], "count": [1]}), 1)
