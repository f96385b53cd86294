"""Partitions worked on in a Ray cluster, by Prefect's task runner for Ray: docs/ray.md.

Tasks get references and give small records, as those of worker processes do, so Ray's object store holds next to
nothing. Ray itself tries nothing again: a chunk whose worker or node has died is submitted anew from here, and takes
the partitions that were done from their records.
"""

import logging
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from evenly.storage.code_version import code_version
from evenly.storage.errors import InputError
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.exchange import exchange_folder, remove_exchange
from evenly.storage.worker_pool import no_interrupts
from evenly.tasks.engine import ATTEMPTS, EngineError, Workers, lost_again, uses_model
from evenly.tasks.run import EXCHANGE_VARIABLE, Run

OBJECT_STORE = 200_000_000
"""Bytes of memory that a node of a cluster of ours keeps for objects."""
_CANCEL_S, _LOOK_S, _ANSWER_S = 10.0, 300.0, 10.0
_STARTS, _POLL_S = 3, 0.2
_FOR_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""It calls nobody home, and workers that it starts here get as much of the processor as those of engine local."""
_FOR_WORKERS = ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")
"""What of this process's environment workers elsewhere are given; nothing secret: Ray logs it."""


def check_ray() -> None:
    """Raise InputError where Ray, or what Prefect needs for it, is not installed."""
    missing = [name for name in ("ray", "prefect_ray") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"`engine: ray` needs {' and '.join(missing)}, not installed here. Run `pip install 'evenly[ray]'`, or "
            "leave `engine` out."
        )


