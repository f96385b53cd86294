"""Events for automations: what happened to a build or a class list, with a typed payload."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from evenly.redaction import without_secrets_in
from evenly.tasks.server.api import is_watched

WORKSPACE = "evenly.workspace"
"""The label of an event's resource that says in which workspace it is."""


class Payload(BaseModel):
    """Fields that all payloads share; `event` is the event's name, `about` the id of the resource that it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    event: ClassVar[str]
    about: ClassVar[str] = "evenly.build.{build}"
    root: str


class BuildPublished(Payload):
    """`latest` of a recipe moved to a build; `previous` is where it stood."""

    event: ClassVar[str] = "evenly.build.published"
    build: str
    recipe: str
    rows: int
    kept: int
    content_hash: str
    previous: str | None


class BuildHeld(BuildPublished):
    """The guard keeps a build back; `reason` says why, and `previous` is still the latest."""

    event: ClassVar[str] = "evenly.build.held"
    reason: str


class BuildStale(Payload):
    """No rebuild has ended with the latest build of a recipe since then, for longer than its `max_age`."""

    event: ClassVar[str] = "evenly.build.stale"
    build: str
    recipe: str
    max_age: str
    since: str


class ClassesDescribed(Payload):
    """A class list was described; `refused` counts its refused and failed texts by reason."""

    event: ClassVar[str] = "evenly.classes.described"
    about: ClassVar[str] = "evenly.class-list.{class_list}"
    class_list: str
    step: str
    accepted: int
    refused: dict[str, int]


class AuditFailed(Payload):
    """The latest build of a recipe does not add up."""

    event: ClassVar[str] = "evenly.audit.failed"
    build: str
    recipe: str
    findings: int


def emit(payload: Payload) -> None:
    """Send an event to the server of the run that this is part of, where people look at it."""
    if not is_watched():
        return
    from prefect.events import emit_event

    fields = payload.model_dump(mode="json")
    related = []
    if "recipe" in fields:
        related = [{"prefect.resource.id": f"evenly.recipe.{fields['recipe']}", "prefect.resource.role": "recipe"}]
    resource = {"prefect.resource.id": payload.about.format_map(fields), WORKSPACE: payload.root}
    emit_event(event=payload.event, resource=resource, related=related, payload=without_secrets_in(fields))
