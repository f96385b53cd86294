"""Jobs: flows of Prefect's where it has an API, plain functions elsewhere; the states in which their runs end.

A command on somebody's machine needs no server for the work that it does itself: where Prefect has no API, a job is
called as the function that it is, and its parts too. With one (PREFECT_API_URL, a profile), under `evenly serve` and in
deployments each is a flow run with task runs.

A deployed run that fails by what may pass (a store or an endpoint that is slow, busy or away) carries `passing`. The
server then has the same run begin anew, in its process, after growing pauses, and finished steps are reused; its state
says so. Runs by hand are not tried again: a person is there.

A stop of the worker, of the server or of the machine leaves runs that were due meanwhile, and a run that works longer
than the time between two of them leaves others. They begin in the order of their times, as their queue holds one run at
a time; each one decides when it begins whether it makes up for them or is skipped, so it does not matter what was away.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload
from uuid import UUID

from evenly.redaction import clean_error, errors_without_secrets
from evenly.storage.errors import InputError
from evenly.tasks.server.api import flow_run, has_api, in_run
from evenly.tasks.server.artifacts import server_client, warned
from evenly.tasks.server.logs import keep_prefect_secrets, log_error, put_chatter_below_info

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

P = ParamSpec("P")
Result = TypeVar("Result")
Outcome = Literal["published", "unchanged", "held", "failed", "skipped"]
"""`held` waits for a person; `skipped` did not begin, since another run of its deployment takes its place."""


def deployed_run() -> "FlowRun | None":
    """The run of a deployment that this is part of; None where a command, Python or another flow called the flow."""
    run = flow_run()
    return None if run is None or run.deployment_id is None else run


def ended(result: Result, message: str, *, outcome: Outcome = "published") -> Result:
    """The state of an outcome with a message, to be returned by a flow: Prefect hands its caller the `result`.

    Pages show a state by its type: Completed is green, Cancelled grey, Failed red. Prefect raises at the caller of a
    flow that was cancelled, so where no deployment runs a held build is a completed state named `Held`. Where no flow
    runs it is the result itself.
    """
    if not in_run():
        return result
    from prefect.client.schemas.objects import State, StateType

    kinds = {
        "published": (StateType.COMPLETED, "Completed"),
        "unchanged": (StateType.COMPLETED, "Cached"),
        "held": (StateType.CANCELLED, "Cancelled") if deployed_run() else (StateType.COMPLETED, "Held"),
        "skipped": (StateType.CANCELLED, "Cancelled"),
        "failed": (StateType.FAILED, "Failed"),
    }
    kind, name = kinds[outcome]
    return cast("Result", State(type=kind, name=name, message=message, data=result))


def failed(error: Exception) -> Exception:
    """The state of an error, in a line, to be returned by a flow: no copy of it is stored."""
    return ended(error, log_error(error), outcome="failed")


PAUSES_S = (60, 300, 1500)
"""Between the tries of a run; requests were tried again for minutes before, where they were made."""


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
        """The function's result; its flow's state with `return_state`."""
        called = self.flow if "return_state" in kwargs or in_run() or has_api() else self.checked
        return called(*args, **kwargs)

    @property
    def checked(self) -> Callable[P, Result]:
        """The function; raises InputError for a value of another type, as a flow does, and no error holds a secret.

        Made at each call: a flow travels to worker processes with its job, which must hold nothing that cannot.
        """
        from pydantic import ConfigDict, validate_call

        checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(self.function)
        return _refused_values(self.function.__name__)(errors_without_secrets()(checked))

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


@contextmanager
def _refused_values(function: str) -> Iterator[None]:
    """Raise InputError for the first argument of a function that its types refuse."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        if error.title != function:  # of something that the function did
            raise
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


CatchUp = Literal["latest", "all", "none"]
GRACE = timedelta(minutes=5)
"""A run that could have begun so long ago was missed."""
_LAST_RUNS = 200
_LEFT_OUT = "Deployment concurrency limit reached."


