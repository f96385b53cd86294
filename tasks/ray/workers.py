"""Partitions worked on in a Ray cluster, in a Prefect run by Prefect's task runner for Ray: docs/ray.md.

Tasks get references and give small records, as those of worker processes do, so Ray's object store holds next to
nothing. Ray itself tries nothing again: a chunk whose worker or node has died is submitted anew from here, and takes
the partitions that were done from their records.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from evenly.storage.tables.arrow_files import first_line
from evenly.tasks.engine import ATTEMPTS, EngineError, Workers, lost_again
from evenly.tasks.ray.cluster import Capacity, capacity, free_processors, has_gpu, open_cluster
from evenly.tasks.run import Run, uses_model
from evenly.tasks.server.api import in_run

_CANCEL_S, _POLL_S = 10.0, 0.2
_LOOK_S, _LOOKS = 30.0, 20
"""Where nothing ends for so long, it is looked whether anything still can; so often, before the run is ended."""


class RayWorkers(Workers):
    """Works on chunks of partitions in a Ray cluster, which is reached when there is something to do.

    The run's `processes` are the workers of a cluster that is started here; elsewhere its processors are. A chunk
    that uses a model is given a GPU, where the cluster has some, and its share of the node's processors.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run, run.processes)
        self._capacity = Capacity(processors=run.processes)
        self._waiting: dict[Any, int] = {}

    def _n_at_once(self, function: object) -> int:
        self._open()
        return self._capacity.gpus if self._on_gpu(function) else self.n_workers

    def _on_gpu(self, function: object) -> bool:
        return self._capacity.gpus > 0 and uses_model(function)

    def _run_of(self, function: object) -> Run:
        if not self._on_gpu(function):
            return self._worker_run
        threads = self.run.encoder.threads or self._capacity.share
        return replace(self._worker_run, encoder=replace(self.run.encoder, threads=threads))

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
                    ended = self._next_ended(title, function)
                    try:
                        done[ended] = futures.pop(ended).result()
                    except ConnectionError as error:  # under ray://
                        raise EngineError(
                            f"{title}: the connection to the Ray cluster must hold; {first_line(error)}. Run the same "
                            "command again: what is finished is kept and reused."
                        ) from None
                    except _lost() as error:
                        _check_own_node(title, error)
                        if attempts[ended] == ATTEMPTS:
                            raise EngineError(lost_again(title)) from None
                        self.run.progress.say(f"{title}: {_cause(error)}; its partitions are given to another")
                        submit(ended)
                yield done.pop(number)
        except BaseException:
            self._stop()  # first: nobody may write any more when the caller tidies up
            raise

    def _next_ended(self, title: str, function: object) -> int:
        """The next chunk that has ended. Raises EngineError where none can, since nodes are gone that it needs."""
        import ray

        for look in range(_LOOKS):
            ended: list[Any] = []
            while not ended:
                ended, _ = ray.wait(list(self._waiting), num_returns=1, timeout=_LOOK_S, fetch_local=False)
                if not ended and (needed := self._lost_capacity(function)):
                    break
            if ended:
                return self._waiting.pop(ended[0])
            if not look:
                self.run.progress.say(f"{title}: the Ray cluster has no {needed} any more; waiting for one")
        raise EngineError(
            f"{title}: the Ray cluster must have a {needed}; its nodes that had one ended. Start another node and run "
            "again; what is finished is kept and reused."
        )

    def _lost_capacity(self, function: object) -> str | None:
        """The resources that work needs and no living node has any more."""
        if self._on_gpu(function):
            return None if has_gpu(self._capacity.share) else "GPU"
        return None if capacity().processors else "processor"

    def _submit(self, title: str, function: Any, chunk: Sequence[Any]) -> Any:  # noqa: ANN401 - any function
        gpu = {"num_gpus": 1, "num_cpus": self._capacity.share} if self._on_gpu(function) else {}
        self._open()
        with _remote_options(self._runner, max_retries=0, **gpu):
            return super()._submit(title, _tethered(function), chunk)

    @contextmanager
    def _task_runner(self) -> Iterator[Any]:
        with open_cluster(self.run):
            self._capacity = capacity()
            self.n_workers = self._capacity.processors
            if not self.n_workers:
                raise EngineError(
                    "a Ray cluster must have processors to work with; it has none. Start a node without `--num-cpus 0`."
                )
            if not free_processors():
                self.run.progress.say("all processors of the Ray cluster are at work; waiting for one")
            with _prefect_runner() if in_run() else nullcontext(_Functions()) as runner:
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


def _prefect_runner() -> Any:  # noqa: ANN401 - Prefect's
    from prefect_ray import RayTaskRunner

    return RayTaskRunner()


def _remote_options(runner: Any, **options: Any) -> Any:  # noqa: ANN401 - Prefect's
    """Options of Ray for what is submitted meanwhile, by Prefect's task runner or as a function."""
    if isinstance(runner, _Functions):
        runner.options = options
        return nullcontext()
    from prefect_ray.context import remote_options

    return remote_options(**options)


@dataclass
class _Functions:
    """Gives a Ray cluster functions as Prefect's task runner gives it tasks."""

    options: dict[str, Any] = field(default_factory=dict)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "_Function":  # noqa: ANN401 - any function's
        """The function at work in the cluster."""
        import ray

        return _Function(ray.remote(function).options(name="partitions", **self.options).remote(*arguments))


@dataclass(frozen=True)
class _Function:
    """A function that works in a cluster, by Ray's reference to its result."""

    wrapped_future: Any

    def result(self) -> Any:  # noqa: ANN401 - any function's
        """The result. Raises what the function raised, not Ray's copy of that with a traceback as its message."""
        import ray

        try:
            return ray.get(self.wrapped_future)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


@dataclass(frozen=True)
class _tethered:  # noqa: N801 - a function that other processes can be given
    """`function`, in a worker that ends with its node, which Ray would let finish its task."""

    function: Callable[[Run, Any], Any]

    @property
    def uses_model(self) -> bool:
        return uses_model(self.function)

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


def _lost() -> tuple[type[Exception], ...]:
    """The errors of Ray where a worker, its node or its result is gone."""
    from ray import exceptions

    ended = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError)
    return (*ended, exceptions.ObjectLostError, exceptions.OutOfMemoryError)


def _check_own_node(title: str, error: Exception) -> None:
    """Raise EngineError where Ray's node of this process is gone: Ray ends the process within a second, wordless."""
    from ray import exceptions

    if isinstance(error, exceptions.LocalRayletDiedError):
        raise EngineError(
            f"{title}: the Ray node that this command works by must go on; it ended. Run the same command again: what "
            "is finished is kept and reused."
        ) from None


def _cause(error: Exception) -> str:
    """The fate of the worker of a chunk, in a few words."""
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return "Ray ended a worker, as its machine had no more memory"
    return "a Ray worker ended" if isinstance(error, exceptions.WorkerCrashedError) else "a Ray node ended"
