"""Turn what pydantic finds wrong in a recipe into lines that name field, value, rule and remedy."""

import difflib
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import ValidationError

MAX_SHOWN = 80


class RecipeError(ValueError):
    """A recipe cannot be used; one line per problem."""


def describe_problems(error: ValidationError, model: type[Any]) -> list[str]:
    """One line per problem: "`field` must rule; got `value`. What to do"."""
    problems = error.errors(include_url=False)
    places = [problem["loc"] for problem in problems]
    return [_describe(problem, model) for problem in problems if not _follows(problem, places)]


def _follows(problem: Any, places: list[tuple[int | str, ...]]) -> bool:  # noqa: ANN401 - pydantic's ErrorDetails
    """Whether a list is too short only because its items are wrong, which is told already."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(longer) > len(place) and longer[: len(place)] == place for longer in places
    )


def _describe(problem: Any, model: type[Any]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    place = tuple(problem["loc"])
    field = ".".join(str(part) for part in place)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = _fields_at(model, place[:-1])
        close_names = difflib.get_close_matches(str(place[-1]), names, n=1)
        remedy = f"Did you mean `{close_names[0]}`?" if close_names else "Remove it."
        return f"`{field}` must be a known field; got `{_shown(problem['input'])}`. {remedy} Known: {', '.join(names)}."
    if problem["type"] == "missing":
        return f"`{field}` must be given; got nothing. Add it; `evenly init` shows an example."
    rule = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should ")
    if problem["type"] == "string_pattern_mismatch":
        rule = f"match {problem['ctx']['pattern']}"
        rule += "" if "A-Z" in rule else ": lower-case letters, digits, - and _"
    if problem["type"] == "dataclass_type":
        rule = "be a mapping of fields"
    if problem["type"] == "value_error":  # that of a rule names a remedy of its own
        remedy = "" if rule.endswith(".") else ". Change it and run `evenly check` again."
        return f"`{field or 'recipe'}`: {rule}{remedy}"
    return f"`{field}` must {rule}; got `{_shown(problem['input'])}`. Change it and run `evenly check` again."


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _fields_at(model: type[Any], place: tuple[Any, ...]) -> list[str]:
    """The fields that may stand at a place of the recipe."""
    section: Any = model
    for part in place:
        if isinstance(part, int):
            continue
        types = _field_types(section)
        if part not in types:
            return []
        section = _inner(types[part])
    return sorted(_field_types(section))


def _field_types(section: Any) -> dict[str, Any]:  # noqa: ANN401 - a section or a rule
    """The fields of a section or of a rule, and the type of each."""
    if is_dataclass(section):
        return {field.name: field.type for field in fields(section)}
    return {name: field.annotation for name, field in getattr(section, "model_fields", {}).items()}


def _inner(annotation: Any) -> Any:  # noqa: ANN401 - a type expression
    """The section inside `Section | None` or `tuple[Section, ...]`."""
    for part in get_args(annotation):
        if part is not Ellipsis and part is not type(None):
            return _inner(part)
    return annotation
