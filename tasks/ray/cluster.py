"""The Ray cluster of a run: one that is started here and ends with it, or one that runs already."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from evenly.installing import install_extra
from evenly.storage.errors import InputError
from evenly.storage.tables.exchange import remove_exchange, temporary_folder
from evenly.storage.worker_pool import no_interrupts
from evenly.tasks.engine import EngineError
from evenly.tasks.ray.nodes import check_nodes, environment
from evenly.tasks.run import Run

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
        with no_interrupts():
            yield
    except Exception as error:  # noqa: BLE001 - Ray raises nearly any class, Exception itself too
        raise EngineError(f"{demand}; {_cause(error)}: docs/ray.md.") from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
