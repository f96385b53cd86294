import random
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.curation.concepts import matching, normalising
from evenly.curation.concepts.equal_entries import (
    IRREGULAR_PLURALS,
    english_plurals,
    first_equal,
    nameable,
    normalised_keys,
    plurals_of,
)
from evenly.curation.concepts.matching import Matcher, unmatchable_because
from evenly.curation.errors import ColumnsError, RuleError

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
# Around the sizes at which words are stored and compared in another way, with equal beginnings and ends.
LONG_WORDS = [
    middle.join(ends)
    for middle in ("", "x", "y" * 8, "z" * 9)
    for ends in (("abcdefg", "h"), ("abc", "d"), ("", "b" * 24))
]


def matched(entries, captions, **options):
    """The ids that each caption names, by compiled code and without."""
    matcher, texts = Matcher(entries, **options), pa.array(captions, pa.string())
    found = []
    for few in (0, 1 << 62):
        with pytest.MonkeyPatch.context() as patch:
            for module in (matching, normalising):
                patch.setattr(module, "is_compiled_for", lambda *_, few=few: few == 0)
            found.append(matcher.match(texts))
    assert found[0].type == pa.list_(pa.int32())
    assert found[0].equals(found[1])
    return found[0].to_pylist()


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


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.text(max_size=30), max_size=6))
@example(["na\u00efve", "\U0001f600", "\x00", "a\x00"], ["a na\u00efve \U0001f600.\x00 a", "a\x00"])
def test_faithful_mode_equals_brute_force_on_any_text(entries, captions):
    assert matched(entries, captions) == by_brute_force(entries, captions)


@given(st.lists(st.lists(st.sampled_from(LONG_WORDS), min_size=1, max_size=5).map(" ".join), max_size=12), st.data())
def test_faithful_mode_equals_brute_force_on_runs_of_long_words(entries, data):
    parts = st.lists(st.sampled_from([*LONG_WORDS, *entries, "", ","]), max_size=12).map(" ".join)
    captions = data.draw(st.lists(parts, max_size=4))
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
        ("St. Louis", "mark_inside_a_word"),
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
    [
        ("black dog", "two black dogs"),
        ("box", "boxes"),
        ("cherry", "Cherries!"),
        ("day", "days"),
        ("glass", "glasses"),
        ("eye", "eyes"),
        ("man", "men"),
        ("snowman", "snowmen"),
        ("old woman", "old women"),
        ("leaf", "leaves"),
    ],
)
def test_plurals_are_found_when_asked_for(entry, caption):
    assert matched([entry], [caption], mode="normalized", plurals=True) == [[0]]
    assert matched([entry], [caption], mode="normalized") == [[]]


def test_plurals_leave_short_words_and_plurals_alone():
    assert matched(["ox", "dogs", "New York"], ["oxs dogss new yorks"], mode="normalized", plurals=True) == [[2]]


@pytest.mark.parametrize(
    ("entries", "plurals", "found"),
    [
        (["China", "china"], False, [[0], [0], [0]]),
        (["dog", "China", "CHINA!", "dogs"], False, [[1], [0, 1], [1, 3]]),
        (["dog", "China", "CHINA!", "dogs"], True, [[1], [0, 1], [0, 1]]),
        (["dogs", "china", "dog"], True, [[1], [0, 1], [0, 1]]),
    ],
)
def test_what_a_list_writes_in_several_ways_is_found_once_in_normalized_mode(entries, plurals, found):
    captions = ["in China", "a dog in CHINA", "china: two dogs"]
    assert matched(entries, captions, mode="normalized", plurals=plurals) == found


def test_faithful_mode_finds_every_entry_as_it_is_written():
    assert matched(["China", "china", "China"], ["China", "china", "China china"]) == [[0, 2], [1], [0, 1, 2]]


SEVERAL_WAYS = st.sampled_from(["dog", "Dog", "dogs", "DOGS!", "black dog", "Black  Dogs", "box", "boxe", "boxes", "-"])


@given(
    st.lists(SEVERAL_WAYS | AWKWARD, max_size=8),
    st.lists(st.lists(SEVERAL_WAYS | AWKWARD, max_size=4).map(" ".join), max_size=4),
    st.booleans(),
)
def test_one_entry_is_found_where_any_that_is_the_same_would_be(entries, captions, plurals):
    """Against a search of each entry alone: what is found is the first of the same, wherever one of them is found."""
    alone = [matched([entry], captions, mode="normalized", plurals=plurals) for entry in entries]
    keys = normalised_keys(entries)
    firsts = first_equal(keys, plurals_of(keys) if plurals else None)
    expected = [
        sorted({first for first, found in zip(firsts, alone, strict=True) if found[row]})
        for row in range(len(captions))
    ]
    assert matched(entries, captions, mode="normalized", plurals=plurals) == expected
    apart = matched(entries, captions, mode="normalized", plurals=plurals, separate=True)
    assert apart == [[i for i, found in enumerate(alone) if found[row]] for row in range(len(captions))]


ENDS = ["leaf", "leave", "leaves", "oak leaf", "person", "people", "fireman", "firemen", "humans", "ax", "axe", "axes"]
ENDS += ["die", "dies", "dice", "horse", "horses", "skies", "a sky", "goose", "geese", "glass", "glasses", "is", "yes"]
PIECES = st.sampled_from(ENDS) | SEVERAL_WAYS | AWKWARD


