"""Which runs of a deployment are made up for after a stop, and in which order."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Completed, Pending, Running, Scheduled

from evenly.tasks.server.jobs import ended, reason_to_skip, reasons_to_skip

POOL = "evenly-missed"
LEFT_OUT = "Deployment concurrency limit reached."
"""What the server says of a run that it cancels since another of its deployment has not ended."""
NOW = datetime(2026, 11, 30, 10, 5, 30, tzinfo=UTC)
AT = [NOW - timedelta(minutes=minutes, seconds=30) for minutes in range(9, -1, -1)]


def run_of(time: datetime, state: Any, **fields: Any) -> FlowRun:  # noqa: ANN401 - Prefect's
    return FlowRun(
        id=uuid4(), flow_id=uuid4(), expected_start_time=time, state=state, **{"auto_scheduled": True} | fields
    )


def skipped(catch_up: str, *runs: FlowRun, now: datetime = NOW) -> list[bool]:
    """Whether each is, when the first of them begins."""
    reasons = reasons_to_skip(runs[0], runs, catch_up, now)
    assert all(reason.endswith(f"(schedule.catch_up: {catch_up})") for reason in reasons.values())
    return [run.id in reasons for run in runs]


def test_after_a_stop_the_run_that_begins_first_makes_up_for_all():
    missed = [run_of(time, Scheduled(scheduled_time=time)) for time in AT[5:]]
    assert skipped("latest", *missed) == [False, True, True, True, True]
    assert skipped("all", *missed) == [False] * 5
    assert skipped("none", *missed) == [False, True, True, True, True]  # it could have begun within five minutes
    assert skipped("none", *missed, now=NOW + timedelta(minutes=3)) == [True, True, True, True, False]
    assert skipped("none", *missed, now=NOW + timedelta(minutes=9)) == [True] * 5


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
def test_of_two_runs_of_one_time_the_second_is_skipped(catch_up):
    twins = [run_of(AT[9], Scheduled(scheduled_time=AT[9])) for _ in range(2)]
    assert skipped(catch_up, *twins) == [False, True]


def test_a_run_that_waited_for_the_one_before_it_was_not_missed():
    long = run_of(AT[0], Completed(), start_time=AT[0], end_time=NOW - timedelta(seconds=10))
    waited = run_of(AT[1], Running(), start_time=NOW)
    assert skipped("none", waited, long) == [False, False]
    gone = run_of(AT[0], Cancelled(message="skipped: due before"), start_time=NOW, end_time=NOW)
    assert skipped("none", waited, gone) == [True, False]


def test_a_run_that_was_cancelled_before_it_began_takes_nobodys_place():
    late = run_of(AT[8], Running(), start_time=NOW)
    overlapping = run_of(AT[9], Cancelled(message=LEFT_OUT), start_time=NOW, end_time=NOW)  # at the same moment
    assert skipped("latest", late, overlapping) == [False, False]


def test_runs_by_hand_are_never_skipped_and_take_nobodys_place():
    by_hand = run_of(AT[9], Scheduled(), auto_scheduled=False)
    assert skipped("latest", run_of(AT[8], Running()), by_hand) == [False] * 2
    assert skipped("latest", run_of(AT[8], Running()), run_of(AT[7], Running())) == [False] * 2


@flow(persist_result=False)
def work(catch_up: str) -> str:
    reason = reason_to_skip(catch_up)
    return ended(reason, reason or "published", outcome="skipped" if reason else "published")


@pytest.fixture
def deployed(prefect_server: None, request: pytest.FixtureRequest) -> Iterator[UUID]:  # noqa: ARG001 - it is there while this lasts
    each_minute = DeploymentScheduleCreate(schedule=CronSchedule(cron="* * * * *"))
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        for name in ("first", "second"):
            client.create_work_queue(name, work_pool_name=POOL)
        given = {"work_pool_name": POOL, "work_queue_name": "first", "parameters": {"catch_up": request.param}}
        identity = client.create_deployment(client.create_flow(work), name="missed", schedules=[each_minute], **given)
        yield identity
        client.delete_deployment(identity)
        client.delete_work_pool(POOL)


@pytest.mark.parametrize("deployed", ["latest", "all"], indirect=True)
def test_the_first_run_that_begins_after_a_stop_makes_up_for_those_that_wait_or_has_them_begin_in_order(
    deployed, request
):
    now = datetime.now(UTC)
    span = {"start_time": str(now - timedelta(minutes=4)), "end_time": str(now)}
    with get_client(sync_client=True) as client:  # as the server's scheduler does, some minutes ago
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployed}, json=span)
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployed]),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
        )
        runs = sorted(client.read_flow_runs(flow_run_filter=wanted), key=lambda run: run.expected_start_time)
        overtaken = Scheduled(name="AwaitingConcurrencySlot", scheduled_time=now + timedelta(hours=1))
        client.set_flow_run_state(runs[-1].id, overtaken)
        left_out = client.create_flow_run_from_deployment(deployed, state=Cancelled(message=LEFT_OUT))
        client.set_flow_run_state(runs[0].id, Pending())
        run_flow(work, flow_run=client.read_flow_run(runs[0].id), return_type="state")
        runs = [client.read_flow_run(run.id) for run in runs]
        left_out = client.read_flow_run(left_out.id)
        queues = {queue.priority: queue.name for queue in client.read_work_queues(work_pool_name=POOL)}
    assert [queues[priority] for priority in sorted(queues)] == ["default", "second", "first"]
    assert left_out.state.message.endswith(" UTC, when another had not ended (schedule.overlap: skip)")
    assert left_out.name == left_out.state.message.partition(",")[0]
    first, *waited = runs
    assert len(waited) >= 2
    assert first.state.message == "published"
    if "all" in request.node.name:
        assert [run.next_scheduled_start_time for run in waited] == [run.expected_start_time for run in waited]
    else:
        assert {run.state.name for run in waited} == {"Cancelled"}
        assert all(run.state.message.startswith("skipped: due ") for run in waited)
        assert [run.name for run in waited] == [run.state.message.partition(",")[0] for run in waited]
