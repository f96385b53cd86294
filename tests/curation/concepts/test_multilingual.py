import re

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.curation.concepts.matching import Matcher, normalised
from evenly.curation.concepts.multilingual import (
    MultilingualMatcher,
    padded,
    unmatchable_by_language,
    unmatchable_in_language,
)
from evenly.curation.errors import ColumnsError, RuleError

# Letters of scripts with and without spaces, marks of both, and what spacing changes.
LETTERS = "a b.,\t-、。「中国犬のイヌ한กา້ລາမခ្មែརབོད\U00020000\U0001f600ｱ"
ENTRIES = st.lists(st.text(alphabet=LETTERS, max_size=5), max_size=10)
CAPTIONS = st.lists(st.text(alphabet=LETTERS, max_size=24), max_size=5)


def spacing(text):
    text = f" {text} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\n\r":
        text = text.replace(blank, " ")
    return text


def matched(entries, captions, mode="faithful"):
    found = MultilingualMatcher({"zh": entries}, mode).match(
        pa.array(captions, pa.string()), pa.array(["zh"] * len(captions), pa.string())
    )
    assert found.type == pa.list_(pa.int32())
    return found.to_pylist()


def by_brute_force(entries, captions):
    patterns = [padded(entry) for entry in dict.fromkeys(entries)]
    return [[i for i, pattern in enumerate(patterns) if pattern in spacing(caption)] for caption in captions]


@pytest.mark.parametrize(
    ("entry", "pattern"),
    [
        ("狗", "狗"),
        ("black dog", " black dog "),
        ("T恤", " T恤"),
        ("卡拉OK", "卡拉OK "),
        ("สุนัข", "สุนัข"),
        ("ໝາ", "ໝາ"),
        ("ခွေး", "ခွေး"),
        ("ឆ្កែ", "ឆ្កែ"),
        ("ཁྱི", "ཁྱི"),
        ("いぬ", "いぬ"),
        ("イヌ", "イヌ"),
        ("개", " 개 "),
        ("U.S.", " U.S."),
        ("(dog)", "(dog)"),
        ("C++", " C++ "),
        (".", "."),
        ("", "  "),
        ("\U00020000", "\U00020000"),
    ],
)
def test_a_side_is_padded_unless_its_edge_is_of_a_script_without_spaces_or_punctuation(entry, pattern):
    assert padded(entry) == pattern


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("一只黑狗在草地上", ["狗", "黑狗", "草地"]),
        ("我的T恤", []),
        ("我的 T恤", ["T恤"]),
        ("卡拉OK厅", []),
        ("卡拉OK,狗", ["狗", "卡拉OK"]),
        ("dog狗", ["狗"]),
        ("dog 狗", ["狗", "dog"]),
        ("热.狗", ["狗"]),
        ("热狗", ["狗", "热狗"]),
    ],
)
def test_entries_without_spaces_match_anywhere(caption, names):
    entries = ["狗", "黑狗", "草地", "T恤", "卡拉OK", "dog", "热狗"]
    (ids,) = matched(entries, [caption])
    assert [entries[i] for i in ids] == names


@given(ENTRIES, CAPTIONS)
@example(["", " ", "中", "中 国"], ["中", "", "中 国", "中.国", "a  b"])
@example(["。", "-", "a-", "-a", ".a", "a."], ["a-a", "-a", "a.", ".a", "。a"])
def test_matching_equals_substring_search(entries, captions):
    assert matched(entries, captions) == by_brute_force(entries, captions)


@given(st.lists(st.text(max_size=6), max_size=8), st.lists(st.text(max_size=20), max_size=4))
def test_matching_equals_substring_search_on_any_text(entries, captions):
    captions = [*captions, "".join(entries)]
    assert matched(entries, captions) == by_brute_force(entries, captions)


@given(
    st.lists(st.text(alphabet="中国犬", min_size=1, max_size=3), max_size=10), st.text(alphabet="中国犬a ", max_size=30)
)
def test_matching_equals_substring_search_on_dense_hits(entries, caption):
    assert matched(entries, [caption]) == by_brute_force(entries, [caption])


@pytest.mark.parametrize("caption", ["中" * 50_000, "中国" * 25_000, "中,a " * 12_500], ids=["one", "two", "mixed"])
def test_captions_of_50000_characters_are_matched_whole_among_short_ones(caption):
    entries = ["中", "中中", "中国", "国中" * 100, "a", "中 , a", "中" * 256]
    captions = ["中", caption, "国中a", ""]
    assert matched(entries, captions) == by_brute_force(entries, captions)


@given(
    st.lists(st.text(alphabet="abAé.,-'+ ", max_size=6), max_size=8),
    st.lists(st.text(alphabet="abAé.,-'+ ", max_size=20), max_size=4),
)
def test_with_padding_on_both_sides_it_is_version_1(entries, captions):
    entries = [entry for entry in dict.fromkeys(entries) if padded(entry) == f" {entry} "]
    assert matched(entries, captions) == Matcher(entries).match(pa.array(captions, pa.string())).to_pylist()


