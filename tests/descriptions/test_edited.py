"""Texts edited by hand: what is exported reads back in, and what a file may not be."""

import json

import pytest

from evenly.descriptions.descriptions import table_of
from evenly.descriptions.edited import MOST_CHARACTERS, export_csv, read_edited
from evenly.descriptions.errors import EditedTextsError

CLASSES = ("red fox", "grey wolf")


def rows(table):
    return [(row["class"], row["method"], row["phrase"], row["text"], row["reason"]) for row in table.to_pylist()]


def described(*texts):
    return table_of(
        [
            {"class": name, "method": method, "text": f"{name}: {phrase}", "phrase": phrase}
            | {"verdict": verdict, "reason": ""}
            for name, method, phrase, verdict in texts
        ]
    )


def test_what_is_exported_reads_back_in_with_texts_made_anew_by_the_class_order():
    table = described(
        ("grey wolf", "description", 'long legs, "grey" fur', "accepted"),
        ("red fox", "description", "a bushy tail", "accepted"),
        ("red fox", "description", "vague", "rejected"),
        ("red fox", "prompts", "a red fox\non snow", "accepted"),
        ("", "contexts", "a photo of a {}", "accepted"),
    )
    content = export_csv(table, CLASSES)
    assert content.splitlines()[0] == "class,method,phrase"
    found = rows(read_edited(content, CLASSES))
    assert [one[:3] for one in found[:1]] == [("red fox", "description", "a bushy tail")]
    assert found[0][3] == "red fox, which is a bushy tail"
    assert found[1][2:] == ("a red fox\non snow", "a red fox\non snow", "control_characters")
    assert found[2][3] == 'grey wolf, which has long legs, "grey" fur'


def test_json_of_vcd_and_of_cupl_reads_in_and_a_fallback_is_no_text():
    content = json.dumps({"red fox": ["a bushy tail", "has black legs"], "grey wolf": ["a type of grey wolf"]})
    assert [one[3] for one in rows(read_edited("\ufeff" + content, CLASSES))] == [
        "red fox, which is a bushy tail",
        "red fox, which has black legs",
    ]
    (sentence,) = rows(read_edited(json.dumps({"grey wolf": ["A grey wolf howls."]}), CLASSES, method="prompts"))
    assert sentence == ("grey wolf", "prompts", "A grey wolf howls.", "A grey wolf howls.", "")


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("  ", "empty"),
        ("a\u202eb", "control_characters"),
        ("x" * (MOST_CHARACTERS + 1), "too_long"),
        ("fur", "repeats"),
    ],
)
def test_a_phrase_that_cannot_be_used_is_rejected_with_its_reason(phrase, reason):
    table = read_edited(json.dumps({"red fox": ["fur", phrase]}), CLASSES)
    assert table["reason"].to_pylist() == ["", reason]
    assert table["verdict"].to_pylist() == ["accepted", "rejected"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"blue fox": ["fur"]}', r"`class` must be of the list; got 'blue fox' at key 'blue fox'"),
        ("class,method,phrase\nblue fox,description,fur\n", "got 'blue fox' at line 2"),
        ("class,method,phrase\nred fox,describe,fur\n", "`method` at line 2 must be one of description, "),
        ("class,method,phrase\nred fox,differential,fur\n", "`method` at line 2 must be one of"),
        ("class,method,phrase\nred fox,description\n", "line 2 has 2"),
        ("class,text\nred fox,fur\n", "the first line must be `class,method,phrase`; got `class,text`"),
        ('class,method,phrase\n"red fox,description', "the file must be CSV; line 2"),
        ("", "the first line must be"),
        ('{"red fox": "fur"}', "each class must have a list of texts; 'red fox' has not"),
        ('{"red fox": ["a"], "red fox": ["b"]}', "got `red fox` in lines 1 and 1"),
        ('{"red fox": ["a"]', "the file must be JSON or CSV"),
        ("{" * 100_000, "the file must be JSON or CSV"),
        ('{"red fox": []}', "at least one usable text; got none"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_its_place(content, message):
    with pytest.raises(EditedTextsError, match=message):
        read_edited(content, CLASSES)
