"""Problems of a recipe, as lines that name field, value, rule and remedy; and its values without these fields."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from evenly.curation.filters import Filter

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


def with_values(fields: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Fields as a file has them, with other values of some, by their dotted names."""
    changed = dict(fields)
    for name, value in changes.items():
        first, _, path = name.partition(".")
        inner = changed.get(first)
        changed[first] = with_values(inner if isinstance(inner, Mapping) else {}, {path: value}) if path else value
    return changed


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that is most like this one; None where none is."""
    return next(iter(get_close_matches(name, sorted(names), n=1)), None)


def known_name(kind: str, name: object, choices: Mapping[str, object]) -> str:
    """The name, if it is known."""
    if not isinstance(name, str):
        raise ValueError(f"{kind} must be a name; got {type(name).__name__}. Known: {', '.join(sorted(choices))}.")  # noqa: TRY004 - pydantic takes ValueErrors alone
    if name not in choices:
        alike = nearest(name, choices)
        remedy = f"Did you mean `{alike}`? " if alike else ""
        raise ValueError(f"{kind} `{name}` is unknown. {remedy}Known: {', '.join(sorted(choices))}.")
    return name


def known_names(kind: str, names: tuple[str, ...], choices: Mapping[str, object]) -> tuple[str, ...]:
    """The names, if all are known."""
    for name in names:
        known_name(kind, name, choices)
    return names


def unknown_field(field: str, value: object, names: Sequence[str]) -> str:
    """The line about a field that is none of the `names`, which may stand there."""
    alike = nearest(field.rpartition(".")[2], names)
    remedy = f"Did you mean `{alike}`?" if alike else "Remove it."
    return f"`{field}` must be a known field; got `{_shown(value)}`. {remedy} Known: {', '.join(names)}."


def missing_field(field: str) -> str:
    """The line about a field that must be there."""
    return f"`{field}` must be given; got nothing. Add it; `evenly init` shows an example."


def check_filters(section: str, rules: Mapping[str, Mapping[str, Any]], filters: Mapping[str, Filter]) -> None:
    """Raise ValueError for filters that are unknown, and for values that their rules do not take."""
    for name, values in rules.items():
        known_name(f"{section} filter", name, filters)
        rule = filters[name].rule
        needed = {field.name: field.default is MISSING for field in fields(rule)}
        place = f"{section}.{name}"
        problems = [
            unknown_field(f"{place}.{key}", value, sorted(needed)) for key, value in values.items() if key not in needed
        ]
        problems += [
            missing_field(f"{place}.{key}") for key, is_needed in needed.items() if is_needed and key not in values
        ]
        problems = problems or [line.replace("`", f"`{place}.", 1) for line in _type_problems(rule, values)]
        if problems:
            raise ValueError(" ".join(problems))
        try:
            rule(**values)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None


def _type_problems(rule: type[Any], values: Mapping[str, Any]) -> list[str]:
    """A line for each value that is not of its field's type. They are stored as they stand, and so not converted."""
    hints = get_type_hints(rule)
    fields_by_name: dict[str, Any] = {name: (hints[name] | None, None) for name in values}
    model = create_model("Values", __config__=ConfigDict(strict=True), **fields_by_name)
    try:
        model.model_validate({name: _as_typed(value) for name, value in values.items()})
    except ValidationError as error:
        return describe_problems(error, rule)
    return []


def _as_typed(value: object) -> object:
    """A value of YAML as a rule has it: a tuple for a list, a whole number for 2.0."""
    if isinstance(value, list):
        return tuple(map(_as_typed, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
