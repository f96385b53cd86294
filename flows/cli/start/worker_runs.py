"""The flow runs of a worker that is ended by Ctrl-C: their processes, and their states at the Prefect server."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

_AT_WORK = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
)
_PAGE = 200
_MESSAGE = "`evenly serve` was interrupted. What the run finished is kept, and the next run goes on from there."


def runs_of_worker(client: SyncPrefectClient, *, pool: str, worker: str) -> list[FlowRun]:
    """The runs at work that a worker has started; the server knows it by the label that the worker gave them."""
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    runs = _read(client, flow_run_filter=FlowRunFilter(state=_AT_WORK), work_pool_filter=in_pool)
    return [run for run in runs if run.labels.get("prefect.worker.name") == worker]


def end_processes(runs: list[FlowRun]) -> None:
    """End the processes of runs: each leads a group of its own, and what it has started beside itself ends with it."""
    for run in runs:
        with suppress(OSError, TypeError, ValueError):  # it has ended, or has not begun
            os.killpg(int(run.infrastructure_pid or ""), signal.SIGKILL)


def cancel_runs(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Have the server know that runs, and the runs of flows that they called, are at work no more."""
    for run in [*_called_by(client, runs), *runs]:
        client.set_flow_run_state(run.id, Cancelled(message=_MESSAGE), force=True)


def _called_by(client: SyncPrefectClient, runs: list[FlowRun]) -> Iterator[FlowRun]:
    while runs:
        parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in runs])
        chosen = FlowRunFilter(state=_AT_WORK, parent_flow_run_id=parents)
        runs = list(_read(client, flow_run_filter=chosen))
        yield from runs


def _read(client: SyncPrefectClient, **filters: Any) -> Iterator[FlowRun]:  # noqa: ANN401 - filters of Prefect's
    offset = 0
    while page := client.read_flow_runs(**filters, limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)
