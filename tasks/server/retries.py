"""Runs of deployments that are tried again after a fault that may pass, with growing pauses; their state says so.

What may pass (a store or an endpoint that is slow, busy or away) carries `passing`. The server then has the same run
begin anew, in its process, and finished steps are reused. Runs by hand are not tried again: a person is there.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from evenly.redaction import clean_error
from evenly.tasks.server.artifacts import server_client, warned
from evenly.tasks.server.logs import keep_prefect_secrets, log_own_errors_in_one_line
from evenly.tasks.server.states import deployed_run, failed

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

PAUSES_S = (60, 300, 1500)
"""Between the tries of a run; requests were tried again for minutes before, where they were made."""
P = ParamSpec("P")
Result = TypeVar("Result")


def tried_again(function: Callable[P, Result]) -> Callable[P, Result]:
    """A flow whose deployments' runs are tried again where it fails for what may pass, and end in a state that says so.

    Errors of evenly's own are logged in one line, and no known secret is. Runs by hand raise what the flow raises.
    """

    @wraps(function)
    def tried(*args: P.args, **kwargs: P.kwargs) -> Result:
        keep_prefect_secrets()
        try:
            return function(*args, **kwargs)
        except Exception as error:
            clean_error(error)
            log_own_errors_in_one_line()
            if (run := deployed_run()) is None:
                raise
            _plan(error, run)
            return cast("Result", failed(error))

    return tried


def _plan(error: Exception, run: "FlowRun") -> None:
    """Tell the server whether and when to try the run again, and say in the error which."""
    from prefect.client.schemas.objects import FlowRunPolicy

    if not getattr(error, "passing", False):
        _say(error, "This does not pass by itself: the run is not tried again.")
        return
    with warned("another try"), server_client() as client:
        number = client.read_flow_run(run.id).run_count
        if number > len(PAUSES_S):
            _say(error, f"It was tried {number} times: the next run goes on from the last finished step.")
            return
        pause_s = PAUSES_S[number - 1]
        client.update_flow_run(run.id, empirical_policy=FlowRunPolicy(retries=number, retry_delay=pause_s))
        _say(error, f"This may pass: the run is tried again in {pause_s} s ({number} of {len(PAUSES_S)}).")


def _say(error: Exception, text: str) -> None:
    if len(error.args) == 1:
        error.args = (f"{error} {text}",)
