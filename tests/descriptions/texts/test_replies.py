import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.texts.replies import UnreadableReplyError, list_schema, read_list


@pytest.mark.parametrize(
    "reply",
    ['{"features": ["a", "b"]}', '```json\n{"features": ["a", "b"]}\n```', ' {"features": ["a", "b"], "more": 1}\n'],
)
def test_a_list_is_read_also_from_a_code_fence(reply):
    assert read_list(reply, key="features") == ["a", "b"]


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        ("", "reply", "empty"),
        (" \n", "truncated", "empty"),
        ("I'm sorry, I can't help with that.", "reply", "refusal"),
        ('{"features": ["a"]}', "refusal", "refusal"),
        ('{"features": ["a", "b', "reply", "not_json"),
        ('{"features": ["a", "b', "truncated", "truncated"),
        ("has a tail", "reply", "not_json"),
        ("[" * 9_000, "reply", "not_json"),
        ('{"features": "a"}', "reply", "wrong_schema"),
        ('{"features": []}', "reply", "wrong_schema"),
        ('{"features": ["a", 1]}', "reply", "wrong_schema"),
        ('{"features": [["a"]]}', "reply", "wrong_schema"),
        ('{"other": ["a"]}', "reply", "wrong_schema"),
        ('["a"]', "reply", "wrong_schema"),
        ("null", "reply", "wrong_schema"),
        (json.dumps({"features": ["a"] * 21}), "reply", "wrong_schema"),
        (json.dumps({"features": ["a" * 30_000]}), "reply", "too_long"),
    ],
)
def test_whatever_else_comes_has_a_reason(reply, outcome, reason):
    with pytest.raises(UnreadableReplyError) as caught:
        read_list(reply, key="features", outcome=outcome)
    assert caught.value.reason == reason


@given(st.text(max_size=200) | st.recursive(st.none() | st.text(max_size=4), st.lists).map(json.dumps))
def test_any_reply_is_strings_or_an_unreadable_reply(reply):
    try:
        texts = read_list(reply, key="features")
    except UnreadableReplyError:
        return
    assert all(isinstance(text, str) for text in texts)


def test_the_schema_asks_for_nothing_that_strict_output_refuses():
    schema = list_schema("features", fewest=3, most=6)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["features"]
    items = schema["properties"]["features"]
    assert items == {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 6}
