"""Sections, the parts of a recipe: frozen, closed to unknown keys, names checked against a list; and who is told."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


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


class Notify(Section):
    """Notification blocks of the Prefect server, as `slack-webhook/team`, that are told of these events of a recipe.

    published, held and failed are ends of a rebuild; stale is a latest build older than `schedule.max_age`.
    """

    blocks: Annotated[tuple[str, ...], Field(min_length=1)]
    events: tuple[Literal["published", "held", "failed", "stale"], ...] = ("held", "failed", "stale")

    @field_validator("blocks")
    @classmethod
    def _are_names(cls, blocks: tuple[str, ...]) -> tuple[str, ...]:
        for block in blocks:
            if not _BLOCK.fullmatch(block):
                raise ValueError(f"must be types and names of blocks, such as `slack-webhook/team`; got `{block}`")
        return blocks

    def blocks_for(self, event: str) -> tuple[str, ...]:
        """The blocks that are told of an event."""
        return self.blocks if event in self.events else ()