def reason_to_skip(catch_up: CatchUp) -> str:
    """Why the deployed run that this is part of is not to go on, or "". Others that it makes up for are cancelled.

    Those that stay begin as they were due, also where they came up against this one while it waited to be tried again.
    """
    run = deployed_run()
    if run is None or not run.auto_scheduled:
        return ""
    from prefect.states import Scheduled

    reasons: dict[UUID, str] = {}
    with warned("missed runs"), server_client() as client:
        now = datetime.now(UTC)
        runs = _due_runs(client, run.deployment_id, now)
        reasons = reasons_to_skip(run, runs, catch_up, now) | _reasons_left_out(runs)
        for entry in runs:
            if entry.id in reasons:
                client.update_flow_run(entry.id, name=reasons[entry.id].partition(",")[0])  # lists show no messages
                if entry.id != run.id:
                    client.set_flow_run_state(entry.id, ended("", reasons[entry.id], outcome="skipped"))
            elif entry.state.name == "AwaitingConcurrencySlot" and not entry.run_count:
                client.set_flow_run_state(entry.id, Scheduled(scheduled_time=entry.expected_start_time))
        if run.id not in reasons:
            _let_others_first(client, run)
    return reasons.get(run.id, "")


def _let_others_first(client: Any, run: Any) -> None:  # noqa: ANN401 - Prefect's
    """Put the queue of a run behind the others: a worker that takes one run at a time takes that of the first queue."""
    if run.work_pool_name is not None:
        last = max(queue.priority for queue in client.read_work_queues(work_pool_name=run.work_pool_name))
        client.update_work_queue(run.work_queue_id, priority=last + 1)


def _due_runs(client: Any, deployment: UUID | None, now: datetime) -> list[Any]:  # noqa: ANN401 - Prefect's
    """The last runs of a deployment that were due by now, the newest first."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    chosen = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
    )
    newest_first = FlowRunSort.EXPECTED_START_TIME_DESC
    return list(client.read_flow_runs(flow_run_filter=chosen, sort=newest_first, limit=_LAST_RUNS))


def reasons_to_skip(run: Any, runs: Sequence[Any], catch_up: CatchUp, now: datetime) -> dict[UUID, str]:  # noqa: ANN401 - Prefect's
    """Why a flow run that begins, or others of its schedule that wait, are skipped, by id.

    The one that begins makes up for all that wait: a newer one would find a newer still where runs begin late.
    """
    waiting = [entry for entry in runs if entry.auto_scheduled and entry.state.is_scheduled() and not entry.run_count]
    due = {entry.id: entry.expected_start_time for entry in (run, *waiting) if entry.expected_start_time}
    if run.id not in due:
        return {}
    if catch_up == "all":  # but one of each time: the server may make two while a recipe is deployed anew
        due = {identity: time for identity, time in due.items() if time == due[run.id]}
    missed = set[UUID]()
    if catch_up == "none":
        missed = {identity for identity, time in due.items() if now - max(time, _free_since(runs, time)) > GRACE}
    left = due.keys() - missed
    chosen = run.id if run.id in left else max(left, key=due.__getitem__, default=None)
    place = "" if chosen is None else f", and that of {due[chosen]:%F %R} UTC takes its place"
    reasons = {
        identity: f"skipped: due {time:%F %R} UTC" + (", when nothing could run it" if identity in missed else place)
        for identity, time in due.items()
        if identity != chosen
    }
    return {identity: f"{reason} (schedule.catch_up: {catch_up})" for identity, reason in reasons.items()}


def _reasons_left_out(runs: Sequence[Any]) -> dict[UUID, str]:
    """Why the server has cancelled runs of a schedule, by id: it says no more than that a limit was reached."""
    return {
        run.id: f"skipped: due {run.expected_start_time:%F %R} UTC, when another had not ended (schedule.overlap: skip)"
        for run in runs
        if run.state.is_cancelled() and run.state.message == _LEFT_OUT
    }


def _free_since(runs: Sequence[Any], time: datetime) -> datetime:
    """When the last run that worked ended; `time` where none has."""
    worked = [run for run in runs if run.end_time and not (run.state.message or "").startswith("skipped")]
    return max((run.end_time for run in worked if run.end_time), default=time)
