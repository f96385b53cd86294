"""Runs of a deployment that missed their time: which of them are made up for, and which are skipped.

A stop of the worker, of the server or of the machine leaves runs that were due meanwhile, and a run that works longer
than the time between two of them leaves others. They begin in the order of their times, as their queue holds one run at
a time; each one decides when it begins, so it does not matter what was away.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from evenly.tasks.server.artifacts import server_client, warned
from evenly.tasks.server.states import deployed_run, ended

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
        for each in runs:
            if each.id in reasons:
                client.update_flow_run(each.id, name=reasons[each.id].partition(",")[0])  # lists show no messages
                if each.id != run.id:
                    client.set_flow_run_state(each.id, ended("", reasons[each.id], outcome="skipped"))
            elif each.state.name == "AwaitingConcurrencySlot" and not each.run_count:
                client.set_flow_run_state(each.id, Scheduled(scheduled_time=each.expected_start_time))
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
    waiting = [each for each in runs if each.auto_scheduled and each.state.is_scheduled() and not each.run_count]
    due = {each.id: each.expected_start_time for each in (run, *waiting) if each.expected_start_time}
    if run.id not in due:
        return {}
    if catch_up == "all":  # but one of each time: the server may make two while a recipe is deployed anew
        due = {identity: time for identity, time in due.items() if time == due[run.id]}
    missed = set[UUID]()
    if catch_up == "none":
        missed = {identity for identity, time in due.items() if now - max(time, _free_since(runs, time)) > GRACE}
    left = due.keys() - missed
    taken = run.id if run.id in left else max(left, key=due.__getitem__, default=None)
    place = "" if taken is None else f", and that of {due[taken]:%F %R} UTC takes its place"
    reasons = {
        identity: f"skipped: due {time:%F %R} UTC" + (", when nothing could run it" if identity in missed else place)
        for identity, time in due.items()
        if identity != taken
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
