"""What all parts of a recipe are made of."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
SectionT = TypeVar("SectionT", bound="Section")


def local_path(path: str) -> str:
    """The path, if it is of this machine."""
    if "://" in path:
        raise ValueError(f"must be a path of this machine; got `{path}`: mount it, or copy it here")
    return path


LocalPath = Annotated[str, AfterValidator(local_path)]


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def exactly_one(model: SectionT, names: tuple[str, ...]) -> SectionT:
    """The section, if it gives one of these fields and no other."""
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")
    return model


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
