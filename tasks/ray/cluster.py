"""The Ray cluster of a run: one that is started here and ends with it, or one that runs already; and its nodes."""

import logging
import os
import platform
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from evenly.installing import install_extra
from evenly.storage.errors import InputError
from evenly.storage.step_records import code_version
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.exchange import exchange_folder, remove_exchange, temporary_folder
from evenly.storage.worker_pool import starting_workers
from evenly.tasks.engine import EngineError
from evenly.tasks.run import EXCHANGE_VARIABLE, Run
from evenly.tasks.server.api import in_run

OBJECT_STORE = 200_000_000
"""Bytes of memory that a node of a cluster of ours keeps for objects."""
_ANSWER_S, _STARTS = 10.0, 3
_LONGEST_FOLDER = 16
_FOR_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""It calls nobody home, and workers that it starts here get as much of the processor as those of engine local."""


def check_ray() -> None:
    """Raise InputError where Ray, or what Prefect needs for it, is not installed."""
    missing = [name for name in ("ray", "prefect_ray") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"`engine: ray` needs {' and '.join(missing)}, not installed here. "
            f"Run `{install_extra('ray')}`, or leave `engine` out."
        )


@contextmanager
def open_cluster(run: Run) -> Iterator[None]:
    """Be connected to the run's cluster; one that is started here ends with the context, or with this process.

    Where this process is connected already (in a notebook), that cluster is used, and stays connected.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    address = run.engine.address
    with _silence(), _local_cluster(run.processes) if address is None else _remote_cluster(address):
        if address is not None:
            check_nodes(run)
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Ray prints the logs of nodes that die to stdout, where results go; it has no switch for that."""
    from ray._private import worker

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


@contextmanager
def _local_cluster(processes: int) -> Iterator[None]:
    """A cluster of one node on this machine, out of reach of Ctrl-C, without a dashboard."""
    import ray

    folder = temporary_folder(_place_of_sockets(), "evenly-ray")
    try:
        with connecting("the Ray cluster of this machine must start"):
            for last in (*[False] * (_STARTS - 1), True):
                try:
                    ray.init(
                        "local",
                        num_cpus=processes,
                        include_dashboard=False,
                        object_store_memory=OBJECT_STORE,
                        _temp_dir=str(folder / "s"),  # which Ray opens to everybody: `folder` is closed to them
                        runtime_env={"env_vars": environment()},
                        **_QUIET,
                    )
                    break
                except Exception:  # Ray raises this very class where a node is not up within 30 s
                    ray.shutdown()
                    if last:
                        raise
        yield
    finally:
        ray.shutdown()
        remove_exchange(folder)


def _place_of_sockets() -> Path:
    """Where temporary files go; /tmp where that path is so long that those of sockets below it pass 107 bytes."""
    folder = gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108 - a new folder in it


@contextmanager
def _remote_cluster(address: str) -> Iterator[None]:
    import ray

    try:
        with connecting(f"a Ray cluster must answer at `{address}`"):
            if (place := address.removeprefix("ray://")) != "auto":  # Ray would ask for minutes
                host, _, port = place.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
            ray.init(address, runtime_env={"env_vars": environment()}, **_QUIET)
        yield
    finally:
        ray.shutdown()


def _cause(error: Exception) -> str:
    """Why a cluster cannot be used, in one line, and what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Version mismatch"):  # what each side has follows in lines of its own
        return f"{' '.join(lines)}. Install the same Python and Ray on all machines"
    cause = f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return f"{cause.removesuffix('.')}. Start it, or correct `engine`"


_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "configure_logging": False,
    "logging_level": logging.ERROR,
    "namespace": "evenly",
}


@contextmanager
def connecting(demand: str) -> Iterator[None]:
    """Connect in silence; SIGTERM keeps its handler. Raises EngineError where that fails."""
    for name, value in _FOR_RAY.items():
        os.environ.setdefault(name, value)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with starting_workers():
            yield
    except Exception as error:  # noqa: BLE001 - Ray raises nearly any class, Exception itself too
        raise EngineError(f"{demand}; {_cause(error)}: docs/ray.md.") from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)


