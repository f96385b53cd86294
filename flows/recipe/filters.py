"""The filters that a recipe names under `text` and `image`: their names, and the values that they are given."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from evenly.curation.filters import Filter
from evenly.flows.recipe.problems import describe_problems, missing_field, unknown_field
from evenly.flows.recipe.section import known_name


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
