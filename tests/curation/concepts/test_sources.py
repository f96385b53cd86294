import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.concepts.sources import MetadataRule, offer_bigrams, offer_titles, offer_unigrams, synset_names
from evenly.curation.errors import ColumnsError, RuleError


def counted(counts: dict[str, int | None], value: str = "count") -> pa.Table:
    return pa.table({"entry": pa.array(list(counts), pa.string()), value: pa.array(list(counts.values()), pa.int64())})


def gone(offer) -> dict[str, str]:
    return dict(zip(offer.left_out["entry"].to_pylist(), offer.left_out["why"].to_pylist(), strict=True))


SYNSETS = pa.table(
    {"synset": ["n1", "n2", "n3", "n4"], "lemmas": [["Black_Dog", "cur"], ["U.S.", "America"], [".22_caliber"], []]}
)


def test_all_lemmas_of_a_synset_are_names_or_the_first_as_metaclip_cuts_it():
    every = [("Black Dog", "n1"), ("cur", "n1"), ("U.S.", "n2"), ("America", "n2"), (".22 caliber", "n3")]
    assert list(synset_names(SYNSETS)) == every
    assert list(synset_names(SYNSETS, "first")) == [("black dog", "n1"), ("u", "n2"), ("", "n3")]


def test_words_stand_by_falling_count_and_equal_ones_by_their_text():
    offer = offer_unigrams(counted({"b": 100, "c": 300, "B": 100, "a": 100, "d": 99}), MetadataRule(unigram_cap=3))
    assert offer.entries.to_pylist() == [
        {"entry": "c", "count": 300},
        {"entry": "B", "count": 100},
        {"entry": "a", "count": 100},
    ]
    assert gone(offer) == {"b": "beyond_cap", "d": "below_min_count"}


def test_a_word_given_twice_counts_once_with_the_sum():
    offer = offer_unigrams(counted({"dog": 60, " dog\t": 40, "cat": 99}), MetadataRule())
    assert offer.entries.to_pylist() == [{"entry": "dog", "count": 100}]


def test_a_share_is_of_the_distinct_words_and_exact():
    """0.29 * 100 is 28.999999999999996 in floating point."""
    offer = offer_unigrams(
        counted({f"w{n:03}": n for n in range(1, 101)}), MetadataRule(min_unigram_count=1, top_unigram_share=0.29)
    )
    assert offer.entries.num_rows == 29
    assert set(gone(offer).values()) == {"beyond_top_share"}


WORDS = counted({"new": 4, "york": 4, "city": 8, "the": 1024})
PAIRS = counted({"new york": 4, "york city": 2, "the city": 8, "los angeles": 4, "city new": 2})


def test_pairs_stand_by_falling_pmi_at_or_above_the_least():
    """1040 words: new york log2(260), york city and city new log2(65), the city log2(1.015625)."""
    offer = offer_bigrams(PAIRS, WORDS, 1040, MetadataRule(min_pmi=6.022367813028454))
    assert offer.entries.to_pylist() == [
        {"entry": "new york", "count": 4, "pmi": pytest.approx(8.022367813028454)},
        {"entry": "city new", "count": 2, "pmi": 6.022367813028454},
        {"entry": "york city", "count": 2, "pmi": 6.022367813028454},
    ]
    assert gone(offer) == {"the city": "below_min_pmi", "los angeles": "no_unigram_count"}
    assert offer.facts["highest_pmi"] == 8.0224
    assert offer.facts["pairs_by_pmi"] == {"30": 0, "25": 0, "20": 0, "15": 0, "10": 0, "5": 3, "0": 4}
    capped = offer_bigrams(PAIRS, WORDS, 1040, MetadataRule(min_pmi=0, bigram_cap=2))
    assert capped.entries["entry"].to_pylist() == ["new york", "city new"]
    assert gone(capped)["york city"] == "beyond_cap"


def test_pairs_that_are_too_rare_stay_out_however_strong():
    offer = offer_bigrams(PAIRS, WORDS, 1040, MetadataRule(min_pmi=6, min_bigram_count=4))
    assert offer.entries["entry"].to_pylist() == ["new york"]
    assert gone(offer) == {
        "city new": "below_min_count",
        "york city": "below_min_count",
        "the city": "below_min_pmi",
        "los angeles": "no_unigram_count",
    }
    assert offer.facts["pairs_by_pmi"]["5"] == 1


