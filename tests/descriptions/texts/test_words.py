import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.concepts.equal_entries import IRREGULAR_PLURALS, english_plurals
from evenly.descriptions.texts.words import longest_shared_run, loops, other_names_in, singulars_of, words_of

CLASSES = ("fire truck", "truck", "cat", "strawberry", "bus", "glass", "red panda", "panda", "O'Neil's tit", "C++")


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("cats", "cat"), ("strawberries", "strawberry"), ("foxes", "fox"), ("dishes", "dish"), ("houses", "house")],
)
def test_singular_and_plural_meet(plural, singular):
    assert words_of(plural) == words_of(singular)


@pytest.mark.parametrize("word", ["glass", "bus", "gas", "dress", "pies"])
def test_short_words_and_words_in_ss_stay(word):
    assert words_of(word)[0] in {word, "pie"}


@pytest.mark.parametrize(
    ("text", "own", "found"),
    [
        ("looks like a cat", "dog", ("cat",)),
        ("looks like Cats", "dog", ("cat",)),
        ("a category of pets", "dog", ()),
        ("a bright red fire truck", "fire truck", ()),
        ("a large truck with a ladder", "fire truck", ()),
        ("red like a fire truck", "truck", ("fire truck",)),
        ("a red panda in a tree", "panda", ("red panda",)),
        ("a panda with red fur", "red panda", ()),
        ("a cat beside a bus", "dog", ("cat", "bus")),
        ("an O\u2019Neil\u2019s tit", "cat", ("O'Neil's tit",)),
        ("", "cat", ()),
        ("a thing", "?!", ()),
    ],
)
def test_names_of_other_classes_are_found_as_whole_words(text, own, found):
    assert other_names_in(text, own, CLASSES) == found


@given(st.text(max_size=60), st.sampled_from(CLASSES), st.lists(st.text(max_size=8), max_size=5))
def test_a_text_never_names_its_own_class_as_another(text, own, others):
    assert own not in other_names_in(text, own, [*others, own])


@pytest.mark.parametrize(
    ("text", "other", "length"),
    [("a b c", "x b c y", 2), ("", "a", 0), ("a", "", 0), ("A cat", "cats", 1), ("a b a b", "a b a b", 4)],
)
def test_the_longest_shared_run_of_words(text, other, length):
    assert longest_shared_run(text, other) == length


@pytest.mark.parametrize(
    ("text", "goes_round"),
    [
        ("red red red", True),
        ("red red fur", False),
        ("a tail and a tail and a tail", True),
        ("four short legs with white paws", False),
        ("", False),
    ],
)
def test_texts_that_go_round_in_circles(text, goes_round):
    assert loops(text) is goes_round


NOUNS = ["animal", "box", "city", "boy", "bus", "church", "dish", "fire truck", "snowman", "waltz", *IRREGULAR_PLURALS]
SINGULARS = {plural: singular for singular, plural in IRREGULAR_PLURALS.items()}


@given(st.sampled_from(NOUNS) | st.from_regex(r"[b-hj-rt-z]{3,9}", fullmatch=True))
def test_a_noun_is_among_the_singulars_of_each_of_its_plurals(noun):
    assert all(noun in singulars_of(plural, SINGULARS) for plural in english_plurals(noun))


@pytest.mark.parametrize(
    ("name", "singular"),
    [("Animals", "animal"), ("mice", "mouse"), ("knives", "knife"), ("works of art", "work of art"), ("men", "man")],
)
def test_the_likeliest_singular_is_the_first(name, singular):
    assert singulars_of(name, SINGULARS)[0] == singular


@pytest.mark.parametrize("name", ["glass", "deer", "", "s", "work of arts and crafts"])
def test_what_ends_like_no_plural_has_no_singular(name):
    assert singulars_of(name, SINGULARS) == ()