_LOOK_S, _HEALTH_S = 300.0, 10.0
_MOST_SHARE = 8
"""More threads than these encode no faster: evenly.features.torch_session."""
_FOR_WORKERS = ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")
"""What of this process's environment workers elsewhere are given; nothing secret: Ray logs it."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The resources of the living nodes of a cluster.

    gpus: as far as a node has a processor for each. share: the processors that each of them is given on its node.
    """

    processors: int
    gpus: int = 0
    share: int = 1


def capacity() -> Capacity:
    """The capacity of the cluster that this process is connected to."""
    nodes = _processors_and_gpus()
    usable = [(processors, min(processors, gpus)) for processors, gpus in nodes if processors and gpus]
    share = min((processors // gpus for processors, gpus in usable), default=1)
    return Capacity(
        processors=sum(processors for processors, _ in nodes),
        gpus=sum(gpus for _, gpus in usable),
        share=min(share, _MOST_SHARE),
    )


def free_processors() -> int:
    """The number of processors of the cluster that are not at work."""
    import ray

    return int(ray.available_resources().get("CPU", 0))


def has_gpu(processors: int) -> bool:
    """Whether a living node has a GPU and so many processors."""
    return any(gpus and available >= processors for available, gpus in _processors_and_gpus())


def _processors_and_gpus() -> list[tuple[int, int]]:
    import ray

    living = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return [(int(resources.get("CPU", 0)), int(resources.get("GPU", 0))) for resources in living]


def environment() -> dict[str, str]:
    """The environment of workers: in a run they report to this process's Prefect API, and start none of their own."""
    values = {name: os.environ[name] for name in _FOR_WORKERS if name in os.environ}
    if not in_run():
        return values
    from prefect.settings import PREFECT_API_URL

    return values | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}


def check_nodes(run: Run) -> None:
    """Look at the run's folders and its Prefect API from every node. Raises EngineError for one that misses some."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    shared = {run.exchange}
    if not isinstance(run.workspace.root, ObjectPath):
        shared.add(run.workspace.exchange)
    marks = [exchange_folder(folder, "seen") for folder in sorted(shared)]
    try:
        looks = {}
        for node in ray.nodes():
            if node["Alive"]:
                strategy = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                look = ray.remote(look_from_node).options(num_cpus=0, max_retries=1, scheduling_strategy=strategy)
                looks[look.remote(marks, environment().get("PREFECT_API_URL"))] = node["NodeManagerAddress"]
        for reference, host in looks.items():
            try:
                report = ray.get(reference, timeout=_LOOK_S)
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                continue  # it has just been lost: no work is given to it
            except Exception as error:  # noqa: BLE001 - what a node lacks can raise anything
                cause = str(error).strip().splitlines()[-1]
                raise EngineError(
                    f"Ray's node {host} must be able to run evenly; {cause}. Install there what is installed here."
                ) from None
            _check_node(host, report, run)
    finally:
        for mark in marks:
            remove_exchange(mark)


def look_from_node(marks: Sequence[Path], api_url: str | None) -> dict[str, Any]:
    """The view of a node: which of the folders `marks` it lacks, whether the API answers, the version of its code."""
    missing = [str(mark.parent) for mark in marks if not mark.is_dir()]
    return {"missing": missing, "api": _answers(api_url), "code": code_version(), "machine": platform.node()}


def _check_node(host: str, report: Mapping[str, Any], run: Run) -> None:
    for folder in report["missing"]:
        is_exchange = isinstance(run.workspace.root, ObjectPath) or Path(folder) != run.workspace.exchange
        remedy = f"Set {EXCHANGE_VARIABLE} to a folder that all nodes share." if is_exchange else "Move --root."
        raise EngineError(f"Ray's node {host} must see `{folder}`; it does not. {remedy}")
    if not report["api"]:
        raise EngineError(
            f"Ray's node {host} must reach the Prefect API at `{environment().get('PREFECT_API_URL')}`; it does not. "
            "Start `prefect server start --host 0.0.0.0` where all nodes reach it, and set PREFECT_API_URL."
        )
    local, remote = ({name: code[name] for name in ("version", "git_sha")} for code in (code_version(), report["code"]))
    if local != remote:
        raise EngineError(
            f"Ray's node {host} must run the code of this machine, {local}; got {remote}. Install it there."
        )


def _answers(url: str | None) -> bool:
    """Whether anything answers at a URL."""
    if url is None:
        return True
    import httpx

    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/health", timeout=_HEALTH_S)
        return True
    return False
