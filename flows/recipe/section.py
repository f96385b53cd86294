"""What all parts of a recipe are made of."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def known_name(what: str, name: str, known: Mapping[str, object]) -> str:
    """The name, if it is known."""
    if name not in known:
        raise ValueError(f"{what} `{name}` is unknown; known: {', '.join(sorted(known))}")
    return name


def known_names(what: str, names: tuple[str, ...], known: Mapping[str, object]) -> tuple[str, ...]:
    """The names, if all are known."""
    for name in names:
        known_name(what, name, known)
    return names
