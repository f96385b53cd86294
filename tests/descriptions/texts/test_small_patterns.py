import re

import pytest

from evenly.descriptions.texts.small_patterns import FEATURE, SENTENCE, WORDS, sentence_about, sentence_of
from evenly.descriptions.texts.vocabularies import has_visual_word, mostly_visual

WORDS_OF_TIGER = ["large", "feline", "having", "a", "tawny", "coat", "with", "black", "stripes", "Asia", "it"]


@pytest.mark.parametrize(
    ("sentence", "fits"),
    [
        ("A tiger has a tawny coat with black stripes.", True),
        ("The tiger with black stripes, a large feline, seen from the side.", True),
        ("A tiger has a tawny coat with white stripes.", False),
        ("A tiger has a tawny coat with black stripes", False),
        ("A tiger has the of with.", False),
        ("A lion has a tawny coat.", False),
        ("A tiger has a Asia coat.", False),
    ],
)
def test_a_sentence_of_given_words(sentence, fits):
    assert bool(re.fullmatch(sentence_of("tiger", WORDS_OF_TIGER), sentence)) is fits


@pytest.mark.parametrize("words", [(), ("a", "the", "of"), ("x1", "(", "Été")])
def test_without_words_any_plain_ones_will_do(words):
    assert sentence_of("fire truck", words) == sentence_about("fire truck")
    assert re.fullmatch(sentence_about("fire truck"), "A fire truck has a red cab.")


@pytest.mark.parametrize("name", ["C++", "a.*b", "cat)|(dog", "naïve", "cat\n", "", "x" * 10 + " " * 2 + "y"])
def test_a_name_of_unusual_letters_never_gets_into_a_pattern(name):
    assert sentence_about(name) == sentence_of(name, WORDS_OF_TIGER) == SENTENCE


@pytest.mark.parametrize("pattern", [WORDS, FEATURE, SENTENCE, sentence_of("tiger", WORDS_OF_TIGER)])
def test_patterns_hold_no_more_than_a_grammar_can_express(pattern):
    assert not re.search(r"\\[bdwsBDWS]|\(\?|\*\?|[$^]", pattern)


def test_visual_words_count_with_usual_endings():
    assert has_visual_word("has stripes")
    assert has_visual_word("a winged thing")
    assert not has_visual_word("a popular companion")


@pytest.mark.parametrize(
    ("text", "mostly"),
    [
        ("A tiger has a tawny coat with stripes.", True),
        ("A tiger has a coat and can grow old attacking people in villages.", False),
        ("the of and", True),
    ],
)
def test_half_of_what_is_said_must_be_seen_or_known(text, mostly):
    assert mostly_visual(text, "tiger; a feline having a tawny coat") is mostly
