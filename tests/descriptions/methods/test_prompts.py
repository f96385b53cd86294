import re

import pytest

from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.prompts import Prompts
from evenly.descriptions.texts.checks import check_reply
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.small_patterns import SENTENCE

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


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("A cat has soft gray fur and a tail.", ""),
        ("The class has soft gray fur and a tail.", "prompt_echo"),
        ("Its soft fur is like that of a dog.", "names_another_class"),
        ("A cat has no tail and soft fur.", "negation"),
        ("A cat is a popular pet in many homes.", "no_visual_word"),
        ("A cat has soft fur and a tail of", "unfinished"),
        ("I'm sorry, but I cannot describe its fur.", "refusal"),
        ("A cat has {{soft}} fur and a long tail.", "markup"),
        ("Кошка имеет мягкую серую шерсть и хвост.", "wrong_language"),
        ("Soft fur " * 21, "too_long"),
    ],
)
def test_each_sentence_is_checked(asked, sentence, reason):
    rows = asked(Prompts(), "cat\ndog", {"sentences": [sentence]})
    assert rows[0]["reason"] == reason


def test_a_small_model_is_held_to_the_words_of_the_definition():
    small, around = Prompts(small_model=True), Surroundings(classes=("tiger",), names=("tiger",))
    pattern = small.questions(TIGER)[0].schema["properties"]["sentences"]["items"]["pattern"]
    assert re.fullmatch(pattern, "A tiger has a large feline of forests.")
    assert not re.fullmatch(pattern, "A tiger has a red feline of forests.")
    assert small.refuse(TIGER, "A tiger has a coat with red stripes.", around) == "adds_attribute"
    assert Prompts().refuse(TIGER, "A tiger has a coat with red stripes.", around) == ""
