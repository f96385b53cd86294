"""The Prefect API that a command's flows report to: the one of PREFECT_API_URL or a profile; else there is none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.process.environment import OF_A_COMMAND, command_settings, no_widgets
from evenly.redaction import keep_secrets_out_of_logs, without_secrets
from evenly.tasks.server.api import has_api
from evenly.tasks.server.jobs import Job
from evenly.tasks.server.logs import keep_prefect_secrets, off_terminal

P = ParamSpec("P")
Result = TypeVar("Result")


@contextmanager
def prefect_api() -> Iterator[None]:
    """Have Prefect set up for the jobs that a command calls while the context lasts, where it has an API.

    Where it has none they are called as functions, and Prefect is not loaded: evenly.tasks.server.jobs.
    """
    keep_secrets_out_of_logs()
    if not has_api():
        with no_widgets():
            yield
        return
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL

    keep_prefect_secrets()
    with command_settings(), ExitStack() as stack:
        if PREFECT_LOGGING_LEVEL.value() == OF_A_COMMAND["PREFECT_LOGGING_LEVEL"]:  # not as the user wants to see more
            stack.enter_context(off_terminal())
        stack.enter_context(_needed(str(PREFECT_API_URL.value())))
        yield


def as_flow(job: Job[P, Result]) -> Callable[P, Result]:
    """A job for a command to call: as a flow where Prefect has an API, elsewhere as the function that it is."""
    return prefect_api()(job if has_api() else job.checked)


@contextmanager
def _needed(url: str) -> Iterator[None]:
    """Say in one line that the server is gone, where a flow can no longer report to it."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if (reason := _server_trouble(error)) is None:
            raise
        raise PrefectServerError(
            f"the Prefect server at `{without_secrets(url)}` must answer until the end; {reason}. See that it runs and "
            "that PREFECT_API_URL is its address, then run again: what is finished is kept and reused."
        ) from None


def _server_trouble(error: BaseException) -> str | None:
    """What a server did wrong, by an error of Prefect's client or one that came of it; None for another error."""
    if type(error).__module__.startswith("evenly."):
        return None
    import httpx

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, httpx.HTTPStatusError):
            return f"it answered with status {cause.response.status_code}"
        if isinstance(cause, httpx.TransportError):
            return without_secrets(str(cause)) or type(cause).__name__
    text = str(error).partition("\n")[0]
    return without_secrets(text.rstrip(".")) if text.startswith(("Failed to reach API", "Found incompatible")) else None
