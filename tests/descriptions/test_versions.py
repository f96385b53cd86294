"""Two versions side by side: every accepted text has one state, in the order of the newer list."""

import pyarrow as pa

from evenly.descriptions.described import compare_texts
from evenly.descriptions.descriptions import SCHEMA


def table(*rows):
    blank = dict.fromkeys(SCHEMA.names) | {"phrase": "", "verdict": "accepted", "reason": ""}
    names = ("class", "method", "text")
    return pa.Table.from_pylist(
        [blank | dict(zip(names, row[:3], strict=True)) | dict(*row[3:]) for row in rows], SCHEMA
    )


FIRST = table(
    ("cat", "description", "cat, which has fur"),
    ("cat", "description", "cat, which has ears"),
    ("dog", "description", "dog, which barks"),
    ("cat", "synonyms", "true cat"),
)
SECOND = table(
    ("bird", "description", "bird, which has wings"),
    ("cat", "description", "cat, which has a tail"),
    ("cat", "description", "cat, which has fur"),
    ("cat", "description", "cat, which is nice", {"verdict": "rejected", "reason": "no_visual_word"}),
)


def test_texts_are_kept_gone_or_new_in_the_order_of_the_newer_list():
    found = compare_texts(FIRST, SECOND, classes=(["cat", "dog"], ["bird", "cat"]))
    assert [(row["class"], row["text"], row["state"]) for row in found.texts] == [
        ("bird", "bird, which has wings", "new"),
        ("cat", "cat, which has fur", "kept"),
        ("cat", "cat, which has ears", "gone"),
        ("cat", "cat, which has a tail", "new"),
        ("cat", "true cat", "gone"),
        ("dog", "dog, which barks", "gone"),
    ]
    assert found.counts == {
        "description": {"kept": 1, "gone": 2, "new": 2},
        "synonyms": {"kept": 0, "gone": 1, "new": 0},
    }
    assert (found.classes_gone, found.classes_new) == (("dog",), ("bird",))


def test_a_version_is_the_same_as_itself_and_a_repeated_text_counts_once():
    twice = pa.concat_tables([FIRST, FIRST])
    found = compare_texts(FIRST, twice, classes=(["cat", "dog"], ["cat", "dog"]))
    assert {row["state"] for row in found.texts} == {"kept"}
    assert len(found.texts) == FIRST.num_rows
    assert compare_texts(table(), table(), classes=([], [])).texts == ()
