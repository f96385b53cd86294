"""YAML of strangers: what is named twice is refused with both lines."""

import pytest

from evenly.flows.recipe.untrusted_yaml import UnreadableYamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", "lines 1 and 3"),
        ("a:\n  b: 1\n  c: 2\n  'b': 3\n", "b", "lines 2 and 4"),
        ("a:\n- {b: 1,\n   b: 2}\n", "b", "lines 2 and 3"),
        ("x: &x {a: 1}\ny: *x\nz: {2: a, 2: b}\n", "2", "lines 3 and 3"),
        ("null: 1\n~: 2\n", "null", "lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(text, name, lines):
    with pytest.raises(UnreadableYamlError, match=f"`{name}` in {lines}"):
        read_yaml(text)


def test_equal_keys_of_different_mappings_are_no_repetition():
    assert read_yaml("a: {b: 1}\nc: {b: 1}\nd: &d {b: 2}\ne: {<<: *d, b: 3}\n")["e"] == {"b": 3}
