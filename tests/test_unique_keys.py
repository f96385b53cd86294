"""JSON that people write: a name that stands twice in an object is refused with both lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.unique_keys import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ('{"a": 1,\n "b": "{\\"a\\":",\n "a": 2}', "a", "lines 1 and 3"),
        ('{"x": {"a": 1},\n "y": [{"b": "a:", "c": "\\""},\n {"b": 1, "a": 1,\n"\\u0062": 2}]}', "b", "lines 3 and 4"),
        ('{"a\\n": [],\n"a\\n": []}', "a\\\\n", "lines 1 and 2"),
    ],
)
@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16"])
def test_a_name_that_stands_twice_is_refused_with_both_lines(text, name, lines, encoding):
    with pytest.raises(ValueError, match=f"`{name}` in {lines}"):
        read_json(text if encoding is None else text.encode(encoding))


@given(VALUES, st.sampled_from([None, 1]))
def test_other_json_is_read_as_it_is(value, indent):
    assert read_json(json.dumps(value, indent=indent)) == value


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1,}'])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        read_json(text)
