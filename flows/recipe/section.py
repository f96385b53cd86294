"""Sections, the parts of a recipe: frozen, closed to unknown keys; and names that are checked against a list."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