@given(
    st.lists(st.sampled_from(ENDS) | SEVERAL_WAYS | AWKWARD, max_size=12),
    st.lists(
        st.none() | st.lists(st.sampled_from(ENDS) | SEVERAL_WAYS | AWKWARD, max_size=4).map(" ".join), max_size=4
    ),
    st.booleans(),
)
def test_captions_name_the_same_among_all_entries_and_among_those_that_they_can_name(entries, captions, plurals):
    positions = nameable(pa.array(entries, pa.string()), pa.array(captions, pa.string())).to_pylist()
    named = matched([entries[place] for place in positions], captions, mode="normalized", plurals=plurals)
    expected = matched(entries, captions, mode="normalized", plurals=plurals)
    assert [[positions[entry] for entry in row] for row in named] == expected


@pytest.mark.parametrize("singular", IRREGULAR_PLURALS)
def test_all_forms_of_an_irregular_noun_can_be_named_by_any(singular):
    forms = [singular, *english_plurals(singular), f"{singular}s"]
    for form in forms:
        assert nameable(pa.array([*forms, "a"]), pa.array([f"the {form}"])).to_pylist() == list(range(len(forms)))


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


@pytest.mark.parametrize(
    "caption",
    ["a " * 25_000, " " * 50_000, "," * 50_000, "a" * 50_000, "a,b;" * 12_500, "\u00e9 a" * 12_500, "a b\n" * 12_500],
    ids=["words", "blanks", "marks", "one word", "words and marks", "accents", "lines"],
)
def test_captions_of_50000_characters_are_matched_whole_among_short_ones(caption):
    entries = ["a", "b", "a b", "a " * 128 + "a", "a" * 50_000, " ", "", ",", "a , b", "\u00e9", "a"]
    captions = ["a b", caption, "", caption[:1000], "b,"]
    assert matched(entries, captions) == by_brute_force(entries, captions)


def test_many_captions_are_matched_as_each_one_is():
    chance = random.Random(0)  # noqa: S311 - a fixed example
    captions = ["".join(chance.choices("ab .,\t", k=chance.randrange(90))) for _ in range(3000)]
    entries = ["a", "b", "a b", "b  a", ".", "aa", "ab . ", "bb a"]
    assert matched(entries, captions) == by_brute_force(entries, captions)


def test_an_entry_of_thousands_of_words_is_found():
    entry = " ".join(str(number) for number in range(5000))
    assert matched([entry, "4999 5000"], [f"x {entry} 5000.", entry[:-1]]) == [[0, 1], []]


def test_words_of_equal_hash_are_told_apart():
    """The hash of long words is no secret: a caption can hold a word that has the hash of an entry's."""
    word, twin = colliding_words()
    assert matched([word], [twin, word]) == [[], [0]]
    assert matched([twin, word, f"{twin} {word}"], [word, twin, f"{twin} {word}"]) == [[1], [0], [0, 1, 2]]


def colliding_words():
    from evenly.curation.concepts.match_kernel import MIX, _word_key, widened

    def mixed(value):
        value = value * int(MIX) % 2**64
        return value ^ value >> 32

    chance = random.Random(1)  # noqa: S311 - a fixed example
    letters = string.ascii_letters + string.digits + "()[]{}<>+-*/=_%$#@&~^|\"'"
    word = b"elephantgiraffes"
    first, second = (int.from_bytes(part, "little") for part in (word[:8], word[8:]))
    while True:
        other = "".join(chance.choices(letters, k=8)).encode()
        rest = second ^ mixed(16 ^ first) ^ mixed(16 ^ int.from_bytes(other, "little"))
        twin = other + rest.to_bytes(8, "little")
        if set(twin) <= set(letters.encode()):
            break
    keys = [_word_key(widened(np.frombuffer(text, np.uint8)), 0, 16) for text in (word, twin)]
    assert keys[0] == keys[1]
    return word.decode(), twin.decode()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_arrow_type_of_text_is_read_and_slices_begin_where_they_begin(kind):
    captions = pa.array(["a dog", None, "", "cat", "dog cat", None, "a cat."], pa.string()).cast(kind)
    matcher = Matcher(["dog", "cat", ""])
    whole = matcher.match(captions).to_pylist()
    assert whole == [[0], [], [2], [1], [0, 1], [], [1, 2]]
    assert [matcher.match(captions.slice(at, 3)).to_pylist() for at in range(7)] == [
        whole[at : at + 3] for at in range(7)
    ]


def test_what_lies_under_a_null_is_not_matched():
    texts = pa.array(["dog", "dog", "a"])
    hidden = pa.Array.from_buffers(pa.string(), 3, [pa.array([True, False, True]).buffers()[1], *texts.buffers()[1:]])
    assert Matcher(["dog"]).match(hidden).to_pylist() == [[0], [], []]
    assert Matcher(["Dog"], "normalized").match(hidden).to_pylist() == [[0], [], []]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_back_in_order_and_as_one_by_one(workers):
    batches = [pa.array(["a dog", None] * (number % 3)) for number in range(20)]
    matcher = Matcher(["dog", "a dog"])
    found = [lists.to_pylist() for lists in matcher.match_batches(iter(batches), workers=workers)]
    assert found == [[[0, 1], []] * (number % 3) for number in range(20)]


def test_batches_are_taken_as_they_are_needed():
    taken = []

    def batches():
        for number in range(100):
            taken.append(number)
            yield pa.array(["dog"])

    found = Matcher(["dog"]).match_batches(batches(), workers=2)
    next(found)
    assert len(taken) <= 4


def test_captions_that_are_no_text_are_refused():
    with pytest.raises(ColumnsError, match="must be text; got list"):
        Matcher(["dog"]).match(pa.array([["dog"]]))


def test_entries_that_are_no_unicode_are_refused():
    with pytest.raises(RuleError, match="valid Unicode"):
        Matcher(["\ud800"])
