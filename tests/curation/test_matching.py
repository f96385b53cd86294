import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.errors import RuleError
from curation.matching import Matcher, normalised, unmatchable_because

GOLDEN_ENTRIES = ["dog", "black dog", "T-shirt", "New York", "cat", ".", "a", "dog's", "C++", "U.S.", "Mr. Bean"]
GOLDEN_ENTRIES += ["lab-coat"]
GOLDEN = [  # methods/curation.md section 2.2: behaviour of the official code
    ("dog", ["dog"]),
    ("Black dog.", ["dog", "."]),
    ("black dog, cat", ["dog", "black dog", "cat"]),
    ("black  dog", ["dog"]),
    ("dogs", []),
    ("dog's bed", ["dog's"]),
    ("Adult T-shirt", ["T-shirt"]),
    ("in New York!", ["New York"]),
    ("(dog)", []),
    ("dog-cat", []),
    ("dog/cat", []),
    ('"dog"', []),
    ("dog\u2026cat", []),
    ("C++ code", ["C++"]),
    ("the U.S. flag", ["."]),
    ("Mr. Bean", ["."]),
    ("lab-coat\ton a", ["a", "lab-coat"]),
]

AWKWARD = st.text(alphabet="abA .,;:?!`\t\n\r'-\u00a0\u3000\u2026\u0301\u00df\u0130", max_size=14)


def matched(entries, captions, **options):
    found = Matcher(entries, **options).match(pa.array(captions, pa.string()))
    assert found.type == pa.list_(pa.int32())
    return found.to_pylist()


def spacing(text):
    """The spacing of methods/curation.md section 2.2, written out step by step."""
    text = f" {text} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\n\r":
        text = text.replace(blank, " ")
    return text


def by_brute_force(entries, captions):
    return [[i for i, entry in enumerate(entries) if f" {entry} " in spacing(caption)] for caption in captions]


@pytest.mark.parametrize(("caption", "names"), GOLDEN)
def test_faithful_mode_matches_as_metaclip(caption, names):
    (ids,) = matched(GOLDEN_ENTRIES, [caption])
    assert [GOLDEN_ENTRIES[i] for i in ids] == names


@given(st.lists(AWKWARD, max_size=8), st.lists(AWKWARD, max_size=6))
@example([""], [""])
@example([" ", "a  b", "a b", "a b"], ["a  b", " ", "a.b"])
def test_faithful_mode_equals_brute_force(entries, captions):
    assert matched(entries, captions) == by_brute_force(entries, captions)


@given(st.lists(st.sampled_from(["a", "b", ".", " ", "a b", "b a", ","]), max_size=12).map("".join))
def test_faithful_mode_equals_brute_force_on_dense_hits(caption):
    entries = ["a", "b", "a b", "b a", "a b a", ".", "a .", ". b", ",", "a , b", " ", "", "b  a", "."]
    assert matched(entries, [caption]) == by_brute_force(entries, [caption])


@given(AWKWARD)
def test_an_entry_is_called_unmatchable_only_if_its_own_best_caption_does_not_match(entry):
    joined = entry
    for mark in ",.;:?!`":  # a mark brings its own spaces
        joined = joined.replace(f" {mark} ", mark).replace(f" {mark}", mark).replace(f"{mark} ", mark)
    candidates = [entry, joined, entry.replace("  ", " "), f"{entry} ", f" {entry}"]
    (hit,) = [any(matched([entry], candidates))]
    if unmatchable_because(entry, "faithful"):
        assert not hit
    elif not any(mark in entry for mark in ",.;:?!`"):
        assert hit


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("U.S.", "mark_inside_a_word"),
        ("Mr. Bean", "mark_inside_a_word"),
        (". .", "marks_one_space_apart"),
        (".  .", ""),
        ("a , b", ""),
        ("a\tb", "holds_a_tab_or_line_break"),
        ("T-shirt", ""),
        (".", ""),
    ],
)
def test_why_no_caption_can_match(entry, why):
    assert unmatchable_because(entry, "faithful") == why


def test_marks_with_room_between_them_do_match():
    assert matched([".  .", "a , b"], ["..", "a,b"]) == [[0], [1]]


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("Black DOG.", ["dog", "black dog"]),
        ("black  dog", ["dog", "black dog"]),
        ("(dog)", ["dog"]),
        ("dog-cat", ["dog", "cat"]),
        ("dog\u2026cat", ["dog", "cat"]),
        ("adult t-shirt", ["T-shirt"]),
        ("the U.S. flag", ["U.S."]),
        ("Mr. Bean!", ["Mr. Bean"]),
        ("C++ code", ["C++"]),
        ("the letter c", []),
        ("\uff24\uff2f\uff27", ["dog"]),
        ("d\u00adog", ["dog"]),
        ("dogs", []),
        (".", []),
    ],
)
def test_normalized_mode_looks_past_case_marks_and_spaces(caption, names):
    (ids,) = matched(GOLDEN_ENTRIES, [caption], mode="normalized")
    assert [GOLDEN_ENTRIES[i] for i in ids] == names


@pytest.mark.parametrize(
    ("entry", "caption"),
    [("black dog", "two black dogs"), ("box", "boxes"), ("cherry", "Cherries!"), ("day", "days"), ("glass", "glasses")],
)
def test_plain_plurals_are_found_when_asked_for(entry, caption):
    assert matched([entry], [caption], mode="normalized", plurals=True) == [[0]]
    assert matched([entry], [caption], mode="normalized") == [[]]


def test_plurals_leave_short_words_and_plurals_alone():
    assert matched(["ox", "dogs", "New York"], ["oxs dogss new yorks"], mode="normalized", plurals=True) == [[2]]


@given(st.text(max_size=20))
@example("\u0345\u0300\u0130\u1e9e")
def test_normalising_twice_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(max_size=20))
def test_normalised_text_holds_no_upper_case_and_no_blank_but_single_spaces(text):
    result = normalised(text)
    assert result == " ".join(result.split())
    assert not any(unicodedata.category(character) == "Cf" for character in result)
    assert result == result.casefold()


@given(st.lists(AWKWARD, max_size=5), st.lists(AWKWARD, max_size=6), st.sampled_from(["faithful", "normalized"]))
def test_ids_are_sorted_and_unique_and_every_caption_has_a_list(entries, captions, mode):
    found = matched(entries, captions, mode=mode)
    assert len(found) == len(captions)
    assert all(ids == sorted(set(ids)) for ids in found)


def test_every_entry_that_can_match_matches_itself_in_normalized_mode():
    entries = [entry for entry in GOLDEN_ENTRIES if not unmatchable_because(entry, "normalized")]
    assert [i in ids for i, ids in enumerate(matched(entries, entries, mode="normalized"))] == [True] * len(entries)


def test_null_captions_and_no_captions_name_nothing():
    assert matched(["dog"], [None, "dog"]) == [[], [0]]
    assert matched(["dog"], []) == []


@pytest.mark.parametrize(("options", "text"), [({"mode": "fuzzy"}, "got 'fuzzy'"), ({"plurals": True}, "must be off")])
def test_impossible_options_are_refused(options, text):
    with pytest.raises(RuleError, match=text):
        Matcher(["dog"], **options)
