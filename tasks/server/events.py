"""Events for automations: what happened to a build or a class list, with a typed payload."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from evenly.redaction import without_secrets_in
from evenly.tasks.server.artifacts import is_watched


class Payload(BaseModel):
    """Fields that all payloads share; `event` is the event's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    event: ClassVar[str]

    @property
    def resource(self) -> str:
        """The id of the resource that it is about."""
        raise NotImplementedError

    @property
    def related_recipe(self) -> str | None:
        """The recipe that it belongs to, where there is one."""
        return None


class BuildPublished(Payload):
    """`latest` of a recipe moved to a build; `previous` is where it stood."""

    event: ClassVar[str] = "evenly.build.published"
    build: str
    recipe: str
    rows: int
    kept: int
    content_hash: str
    previous: str | None
    root: str

    @property
    def resource(self) -> str:
        """The build."""
        return f"evenly.build.{self.build}"

    @property
    def related_recipe(self) -> str:
        """Its recipe."""
        return self.recipe


class BuildHeld(BuildPublished):
    """The guard keeps a build back; `reason` says why, and `previous` is still the latest."""

    event: ClassVar[str] = "evenly.build.held"
    reason: str


class ClassesDescribed(Payload):
    """A class list was described; `refused` counts its refused and failed texts by reason."""

    event: ClassVar[str] = "evenly.classes.described"
    class_list: str
    step: str
    accepted: int
    refused: dict[str, int]
    root: str

    @property
    def resource(self) -> str:
        """The class list."""
        return f"evenly.class-list.{self.class_list}"


class AuditFailed(Payload):
    """The latest build of a recipe does not add up."""

    event: ClassVar[str] = "evenly.audit.failed"
    build: str
    recipe: str
    findings: int
    root: str

    @property
    def resource(self) -> str:
        """The build."""
        return f"evenly.build.{self.build}"

    @property
    def related_recipe(self) -> str:
        """Its recipe."""
        return self.recipe


def emit(payload: Payload) -> None:
    """Send an event to the server of the run that this is part of, where people look at it."""
    if not is_watched():
        return
    from prefect.events import emit_event

    related = []
    if payload.related_recipe is not None:
        recipe = {"prefect.resource.id": f"evenly.recipe.{payload.related_recipe}", "prefect.resource.role": "recipe"}
        related.append(recipe)
    resource = {"prefect.resource.id": payload.resource}
    public = without_secrets_in(payload.model_dump(mode="json"))
    emit_event(event=payload.event, resource=resource, related=related, payload=public)
