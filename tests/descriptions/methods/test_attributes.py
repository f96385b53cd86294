import pytest

from evenly.descriptions.methods.attributes import TYPES, Attributes

NONE = {kind: [] for kind in TYPES}


def test_values_become_captions_by_their_type(asked):
    answer = NONE | {"color": ["orange"], "part": ["long tail", "whiskers"], "pattern": ["striped", "dark stripes"]}
    rows = asked(Attributes(), "cat", answer | {"material": ["made of cotton"]})
    assert [(row["other"], row["phrase"], row["text"]) for row in rows] == [
        ("color", "orange", "a photo of an orange cat"),
        ("material", "cotton", "a photo of a cotton cat"),
        ("part", "long tail", "a photo of a cat with a long tail"),
        ("part", "whiskers", "a photo of a cat with whiskers"),
        ("pattern", "striped", "a photo of a striped cat"),
        ("pattern", "dark stripes", "a photo of a cat with dark stripes"),
    ]
    assert {row["verdict"] for row in rows} == {"accepted"}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("color", "wooden", "wrong_type"),
        ("color", "teal", ""),
        ("shape", "round and red", ""),
        ("part", "wooden leg", ""),
        ("color", "dog brown", "names_another_class"),
        ("part", "cat ears", "names_own_class"),
        ("part", "no tail", "negation"),
        ("color", "a very bright light red", "too_long"),
        ("color", "{{7*7}}", "markup"),
        ("color", "", "empty"),
        ("color", "красный", "wrong_language"),
        ("color", "Sorry, no", "refusal"),
    ],
)
def test_each_value_is_checked(asked, kind, value, reason):
    rows = asked(Attributes(), "cat\ndog", NONE | {kind: [value]})
    assert [row["reason"] for row in rows if row["class"] == "cat"] == [reason]


@pytest.mark.parametrize("answer", [NONE, {}, {"color": "red"}, {"color": [1]}, {"taste": ["sweet"]}])
def test_nothing_to_read_is_a_rejected_row(asked, answer):
    assert [row["reason"] for row in asked(Attributes(), "cat", answer)] == ["wrong_schema"]


def test_the_definition_speaks_first(asked):
    rows = asked(Attributes(), "cat\tsmall feline with long whiskers", NONE | {"size": ["small"], "color": ["gray"]})
    assert [(row["phrase"], row["request_id"] is None, row["reason"]) for row in rows] == [
        ("small", True, ""),
        ("long whiskers", True, ""),
        ("gray", False, ""),
        ("small", False, "repeats"),
    ]


def test_of_a_small_model_only_the_parts_are_taken(asked):
    rows = asked(
        Attributes(small_model=True), "cat", {"features": ["has red fur and a long tail", "made of blue glass"]}
    )
    assert [(row["other"], row["text"]) for row in rows] == [
        ("part", "a photo of a cat with red fur"),
        ("part", "a photo of a cat with a long tail"),
    ]
