"""Every field of a recipe with every kind of YAML value: a recipe, or one clear line per problem; never a traceback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.files import RECIPES
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.untrusted_yaml import read_yaml
from tests.few_examples import few

NINE = "&{1} [*{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}]"
BOMB = f"[&a [x], {', '.join(NINE.format(*pair) for pair in ('ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh'))}]"
VALUES = (
    *("null", "true", "false", "0", "-1", "1", "0.5", "1e300", "9" * 400, "-0.0", ".nan", ".inf", "-.inf", "0x7f"),
    *("''", "x", "a name", "'1'", "'{}'", "x" * 300, "y" * 70_000, r'"\0\x1b[31m\u202e"', r'"\ud83d"', "'../../etc'"),
    *("[]", "[null]", "[x, y]", "[[x]]", "[{a: 1}]", "{}", "{a: 1}", "{1: {2: 3}}", "{null: null}", "{[a]: b}"),
    *("2026-11-29", "2026-11-29T10:00:00Z", "9999-99-99", "12:30:45", "!!binary aGVsbG8=", "!!set {a, b}"),
    *("!!omap [a: 1]", "!!python/object:os.system x", "!!float x", "!!int x", "!!timestamp x", "!unknown x"),
    *("&a [*a]", "{<<: {a: 1}}", "{<<: x}", "|\n  text\n", "s3://bucket/key", "http://user:pass@host/x", "@"),
    BOMB,
)
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in sorted(RECIPES.glob("*.yaml"))}
MARK = "the-value-of-the-test"


def places(value: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in a recipe, itself included."""
    yield above
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield from places(inner, (*above, name))


def fields_of(schema: dict[str, Any], defs: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The place of every field that a recipe may have; "0" stands for the first of a list."""
    if len(above) > 8:
        return
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from fields_of(choice, defs, above)
    if "$ref" in schema:
        yield from fields_of(defs[schema["$ref"].rpartition("/")[2]], defs, above)
    for name, inner in schema.get("properties", {}).items():
        yield (*above, name)
        yield from fields_of(inner, defs, (*above, name))
    if isinstance(items := schema.get("items"), dict):
        yield (*above, "0")
        yield from fields_of(items, defs, (*above, "0"))


SCHEMA = Recipe.model_json_schema()
FIELDS = sorted({*fields_of(SCHEMA, SCHEMA.get("$defs", {}))})
PLACES = [(name, place) for name, text in TEMPLATES.items() for place in places(read_yaml(text))]


def with_mark(content: object, place: tuple[str | int, ...]) -> object:
    """A recipe with the mark at a place, which is made where it is not there."""
    if not place:
        return MARK
    name, *rest = place
    if isinstance(name, int) or name == "0":
        entries = [*content] if isinstance(content, list) else []
        entries += [None] * (int(name) + 1 - len(entries))
        entries[int(name)] = with_mark(entries[int(name)], tuple(rest))
        return entries
    fields = content if isinstance(content, dict) else {}
    return {**fields, name: with_mark(fields.get(name), tuple(rest))}


def with_value(content: object, place: tuple[str | int, ...], value: str) -> str:
    """The text of a recipe with a YAML value at a place."""
    return yaml.safe_dump(with_mark(content, place), default_flow_style=True, width=10**9).replace(MARK, value)


def judged(text: str, path: Path) -> None:
    """Read a recipe of this text: all that may happen is a recipe, or one clear line per problem."""
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        read_recipe(path)
    except RecipeError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.strip() and len(line) < 2_000 for line in lines), lines
        assert all(line.endswith((".", "`")) for line in lines), lines


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes") / "r.yaml"


CONTENTS = {name: read_yaml(text) for name, text in TEMPLATES.items()}


@few(40)
@given(st.sampled_from(PLACES), st.sampled_from(VALUES))
@example(("demo.yaml", ("sources", 0, "kind")), "{a: 1}")
@example(("demo.yaml", ("sources", 0, "kind")), "[x]")
@example(("demo.yaml", ("curate", "preset")), "0.5")
@example(("demo.yaml", ("curate", "preset")), "{}")
@example(("demo.yaml", ("classes", 0, "adapters", 0)), "y" * 70_000)
@example(("demo.yaml", ("classes", 0, "adapters", 0)), r'"\ud83d"')
def test_a_recipe_with_any_value_at_any_place_is_read_or_refused_in_clear_lines(path, at, value):
    name, place = at
    judged(with_value(CONTENTS[name], place, value), path)


@few(40)
@given(st.sampled_from(sorted(CONTENTS)), st.sampled_from(FIELDS), st.sampled_from(VALUES))
def test_any_field_of_the_schema_with_any_value_is_read_or_refused_in_clear_lines(path, name, place, value):
    judged(with_value(CONTENTS[name], place, value), path)


@few(40)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(VALUES)), min_size=2, max_size=4))
def test_any_fields_with_any_values_are_read_or_refused_in_clear_lines(path, pairs):
    content = CONTENTS["demo.yaml"]
    for number, (place, _) in enumerate(pairs[:-1]):
        content = _remarked(with_mark(content, place), f"value-{number}-of-the-test")
    text = with_value(content, *pairs[-1])
    for number, (_, value) in enumerate(pairs[:-1]):
        text = text.replace(f"value-{number}-of-the-test", value)
    judged(text, path)


def _remarked(content: object, mark: str) -> object:
    if isinstance(content, dict):
        return {name: _remarked(inner, mark) for name, inner in content.items()}
    if isinstance(content, list):
        return [_remarked(inner, mark) for inner in content]
    return mark if content == MARK else content
