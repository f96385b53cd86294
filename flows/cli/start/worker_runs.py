"""The flow runs of a worker that is ended by Ctrl-C: their processes, and their states at the Prefect server."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
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

from evenly.flows.process.orphans import children_of

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


def end_worker(process: subprocess.Popen[bytes]) -> None:
    """End a worker, and the processes of its runs, each of which leads a group of its own."""
    process.send_signal(signal.SIGSTOP)  # it begins no other
    children = children_of(process.pid)
    process.kill()
    for child in children:
        _end_process(child)


def _end_process(pid: int) -> None:
    """End a process, with its group if it leads one."""
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)


def cancel_runs(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Have the server know that runs, and the runs of flows that they called, are at work no more."""
    for run in [*_called_by(client, runs), *runs]:
        if run.infrastructure_pid and not Path("/proc").is_dir():  # else its process has ended with the worker
            _end_process(int(run.infrastructure_pid))
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
