"""Jobs: flows of Prefect's where it has an API, plain functions elsewhere; and what becomes of a run that fails.

A command on somebody's machine needs no server for the work that it does itself: where Prefect has no API, a job is
called as the function that it is, and its parts too. With one (PREFECT_API_URL, a profile), under `evenly serve` and in
deployments each is a flow run with task runs.

A deployed run that fails by what may pass (a store or an endpoint that is slow, busy or away) carries `passing`. The
server then has the same run begin anew, in its process, after growing pauses, and finished steps are reused; its state
says so. Runs by hand are not tried again: a person is there.
"""

import inspect
from collections.abc import Callable
from functools import cached_property, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from evenly.redaction import clean_error
from evenly.storage.errors import InputError
from evenly.tasks.server.api import has_api, in_run
from evenly.tasks.server.artifacts import server_client, warned
from evenly.tasks.server.logs import keep_prefect_secrets, put_chatter_below_info
from evenly.tasks.server.states import deployed_run, failed

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

PAUSES_S = (60, 300, 1500)
"""Between the tries of a run; requests were tried again for minutes before, where they were made."""
P = ParamSpec("P")
Result = TypeVar("Result")


class Job(Generic[P, Result]):
    """A function that is a flow of Prefect's where it has an API, and is called as it is where it has none."""

    def __init__(self, function: Callable[P, Result], name: str, options: dict[str, Any]) -> None:
        self.function, self.name, self.options = function, name, options
        update_wrapper(self, function)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> Any: ...  # noqa: ANN401 - Prefect's
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives; its flow's state with `return_state`. Raises InputError for a value of another type.

        Errors hold no known secret.
        """
        if "return_state" in kwargs or in_run() or has_api():
            return self.flow(*args, **kwargs)
        args, kwargs = self._checked(args, kwargs)
        try:
            return self.function(*args, **kwargs)
        except Exception as error:
            clean_error(error)
            raise

    @cached_property
    def flow(self) -> "Flow[P, Result]":
        """The flow: nothing of its runs is stored but what the workspace keeps.

        A run that fails says so in one line, without known secrets. Prefect would write what a flow raises into its
        storage, as a pickle: so the flow returns the failed state, and Prefect raises the error in it to who called it.
        """
        from prefect import Flow, tags
        from prefect.runtime import flow_run

        @wraps(self.function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Result:
            keep_prefect_secrets()
            try:
                # also of jobs that are called here: by tag a server ends those that stopped reporting
                with tags(*flow_run.tags):
                    return self.function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - it is in the state, which Prefect raises it from
                clean_error(error)
                if (deployed := deployed_run()) is not None:
                    _plan(error, deployed)
                return cast("Result", failed(error))

        put_chatter_below_info(self.name)
        return Flow(run, name=self.name, persist_result=False, **self.options)

    def _checked(self, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - those of any function
        """Arguments as the types of the parameters have them, as a flow checks those of its run."""
        from pydantic import ConfigDict, ValidationError, validate_call

        @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
        @wraps(self.function)
        def given(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as above
            return args, kwargs

        try:
            inspect.signature(self.function).bind(*args, **kwargs)
            return given(*args, **kwargs)
        except ValidationError as error:
            first = error.errors()[0]
            place, rule = ".".join(map(str, first["loc"])), first["msg"].replace("Input should ", "must ")
            raise InputError(f"`{place}` {rule}; got `{first['input']}`. Correct it.") from None


def job(name: str, **options: Any) -> Callable[[Callable[P, Result]], Job[P, Result]]:  # noqa: ANN401 - Prefect's
    """A job by this name, with `options` of Prefect's flows."""
    return lambda function: Job(function, name, options)


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
