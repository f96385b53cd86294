"""Sections, the parts of a recipe: frozen, closed to unknown keys; and names that are checked against a list."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def known_name(kind: str, name: str, choices: Mapping[str, object]) -> str:
    """The name, if it is known."""
    if name not in choices:
        raise ValueError(f"{kind} `{name}` is unknown; known: {', '.join(sorted(choices))}")
    return name


def known_names(kind: str, names: tuple[str, ...], choices: Mapping[str, object]) -> tuple[str, ...]:
    """The names, if all are known."""
    for name in names:
        known_name(kind, name, choices)
    return names