class RayWorkers(Workers):
    """Works on chunks of partitions in a Ray cluster, which is reached when there is something to do.

    The run's `processes` are the workers of a cluster that is started here; elsewhere its processors are. A chunk
    that uses a model is given a GPU, where the cluster has some.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run, run.processes)
        self._n_gpus = 0
        self._waiting: dict[Any, int] = {}

    def _n_at_once(self, function: object) -> int:
        self._open()
        return self._n_gpus if self._n_gpus and uses_model(function) else self._n_workers

    def _chunks(self, title: str, function: Any, chunks: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:  # noqa: ANN401 - any function
        done, futures = dict[int, list[Any]](), dict[int, Any]()
        attempts = [0] * len(chunks)

        def submit(number: int) -> None:
            attempts[number] += 1
            futures[number] = self._submit(title, function, chunks[number])
            self._waiting[futures[number].wrapped_future] = number

        try:
            for number in range(len(chunks)):
                submit(number)
            for number in range(len(chunks)):
                while number not in done:
                    ended = self._next_ended()
                    try:
                        done[ended] = futures.pop(ended).result()
                    except _lost() as error:
                        if attempts[ended] == ATTEMPTS:
                            raise EngineError(lost_again(title)) from None
                        self.run.progress.say(f"{title}: {_cause(error)}; its partitions are given to another")
                        submit(ended)
                yield done.pop(number)
        except BaseException:
            self._stop()  # first: nobody may write any more when the caller tidies up
            raise

    def _next_ended(self) -> int:
        import ray

        (ended,), _ = ray.wait(list(self._waiting), num_returns=1, fetch_local=False)
        return self._waiting.pop(ended)

    def _submit(self, title: str, function: Any, chunk: Sequence[Any]) -> Any:  # noqa: ANN401 - any function
        from prefect_ray.context import remote_options

        gpus = {"num_gpus": 1} if self._n_gpus and uses_model(function) else {}
        with remote_options(max_retries=0, **gpus):
            return super()._submit(title, _tethered(function), chunk)

    @contextmanager
    def _task_runner(self) -> Iterator[Any]:
        from prefect_ray import RayTaskRunner

        with _cluster(self.run):
            import ray

            resources = ray.cluster_resources()
            self._n_workers, self._n_gpus = max(1, int(resources.get("CPU", 0))), int(resources.get("GPU", 0))
            with RayTaskRunner() as runner:
                try:
                    yield runner
                finally:
                    self._cancel()

    def _cancel(self) -> None:
        """End what is still at work: in a cluster that goes on it would write after this run has ended."""
        import ray

        with suppress(Exception):  # where the cluster is gone, so is the work, and there is an error already
            for reference in self._waiting:
                ray.cancel(reference, force=True)
            if self._waiting:
                ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=_CANCEL_S, fetch_local=False)
        self._waiting.clear()


@dataclass(frozen=True)
class _tethered:  # noqa: N801 - a function that other processes can be given
    """`function`, in a worker that ends with its node, which Ray would let finish its task."""

    function: Callable[[Run, Any], Any]

    def __call__(self, run: Run, item: Any) -> Any:  # noqa: ANN401 - what the function takes and gives
        _end_with_node()
        return self.function(run, item)


@cache
def _end_with_node() -> None:
    """End this process when the one that started it has ended, within _POLL_S."""
    node = os.getppid()

    def watch() -> None:
        while os.getppid() == node:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name="end with the node", daemon=True).start()


@contextmanager
def _cluster(run: Run) -> Iterator[None]:
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
            _check_nodes(run)
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

    folder = exchange_folder(Path(gettempdir(), f"evenly-ray-{os.getuid()}"), "s")  # short: paths of sockets lie below
    try:
        with _connecting("the Ray cluster of this machine must start"):
            for last in (*[False] * (_STARTS - 1), True):
                try:
                    ray.init(
                        "local",
                        num_cpus=processes,
                        include_dashboard=False,
                        object_store_memory=OBJECT_STORE,
                        _temp_dir=str(folder),
                        runtime_env={"env_vars": _for_workers()},
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


@contextmanager
def _remote_cluster(address: str) -> Iterator[None]:
    import ray

    try:
        with _connecting(f"a Ray cluster must answer at `{address}`"):
            if (place := address.removeprefix("ray://")) != "auto":  # Ray would ask for minutes
                host, _, port = place.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
            ray.init(address, runtime_env={"env_vars": _for_workers()}, **_QUIET)
        yield
    finally:
        ray.shutdown()


_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "configure_logging": False,
    "logging_level": logging.ERROR,
    "namespace": "evenly",
}


@contextmanager
def _connecting(demand: str) -> Iterator[None]:
    """Connect in silence; SIGTERM keeps its handler. Raises EngineError where that fails."""
    for name, value in _FOR_RAY.items():
        os.environ.setdefault(name, value)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with no_interrupts():
            yield
    except Exception as error:  # noqa: BLE001 - Ray raises nearly any class, Exception itself too
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(f"{demand}; {cause}. Start it, or correct `engine`: docs/ray.md.") from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)


def _for_workers() -> dict[str, str]:
    """The environment of workers: they report to this process's Prefect API, and start none of their own."""
    from prefect.settings import PREFECT_API_URL

    values = {name: os.environ[name] for name in _FOR_WORKERS if name in os.environ}
    url = PREFECT_API_URL.value()
    return values if url is None else values | {"PREFECT_API_URL": url}


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises where a worker, its node or its result is gone."""
    from ray import exceptions

    gone = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError)
    return (*gone, exceptions.ObjectLostError, exceptions.OutOfMemoryError)


def _cause(error: Exception) -> str:
    """What happened to the worker of a chunk, in a few words."""
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return "Ray ended a worker, as its machine had no more memory"
    return "a Ray worker ended" if isinstance(error, exceptions.WorkerCrashedError) else "a Ray node ended"


def _check_nodes(run: Run) -> None:
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
                where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                look = ray.remote(look_from_node).options(num_cpus=0, max_retries=1, scheduling_strategy=where)
                looks[look.remote(marks, _for_workers().get("PREFECT_API_URL"))] = node["NodeManagerAddress"]
        for reference, host in looks.items():
            try:
                seen = ray.get(reference, timeout=_LOOK_S)
            except Exception as error:  # noqa: BLE001 - what a node lacks can raise anything
                cause = str(error).strip().splitlines()[-1]
                raise EngineError(
                    f"Ray's node {host} must be able to run evenly; {cause}. Install there what is installed here."
                ) from None
            _check_node(host, seen, run)
    finally:
        for mark in marks:
            remove_exchange(mark)


def look_from_node(marks: Sequence[Path], api_url: str | None) -> dict[str, Any]:
    """What a node sees: which of the folders `marks` it lacks, whether the API answers, the version of its code."""
    missing = [str(mark.parent) for mark in marks if not mark.is_dir()]
    return {"missing": missing, "api": _answers(api_url), "code": code_version(), "machine": platform.node()}


def _check_node(host: str, seen: Mapping[str, Any], run: Run) -> None:
    for folder in seen["missing"]:
        is_exchange = isinstance(run.workspace.root, ObjectPath) or Path(folder) != run.workspace.exchange
        remedy = f"Set {EXCHANGE_VARIABLE} to a folder that all nodes share." if is_exchange else "Move --root."
        raise EngineError(f"Ray's node {host} must see `{folder}`; it does not. {remedy}")
    if not seen["api"]:
        raise EngineError(
            f"Ray's node {host} must reach the Prefect API at `{_for_workers().get('PREFECT_API_URL')}`; it does not. "
            "Start `prefect server start --host 0.0.0.0` where all nodes reach it, and set PREFECT_API_URL."
        )
    here, there = ({name: code[name] for name in ("version", "git_sha")} for code in (code_version(), seen["code"]))
    if here != there:
        raise EngineError(
            f"Ray's node {host} must run the code of this machine, {here}; got {there}. Install it there."
        )


def _answers(url: str | None) -> bool:
    """Whether anything answers at a URL."""
    if url is None:
        return True
    import httpx

    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/health", timeout=_ANSWER_S)
        return True
    return False
