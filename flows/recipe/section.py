"""Sections, the parts of a recipe: frozen, closed to unknown keys; and those on when it is rebuilt and who is told."""

import re
import sys
from datetime import datetime, timedelta
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from evenly.bounds import Duration, duration_s
from evenly.flows.recipe.problems import known_names
from evenly.storage.web.errors import PASSING
from evenly.storage.web.rule import Retry

_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


_EXAMPLE = "such as `0 3 * * 1` for Mondays at three"


class RetryFailures(Section):
    """Downloads that failed for one of `reasons` are asked again by the first rebuild so long `after` they failed.

    http_5xx stands for http_500 to http_599.
    """

    after: Duration = "7d"
    reasons: Annotated[tuple[str, ...], Field(min_length=1)] = ("dns", "connection", "timeout", "http_5xx")

    @field_validator("reasons")
    @classmethod
    def _may_pass(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        return known_names("reason", reasons, dict.fromkeys(PASSING))

    def of_run(self, started: datetime) -> Retry:
        """The failures that a run asks again, by when it started."""
        return Retry(reasons=self.reasons, until=started - timedelta(seconds=duration_s(self.after)))


class RebuildSchedule(Section):
    """When the deployment of a recipe, made by `evenly serve` or `evenly deploy`, runs.

    overlap: of a run that becomes due while another works. catch_up: of runs that were missed. retry: of downloads that
    failed, by every rebuild; null: never asked again. A latest build older than `max_age` is told as stale.
    """

    cron: str
    timezone: str = "UTC"
    overlap: Literal["skip", "queue"] = "skip"
    catch_up: Literal["latest", "all", "none"] = "latest"
    retry: RetryFailures | None = RetryFailures()
    max_age: Duration | None = None

    @field_validator("cron")
    @classmethod
    def _names_times(cls, cron: str) -> str:
        crons = _crons()
        if not crons.croniter.is_valid(cron) or {"r", "h"} & set(cron.casefold().split()):
            raise ValueError(f"must be five fields of cron, {_EXAMPLE}; got `{cron}`")
        try:
            crons.croniter(cron).get_next()
        except crons.CroniterBadDateError:
            raise ValueError(f"must name a day that comes, {_EXAMPLE}; got `{cron}`") from None
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)  # to list the names of all zones, some 600 files are opened
        except (ZoneInfoNotFoundError, ValueError, OSError):
            rule = f"must be a time zone of the IANA database, such as Europe/Berlin; got `{timezone}`"
            raise ValueError(rule) from None
        return timezone


@cache
def _crons() -> Any:  # noqa: ANN401 - a module without types
    """Prefect's copy of croniter, by which its server reads crons, without Prefect, which takes a second to load."""
    prefect = find_spec("prefect")
    spec = PathFinder.find_spec("croniter", [str(Path(str(prefect and prefect.origin)).with_name("_vendor"))])
    if spec is None or spec.loader is None:
        raise ImportError("prefect must bring croniter along; it does not. Install the version that evenly names.")
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # its own parts are imported by its name
    spec.loader.exec_module(module)
    return module
