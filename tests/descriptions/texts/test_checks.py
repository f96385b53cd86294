import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.class_list import is_control
from evenly.descriptions.texts.checks import ReplyRules, check_reply, clean_text

CLASSES = ("cat", "dog", "fire truck")
RULES = ReplyRules(own_name=False, negation=False, known_words=True)
INSTRUCTION = "List what can be seen in a photo of this class and tells it apart"
VOCABULARY = frozenset("has a long striped tail soft fur four leg cat head and body with round ear dog".split())  # noqa: SIM905


def check(text, **more):
    options = {"rules": RULES, "instruction": INSTRUCTION, "accepted": ["has round ears"], "vocabulary": VOCABULARY}
    return check_reply(text, "cat", CLASSES, **(options | more))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("has a long striped tail", ""),
        ("- **has a long striped tail**", ""),
        ("", "empty"),
        ("  \n ", "empty"),
        ("...", "empty"),
        ("has a long striped tail " * 6, "too_long"),
        ("x" * 100_000, "too_long"),
        ("has a long \x1b[31m striped tail", "control_characters"),
        ("has a long\u202e striped tail", "control_characters"),
        ("has a striped tail {{7*7}}", "markup"),
        ("see https://evil.example tail", "markup"),
        (
            "hat einen gestreiften \u0445\u0432\u043e\u0441\u0442 \u0438 \u0443\u0448\u0438 \u043a\u043e\u0442\u0430",
            "wrong_language",
        ),
        ("有条纹的长尾巴", "wrong_language"),
        ("I'm sorry, but I cannot describe the tail", "refusal"),
        ("I can\u2019t help with fur", "refusal"),
        ("As an AI I have no fur", "refusal"),
        ("can be seen in a photo of fur", "prompt_echo"),
        ("the class has fur", "prompt_echo"),
        ("A cat", "only_class_name"),
        ("cats", "only_class_name"),
        ("has round ear", "repeats"),
        ("tail tail tail", "repeats"),
        ("has a head like a dog", "names_another_class"),
        ("has the fur of dogs", "names_another_class"),
        ("has a cat head", "names_own_class"),
        ("has a long tail and", "unfinished"),
        ("has no tail", "negation"),
        ("has a long xyzzy tail", "unknown_word"),
    ],
)
def test_each_reason_has_its_text(text, reason):
    assert check(text).reason == reason


def test_a_text_without_a_visual_word_says_something_else():
    assert check("is a popular companion", vocabulary=None).reason == "no_visual_word"


def test_rules_switch_checks_off():
    lenient = ReplyRules(visual_word=False)
    for text in ("a cat with fur", "has no tail", "has a xyzzy", "a popular companion"):
        assert check(text, rules=lenient).reason == ""


def test_a_short_text_is_too_short_for_a_sentence():
    assert check("soft fur", rules=ReplyRules(min_words=5)).reason == "too_short"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("1. soft fur", "soft fur"),
        ("* soft fur", "soft fur"),
        ("\u2022 soft fur", "soft fur"),
        ('"soft fur"', "soft fur"),
        ("<b>soft</b> fur<script>", "soft fur"),
        ("__soft__ `fur`", "soft fur"),
        ("[soft fur](http://x.test/a)", "soft fur"),
        ("soft\n\n fur\t", "soft fur"),
        ("black-and-white, soft fur", "black-and-white, soft fur"),
        ("so\x00ft f\u200bur", "soft fur"),
        ("fur &amp; tail", "fur & tail"),
        ("cafe\u0301 fur", "caf\u00e9 fur"),
        ("3.5 inch tail", "3.5 inch tail"),
        ("snake_case tail", "snake_case tail"),
    ],
)
def test_markup_and_control_characters_are_stripped(raw, clean):
    assert clean_text(raw) == clean


@given(st.text(max_size=200))
def test_whatever_comes_is_shown_on_one_line_without_controls_and_accepted_texts_obey_the_rules(text):
    checked = check(text, vocabulary=None)
    assert not any(is_control(character) or character == "\n" for character in checked.text)
    assert len(checked.text) <= RULES.max_characters
    if not checked.reason:
        assert not {"<", ">", "{", "}"} & set(checked.text)
        assert clean_text(checked.text) == checked.text


@given(st.text(alphabet="<>/&lt;gscript! \"'=*_`[]()#", max_size=80))
def test_no_accepted_text_holds_markup(text):
    checked = check("soft fur " + text, vocabulary=None)
    assert checked.reason or not {"<", ">"} & set(checked.text)