def test_what_is_no_word_stays_out_with_its_own_reason():
    refused = pa.table({"entry": ["<s> a", "00", "00"], "count": [4, 5, 6], "why": ["mark", "shape", "shape"]})
    words = offer_unigrams(counted({"dog": 100, "cat": 1}), MetadataRule(), refused=refused)
    assert words.left_out.to_pylist() == [
        {"entry": "00", "count": 11, "why": "shape"},
        {"entry": "<s> a", "count": 4, "why": "mark"},
        {"entry": "cat", "count": 1, "why": "below_min_count"},
    ]
    pairs = offer_bigrams(PAIRS, WORDS, 1040, MetadataRule(min_pmi=-9), refused=refused)
    assert gone(pairs) == {"00": "shape", "<s> a": "mark", "los angeles": "no_unigram_count"}
    assert pairs.left_out["pmi"].null_count == 3


def test_titles_lose_underscores_and_namespaces_and_add_up_their_views():
    views = {"New_York": 40, "New York": 40, "Talk:Dog": 900, "Dog": 70, "Cat": 69}
    offer = offer_titles(counted(views, "views"), MetadataRule())
    assert offer.entries.to_pylist() == [{"entry": "New York", "views": 80}, {"entry": "Dog", "views": 70}]
    assert gone(offer) == {"Talk:Dog": "holds_a_colon", "Cat": "below_min_views"}


def test_titles_without_views_stand_by_their_text_below_no_threshold():
    offer = offer_titles(counted({"b": None, "a": None, "c": None}, "views"), MetadataRule(title_cap=2))
    assert offer.entries["entry"].to_pylist() == ["a", "b"]
    assert gone(offer) == {"c": "beyond_cap"}


def test_a_pair_at_the_least_pmi_itself_stays_for_metaclip_and_goes_for_metaclip_2():
    kept = {}
    for language in ("en", "fr"):
        rule = MetadataRule.of_language(language, min_pmi=6.022367813028454)
        offer = offer_bigrams(PAIRS, WORDS, 1040, rule)
        kept[language] = offer.entries["entry"].to_pylist()
    assert kept == {"en": ["new york", "city new", "york city"], "fr": ["new york"]}
    assert gone(offer)["york city"] == "below_min_pmi"
    assert not MetadataRule.of_language("fr", pmi_above_least=False).pmi_above_least


def test_thresholds_follow_the_paper_of_the_language():
    english, french = MetadataRule.of_language("en", max_entries=None), MetadataRule.of_language("fr", min_pmi=20.0)
    assert (english.min_unigram_count, english.top_unigram_share, english.title_min_views) == (100, 1.0, 70)
    assert (english.unigram_cap, english.bigram_cap, english.title_cap, english.max_entries) == (
        251_465,
        100_646,
        61_235,
        500_000,
    )
    assert (french.min_unigram_count, french.top_unigram_share, french.top_title_share, french.min_pmi) == (
        1,
        0.1,
        0.76,
        20,
    )


def test_the_caps_of_english_leave_room_for_the_names_of_wordnet():
    english = MetadataRule.of_language("en")
    full = english.unigram_cap + english.bigram_cap + english.title_cap
    assert (
        english.max_entries - full == 86_654
    )  # of which evenly.storage.files.wordnets gives the first names and numbers
    assert (english.min_pmi, english.max_characters, english.numbers) == (30, 256, True)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"lemmas": "some"}, "`lemmas` must be one of all, first; got 'some'"),
        ({"top_unigram_share": 0.0}, "`top_unigram_share` must be above 0"),
        ({"top_title_share": float("nan")}, "`top_title_share` must be above 0"),
        ({"min_pmi": float("nan")}, "`min_pmi` must be a number"),
        ({"bigram_cap": 0}, "`bigram_cap` must be at least 1; got 0"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(values, match):
    with pytest.raises(RuleError, match=match):
        MetadataRule(**values)


def test_a_pair_of_another_number_of_words_is_refused():
    with pytest.raises(ColumnsError, match="two words"):
        offer_bigrams(counted({"a b c": 1}), WORDS, 10, MetadataRule())


COUNTS = st.dictionaries(st.text("abC", min_size=1, max_size=2), st.integers(0, 4), max_size=12)


@settings(deadline=None)
@given(COUNTS, st.integers(0, 4), st.sampled_from([0.1, 0.5, 1.0]), st.integers(1, 12))
def test_each_word_is_offered_or_left_out_whatever_the_order_of_the_file(counts, least, share, cap):
    rule = MetadataRule(min_unigram_count=least, top_unigram_share=share, unigram_cap=cap)
    offer = offer_unigrams(counted(counts), rule)
    named = offer.entries["entry"].to_pylist()
    assert sorted(named + list(gone(offer))) == sorted(counts)
    assert named == sorted(named, key=lambda word: (-counts[word], word))
    again = offer_unigrams(counted(dict(reversed(counts.items()))), rule)
    assert (again.entries, again.left_out) == (offer.entries, offer.left_out)
