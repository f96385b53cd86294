"""Deploy recipes to a Prefect server, and run a process worker for them."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled
from prefect.workers.process import ProcessWorker

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_text
from evenly.flows.cli.start.deployments import RecipeFile, RunOptions, deployments_of, put_queues, register
from evenly.flows.cli.start.namespaces import HEARTBEAT_S, PROCESS, Namespace, crashed_runs, put_automation
from evenly.flows.describe_classes import describe_classes
from evenly.flows.process.environment import OF_A_COMMAND
from evenly.flows.process.interruption import unwinding
from evenly.flows.process.machine import children_of
from evenly.flows.process.tether import tethered_process
from evenly.flows.runs import prefect_api
from evenly.tasks.server.logs import FLOW_RUNS_LEVEL
from evenly.tasks.server.notices import block_problems

_QUIET = (
    "PREFECT_LOGGING_LEVEL",
    "PREFECT_LOGGING_INTERNAL_LEVEL",
    FLOW_RUNS_LEVEL,
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL",
)
_AT_WORK = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
)
_PAGE = 200
_MESSAGE = "`evenly serve` was interrupted. What the run finished is kept, and the next run goes on from there."
_UNWIND_S, _ANSWER_S = 8.0, 5.0  # a server that has much to do answers in seconds


def deploy_recipes(
    files: Sequence[RecipeFile],
    namespace: Namespace,
    *,
    options: RunOptions,
    make_pool: bool = False,
    replace: bool = False,
) -> list[dict[str, Any]]:
    """Register recipes, what a workspace has beside them, and automations; a row for each deployment.

    make_pool: make the work pool, of processes, where it is not there. replace: also what is another's. Raises
    UsageError where no Prefect server is named (deployments on a temporary one would end with it), or for what is
    another's, before anything is registered.
    """
    if not PREFECT_API_URL.value():
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server; it is not set. Start one with `prefect server start`, then "
            "run: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve birds.yaml"
        )
    with prefect_api(), get_client(sync_client=True) as client:
        _check_pool(client, namespace.pool, make_pool=make_pool)
        registered = register(client, deployments_of(files, options, namespace), replace=replace)
        put_queues(client, namespace.pool, [file.recipe.name for file in files])
        put_automation(client, crashed_runs(namespace))
        for entry in registered:
            if entry.deployment.automation is not None:
                put_automation(client, entry.deployment.automation(namespace, entry.id))
    notified = {str(file.path): file.recipe.notify.blocks for file in files if file.recipe.notify is not None}
    problems = {path: block_problems(blocks) for path, blocks in notified.items()}
    return [
        {
            "deployment": entry.deployment.full_name,
            "schedule": entry.times or None,
            "recipe": entry.deployment.parameters.get("recipe"),
            "earlier_recipe": entry.earlier_recipe,
            "problems": problems.get(entry.deployment.parameters.get("recipe", ""), []),
        }
        for entry in registered
    ]


def run_worker(pool: str, queues: Sequence[str], *, once: bool = False) -> None:
    """Run a worker for queues of a pool until it ends or this process is interrupted; once: what is due now.

    Where the server keeps its runs in SQLite it runs one at a time, and says so.
    """
    with get_client(sync_client=True) as client:
        in_sqlite = keeps_runs_in_sqlite(client)
    if in_sqlite:
        print_text("one run at a time: the server keeps its runs in SQLite; with PostgreSQL recipes run side by side")
    options = [part for queue in queues for part in ("--work-queue", queue)] + ["--limit", "1"] * in_sqlite
    waiting: list[UUID] = []
    while True:
        _run_worker(pool, [*options, *["--run-once"] * once])
        earlier, waiting = waiting, _waiting_runs(pool, queues) if once else []
        if not waiting or waiting == earlier:
            return


def keeps_runs_in_sqlite(client: SyncPrefectClient) -> bool:
    """Whether a server has SQLite, in whose patterns a backslash is a letter; in PostgreSQL's it is not.

    It has the flow describe-classes, as one that has a deployment of ours.
    """
    pattern = describe_classes.name.replace("-", r"\-")
    return not client.read_flows(flow_filter=FlowFilter(name=FlowFilterName(like_=pattern)))


def _waiting_runs(pool: str, queues: Sequence[str]) -> list[UUID]:
    with get_client(sync_client=True) as client:
        due = client.get_scheduled_flow_runs_for_work_pool(pool, list(queues), datetime.now(UTC))
    return [response.flow_run.id for response in due]


def _run_worker(pool: str, options: Sequence[str]) -> None:
    """Run a worker until it ends or this process is interrupted.

    Its flow runs report at all levels and often, whatever this command keeps quiet for itself. When this process is
    interrupted they are ended and cancelled at the server, which would have them running and let no other begin.
    """
    environment = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)} | os.environ
    for name in _QUIET:
        if environment.get(name) == OF_A_COMMAND[name]:
            del environment[name]
    environment = {FLOW_RUNS_LEVEL: "WARNING"} | environment
    name = f"evenly {socket.gethostname()} {uuid4().hex[:8]}"
    arguments = ["worker", "start", "--pool", pool, "--name", name, *options]
    with unwinding(_UNWIND_S), tethered_process("prefect", *arguments, environment=environment) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            end_worker(process)
            cancel_at_server(pool=pool, name=name)
            raise
    if status:
        raise UsageError(f"`prefect {' '.join(arguments)}` must succeed; it ended with {status}. See above.")


def cancel_at_server(*, pool: str, name: str) -> None:
    """Cancel the runs of a worker that has ended, where the server answers."""
    fast = {PREFECT_CLIENT_MAX_RETRIES: 0}
    try:
        with (
            temporary_settings(fast),
            get_client(sync_client=True, httpx_settings={"timeout": _ANSWER_S}) as client,
        ):
            runs = runs_of_worker(client, pool=pool, worker=name)
            cancel_runs(client, runs)
            for run in runs:
                print_text(f"cancelled {run.name}")
    except (httpx.HTTPError, PrefectException):
        print_text("the server does not answer: its automation ends in some minutes what ran here")


def _check_pool(client: SyncPrefectClient, pool: str, *, make_pool: bool) -> None:
    """Make the pool if it may be made. Raises UsageError where it is not there, or its runs are no processes."""
    try:
        kind = client.read_work_pool(pool).type
    except ObjectNotFound:
        if not make_pool:
            raise UsageError(
                f"`--pool` must be a work pool of the server; got `{pool}`. Make it: "
                f"`prefect work-pool create {pool} --type process`, or let `evenly serve` make it and work for it."
            ) from None
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type=PROCESS, base_job_template=template))
        return
    if make_pool and kind != PROCESS:
        raise UsageError(
            f"`--pool` must be a work pool of type process; got `{pool}` of type {kind}. Choose another name, or use "
            "`evenly deploy` and a worker of that type."
        )


def runs_of_worker(client: SyncPrefectClient, *, pool: str, worker: str) -> list[FlowRun]:
    """The runs at work that a worker has started; the server knows it by the label that the worker gave them.

    One that was interrupted before it had a label would hold its recipe's place for ever.
    """
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    runs = _read(client, flow_run_filter=FlowRunFilter(state=_AT_WORK), work_pool_filter=in_pool)
    return [run for run in runs if run.labels.get("prefect.worker.name", worker) == worker]


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
