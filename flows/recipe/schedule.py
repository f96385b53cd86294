"""When a recipe is rebuilt, what becomes of runs that overlap or were missed, and which downloads are asked again."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from evenly.bounds import Duration, duration_s
from evenly.flows.recipe.section import Section, known_names
from evenly.storage.web.errors import PASSING
from evenly.storage.web.rule import Retry

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