@given(ENTRIES, CAPTIONS)
@example(["Ｔ恤", "!"], ["t恤"])
def test_normalized_mode_equals_substring_search_in_normalised_text(entries, captions):
    keys = [normalised(entry) for entry in dict.fromkeys(entries)]
    found = [
        [i for i, key in enumerate(keys) if key and keys.index(key) == i and padded(key) in f" {normalised(caption)} "]
        for caption in captions
    ]
    assert matched(entries, captions, "normalized") == found


@given(st.text(alphabet="ab 狗。.,:!\t", max_size=8))
@example(".  .")
@example(". .")
@example("a .狗")
def test_an_entry_is_called_unmatchable_exactly_where_its_own_best_caption_does_not_match(entry):
    best = re.sub(" ?([,.;:?!`]) ?", r"\1", padded(entry))  # a mark brings its own spaces
    assert bool(unmatchable_in_language(entry, "faithful")) == (matched([entry], [best]) == [[]])


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("狗。", ""),
        (".", ""),
        ("。.", "mark_inside_a_word"),
        (". !", "marks_one_space_apart"),
        ("U.S.", "mark_inside_a_word"),
    ],
)
def test_why_no_caption_can_match_an_entry_of_a_language(entry, why):
    assert unmatchable_in_language(entry, "faithful") == why


def test_entries_that_no_caption_can_match_are_told_by_language():
    lists = {"en": ["U.S.", "dog", "\U0001f600"], "zh": ["狗", "热.狗"]}
    assert unmatchable_by_language(lists, "faithful").to_pylist() == [
        {"language": "en", "entry": "U.S.", "why": "mark_inside_a_word"},
        {"language": "zh", "entry": "热.狗", "why": "mark_inside_a_word"},
    ]
    assert unmatchable_by_language(lists, "normalized").to_pylist() == [
        {"language": "en", "entry": "\U0001f600", "why": "nothing_left_after_normalising", "same_as": None}
    ]


def test_of_the_same_entries_of_a_language_the_one_first_named_by_any_is_found():
    lists = {"en": ["Cat", "DOG"], "fr": ["chat", "dog", "cat", "Cat", "Chat"]}
    matcher = MultilingualMatcher(lists, "normalized")
    captions, languages = pa.array(["a cat, a dog", "cat dog chat"]), pa.array(["en", "fr"])
    assert matcher.entries == ("Cat", "DOG", "chat", "dog", "cat", "Chat")
    assert matcher.match(captions, languages).to_pylist() == [[0, 1], [0, 2, 3]]
    assert unmatchable_by_language(lists, "normalized").to_pylist() == [
        {"language": "fr", "entry": "cat", "why": "same_as_an_earlier_entry", "same_as": "Cat"},
        {"language": "fr", "entry": "Chat", "why": "same_as_an_earlier_entry", "same_as": "chat"},
    ]


def test_each_caption_is_matched_against_its_language_alone():
    matcher = MultilingualMatcher({"en": ["dog", "cat"], "zh": ["狗"], "fr": ["chat", "cat"]})
    captions = pa.array(["chat dog cat 狗", "chat dog cat 狗", "chat dog cat 狗", None, "dog", "dog", "dog cat"])
    languages = pa.array(["zh", "fr", "en", "en", None, "de", "en"])
    assert matcher.entries == ("dog", "cat", "狗", "chat")
    assert matcher.match(captions, languages).to_pylist() == [[2], [1, 3], [0, 1], [], [], [], [0, 1]]
    assert matcher.knows(languages).to_pylist() == [True, True, True, True, False, False, True]


def test_no_captions_and_no_lists_name_nothing():
    nothing = pa.array([], pa.string())
    assert MultilingualMatcher({"en": ["dog"]}).match(nothing, nothing).to_pylist() == []
    assert MultilingualMatcher({}).match(pa.array(["dog"]), pa.array(["en"])).to_pylist() == [[]]
    assert MultilingualMatcher({"en": []}).match(pa.array(["dog 狗"]), pa.array(["en"])).to_pylist() == [[]]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_back_in_order(workers):
    matcher = MultilingualMatcher({"en": ["dog"], "zh": ["狗"]})
    batches = [(pa.array(["dog", "狗"] * n), pa.array(["en", "zh"] * n)) for n in range(1, 12)]
    found = [lists.to_pylist() for lists in matcher.match_batches(batches, workers=workers)]
    assert found == [[[0], [1]] * n for n in range(1, 12)]


def test_captions_and_languages_of_unequal_length_and_unknown_modes_are_refused():
    with pytest.raises(ColumnsError, match="equally long; got 1 and 2"):
        MultilingualMatcher({"en": ["dog"]}).match(pa.array(["dog"]), pa.array(["en", "en"]))
    with pytest.raises(RuleError, match="got 'fuzzy'"):
        MultilingualMatcher({"en": ["dog"]}, "fuzzy")
