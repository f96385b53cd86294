"""Turn what pydantic finds wrong in a recipe into lines that name field, value, rule and remedy."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from evenly.flows.recipe.section import nearest

MAX_SHOWN = 80
Place = tuple[int | str, ...]
_LONG = re.compile(r"\S{120,}")
_KINDS = {
    "int": "be a whole number",
    "float": "be a number",
    "bool": "be true or false",
    "string": "be a text",
    **dict.fromkeys(("list", "tuple"), "be a list"),
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class RecipeError(ValueError):
    """A recipe cannot be used; one line per problem. rest: the recipe without these fields, where there is one."""

    rest: Any = None


def describe_problems(
    error: ValidationError, model: type[Any], *, subject: str = "recipe", removed: Collection[Place] = ()
) -> list[str]:
    """One line per problem: "`field` must rule; got `value`. What to do". subject: what fields make up together.

    removed: fields that had problems and were taken out before; what follows from that is not told.
    """
    sections = {place[:-1] for place in removed}
    problems = [
        problem
        for problem in error.errors(include_url=False)
        if problem["loc"] not in removed and problem["loc"] not in sections
    ]
    places = [problem["loc"] for problem in problems]
    misspelt = {_meant(problem, model) for problem in problems if problem["type"] in _UNKNOWN}
    return [
        _describe(problem, model, subject)
        for problem in problems
        if not _follows(problem, places) and not (problem["type"] == "missing" and problem["loc"] in misspelt)
    ]


def without_places(value: Any, places: Iterable[Place]) -> Any:  # noqa: ANN401 - of YAML
    """A recipe's values without those at some places; the same values where none of the places is there."""
    value = deepcopy(value)
    for *sections, name in filter(None, places):
        section = value
        for part in sections:
            inside = isinstance(section, dict) and part in section
            inside = inside or (isinstance(section, list) and isinstance(part, int) and part < len(section))
            section = section[part] if inside else None
        if isinstance(section, dict):
            section.pop(name, None)
    return value


def unknown_field(field: str, value: object, names: Sequence[str]) -> str:
    """The line about a field that is none of the `names`, which may stand there."""
    alike = nearest(field.rpartition(".")[2], names)
    remedy = f"Did you mean `{alike}`?" if alike else "Remove it."
    return f"`{field}` must be a known field; got `{_shown(value)}`. {remedy} Known: {', '.join(names)}."


def missing_field(field: str) -> str:
    """The line about a field that must be there."""
    return f"`{field}` must be given; got nothing. Add it; `evenly init` shows an example."


def _meant(problem: Any, model: type[Any]) -> tuple[int | str, ...]:  # noqa: ANN401 - pydantic's ErrorDetails
    """The place of the known field that is most like an unknown one; its own where none is."""
    *section, name = problem["loc"]
    return (*section, nearest(str(name), _fields_at(model, tuple(section))) or name)


def _follows(problem: Any, places: list[tuple[int | str, ...]]) -> bool:  # noqa: ANN401 - pydantic's ErrorDetails
    """Whether a list is too short only because its items are wrong, which is told already."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(longer) > len(place) and longer[: len(place)] == place for longer in places
    )


def _describe(problem: Any, model: type[Any], subject: str) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    place = tuple(problem["loc"])
    field = ".".join(str(part) for part in place)
    if problem["type"] in _UNKNOWN:
        return unknown_field(field, problem["input"], _fields_at(model, place[:-1]))
    if problem["type"] == "missing":
        return missing_field(field)
    rule = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should ")
    kind, _, reason = problem["type"].partition("_")
    if reason in ("type", "parsing", "from_float"):
        rule = _KINDS.get(kind, rule)
    if problem["type"] == "string_pattern_mismatch":
        rule = f"match {problem['ctx']['pattern']}"
        dash = ", -" if re.match(problem["ctx"]["pattern"], "a-b") else ""
        rule += "" if "A-Z" in rule else f": lower-case letters, digits{dash} and _"
    if problem["type"] == "too_short":
        rule = f"have at least {problem['ctx']['min_length']} of them"
    if problem["type"] == "dataclass_type":
        rule = "be a mapping of fields"
    rule = _LONG.sub(lambda word: f"{word[0][:MAX_SHOWN]}…", rule)
    if problem["type"] == "value_error":  # that of a rule names a remedy of its own
        remedy = "" if rule.endswith(".") else ". Change it and run `evenly check` again."
        return f"`{field or subject}`: {rule}{remedy}"
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
        if get_origin(section) in (dict, Mapping):
            section = _inner(get_args(section)[1])
            continue
        types = _field_types(section)
        if part not in types:
            return []
        section = _inner(types[part])
    return sorted(_field_types(section))


def _field_types(section: Any) -> dict[str, Any]:  # noqa: ANN401 - a section or a rule
    """The fields of a section or of a rule, and the type of each."""
    if is_dataclass(section):
        return {_written(field): field.type for field in fields(section)}
    return {name: field.annotation for name, field in getattr(section, "model_fields", {}).items()}


def _written(field: Field[Any]) -> str:
    """The name that a recipe has for the field of a rule."""
    notes = getattr(field.type, "__metadata__", ())
    return next((str(note.alias) for note in notes if getattr(note, "alias", None)), field.name)


def _inner(annotation: Any) -> Any:  # noqa: ANN401 - a type expression
    """The section inside `Section | None` or `tuple[Section, ...]`; a mapping of sections as it is."""
    if get_origin(annotation) in (dict, Mapping):
        return annotation
    for part in get_args(annotation):
        if part is not Ellipsis and part is not type(None):
            return _inner(part)
    return annotation
