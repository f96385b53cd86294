import re

import pytest

from descriptions.checks import check_reply
from descriptions.grounding import Subject
from descriptions.methods.prompts import Prompts
from descriptions.small_patterns import SENTENCE

TIGER = Subject(name="tiger", synset="n02129604", lemmas=("tiger",), gloss="large feline of forests")


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("A tiger has an orange coat.", "A tiger has an orange coat."),
        ("Tigers have an orange coat.", "Tigers have an orange coat."),
        ("It has an orange coat.", "tiger: It has an orange coat."),
    ],
)
def test_a_sentence_without_the_name_gets_it_in_front(sentence, text):
    assert Prompts().text(TIGER, sentence) == text


def test_sentences_may_name_their_class_and_are_longer_than_phrases():
    sentence = "A photo of a tiger shows an orange coat with black stripes and a white belly."
    assert check_reply(sentence, "tiger", ("tiger", "lion"), rules=Prompts().rules).reason == ""
    assert check_reply("an orange coat", "tiger", (), rules=Prompts().rules).reason == "too_short"


@pytest.mark.parametrize(
    ("sentence", "fits"),
    [
        ("A tiger has an orange coat with stripes.", True),
        ("It has long, white whiskers and round eyes.", True),
        ("A tiger has an orange coat with stripes", False),
        ("Tigers have an orange coat with stripes.", False),
    ],
)
def test_the_pattern_for_small_models_is_a_plain_sentence(sentence, fits):
    assert bool(re.fullmatch(SENTENCE, sentence)) is fits


def test_sentences_are_read_from_their_own_key():
    assert Prompts().read('{"sentences": ["A tiger."]}', "reply") == ["A tiger."]
