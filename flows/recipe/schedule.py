"""When a deployment rebuilds a recipe, and whom its runs tell what they came to."""

import re
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from evenly.flows.recipe.section import Section

_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_EXAMPLE = "such as `0 3 * * 1` for Mondays at three"


class RebuildSchedule(Section):
    """When the deployment of a recipe, made by `evenly serve` or `evenly deploy`, runs."""

    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _names_times(cls, cron: str) -> str:
        from prefect._vendor.croniter import CroniterBadDateError, croniter  # Prefect's server reads crons by it

        if not croniter.is_valid(cron) or {"r", "h"} & set(cron.casefold().split()):
            raise ValueError(f"must be five fields of cron, {_EXAMPLE}; got `{cron}`")
        try:
            croniter(cron).get_next()
        except CroniterBadDateError:
            raise ValueError(f"must name a day that comes, {_EXAMPLE}; got `{cron}`") from None
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        if timezone not in available_timezones():
            raise ValueError(f"must be a time zone of the IANA database, such as Europe/Berlin; got `{timezone}`")
        return timezone


class Notify(Section):
    """Notification blocks of the Prefect server, as `slack-webhook/team`, that are told of these ends of a rebuild."""

    blocks: Annotated[tuple[str, ...], Field(min_length=1)]
    events: tuple[Literal["published", "held", "failed"], ...] = ("held", "failed")

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
