"""When a deployment rebuilds a recipe."""

from zoneinfo import available_timezones

from pydantic import field_validator

from evenly.flows.recipe.section import Section

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
