"""Where partitions are worked on: in this process, or in worker processes, as tasks of Prefect's in a run of its."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing.context import SpawnContext
from typing import Any, Self, TypeVar

import pyarrow as pa

from evenly.curation.concepts.matching import in_order
from evenly.storage.tables.partitions import Partition
from evenly.storage.worker_pool import ForkedContext, end_with_parent, forked_workers, starting_workers, worker_pool
from evenly.tasks.run import Run
from evenly.tasks.server.api import in_run
from evenly.tasks.server.logs import keep_off_terminal

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
CHUNKS = 4
"""Tasks for each worker and stage: enough to share the work evenly, and few, since a task run costs 0.1 s."""
ATTEMPTS = 3
"""How often a chunk is given out whose worker ends before it is done."""


class EngineError(RuntimeError):
    """What works on partitions cannot be reached, or ends again and again."""


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """Works here: on one partition or item after the other.

    threads: where there are any, they work on as many items at once, which is for functions that release the
    interpreter's lock; at most one more is begun and not yet taken.
    """

    run: Run
    threads: int = 0

    @property
    def n_workers(self) -> int:
        """See evenly.tasks.run.Each."""
        return max(self.threads, 1)

    def partitions(self, title: str, function: Callable[[Run], ResultT]) -> list[ResultT]:
        """See evenly.tasks.run.Each."""
        parts, results = Partition.all(self.run.bits), list[ResultT]()
        with self._bar(title, len(parts), self.run.pairs) as advance:
            for part in parts:
                results.append(function(replace(self.run, part=part)))
                advance(1)
        return results

    def items(self, title: str, function: Callable[[Run, ItemT], ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See evenly.tasks.run.Each."""
        work = partial(function, self.run)
        results = in_order(work, items, self.threads) if self.threads else map(work, items)
        with self._bar(title, len(items), self.run.pairs if self.threads else None) as advance:
            for result in results:
                yield result
                advance(1)

    def _bar(self, title: str, n: int, pairs: int | None) -> AbstractContextManager[Callable[[int], object]]:
        """No bar for a single one."""
        return nullcontext(int) if n == 1 and not self.threads else self.run.progress.bar(title, n, pairs)


class Workers:
    """Works on chunks of partitions in worker processes, which start when there is something to do.

    Leave it at the end. A worker that is killed breaks the pool: its unfinished chunks are given to a new one.
    """

    def __init__(self, run: Run, n_workers: int) -> None:
        self.run = run
        self._worker_run = _shared_out(run, n_workers)
        self.n_workers = n_workers
        self._stack = ExitStack()
        self._runner: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __reduce__(self) -> tuple[Callable[[], "InProcess"], tuple[()]]:
        """Other processes have no workers of their own: a task's parameters are given to those that it starts."""
        return partial(InProcess, run=self.run), ()

    def partitions(self, title: str, function: Callable[[Run], ResultT]) -> list[ResultT]:
        """See evenly.tasks.run.Each."""
        return list(self.items(title, partial(_in_partition, function), Partition.all(self.run.bits)))

    def items(self, title: str, function: Callable[[Run, ItemT], ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See evenly.tasks.run.Each."""
        n_chunks = min(len(items), CHUNKS * self._n_at_once(function))
        chunks = [items[len(items) * n // n_chunks : len(items) * (n + 1) // n_chunks] for n in range(n_chunks)]
        pairs = self.run.pairs if items and isinstance(items[0], Partition) else None
        with self.run.progress.bar(title, len(items), pairs) as advance:
            for results in self._chunks(title, function, chunks):
                advance(len(results))
                yield from results

    def _n_at_once(self, _function: object) -> int:
        """How many chunks are worked on at once."""
        return self.n_workers

    def _chunks(self, title: str, function: Any, chunks: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:  # noqa: ANN401 - any function
        done = 0
        for attempt in range(ATTEMPTS):
            futures = [self._submit(title, function, chunk) for chunk in chunks[done:]]
            try:
                for future in futures:
                    yield future.result()
                    done += 1
            except BrokenProcessPool:
                self._stop()
                if attempt == ATTEMPTS - 1:
                    raise EngineError(lost_again(title)) from None
                self.run.progress.say(f"{title}: a worker process ended; its partitions are given to a new one")
            except BaseException:
                self._stop()  # first: nobody may write any more when the caller tidies up
                raise
            else:
                return

    def _submit(self, title: str, function: Any, chunk: Sequence[Any]) -> Any:  # noqa: ANN401 - any function
        from evenly.tasks.encoders import known_identity  # pictures are of no use to what only works in threads

        self._open()
        run = replace(self._run_of(function), encoder_identity=known_identity(self.run))
        with starting_workers():
            if in_run():
                parameters = {"title": title, "function": function, "run": run, "chunk": list(chunk)}
                return self._runner.submit(_chunk_task(), parameters)
            return self._runner.submit(_work, title, function, run, list(chunk))

    def _run_of(self, _function: object) -> Run:
        """The run that a worker of a function is given."""
        return self._worker_run

    def _open(self) -> None:
        if self._runner is None:
            self._runner = self._stack.enter_context(self._task_runner())

    def _task_runner(self) -> Any:  # noqa: ANN401 - Prefect's, in a run of its
        """What takes tasks in a run, and functions elsewhere."""
        context = self._stack.enter_context(forked_workers("evenly.tasks.rebuild.loaded_worker"))
        if in_run():
            return _process_runner(self.n_workers, context)
        return worker_pool(self.n_workers, context=context, initializer=_start_worker)

    def _stop(self) -> None:
        self._runner = None
        self._stack.close()


def lost_again(title: str) -> str:
    """What to say of chunks whose workers end again and again."""
    return (
        f"{title}: the worker of a partition must live until it is done; it ended {ATTEMPTS} times. Give workers more "
        "memory, or take fewer (--workers); what is finished is kept and reused."
    )


def _shared_out(run: Run, n_workers: int) -> Run:
    """The run of each of several workers, which all have to do: together they have the threads of one process."""
    threads = (run.encoder.threads or run.processes) // n_workers
    encoder = replace(run.encoder, threads=max(1, threads))
    return replace(run, processes=max(1, run.processes // n_workers), encoder=encoder)


def _in_partition(function: Callable[[Run], ResultT], run: Run, partition: Partition) -> ResultT:
    return function(replace(run, part=partition))


def _process_runner(n_workers: int, workers: SpawnContext | ForkedContext) -> Any:  # noqa: ANN401 - Prefect's
    """A runner whose thread and processes report to the API of this context; else they would start one of their own."""
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL
    from prefect.task_runners import ProcessPoolTaskRunner

    context = copy_context()

    class PartitionRunner(ProcessPoolTaskRunner):
        def __enter__(self) -> Self:
            super().__enter__()
            executor: Any = self._executor
            executor._mp_context = workers  # noqa: SLF001 - Prefect takes none
            return self

        def _forward_subprocess_messages(self) -> None:
            context.run(super()._forward_subprocess_messages)

    of_parent = (PREFECT_API_URL.value(), PREFECT_LOGGING_LEVEL.value())
    return PartitionRunner(max_workers=n_workers, initializer=_start_worker, initargs=of_parent)


@cache
def _chunk_task() -> Any:  # noqa: ANN401 - Prefect's
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    named = task(name="partitions", task_run_name="{title}", cache_policy=NO_CACHE, persist_result=False)
    return named(_work)


def _start_worker(api_url: str | None = None, logging_level: str | None = None) -> None:
    """Have a worker end with its parent, and report to the parent's Prefect API: else it would start one of its own.

    Where Prefect is to print nothing, what the worker logs goes to the API alone.
    """
    end_with_parent()
    if logging_level == "CRITICAL":
        keep_off_terminal()
    sys.modules.setdefault("wandb", None)  # type: ignore[arg-type]  # timm would import it: folders that stay at a kill
    if api_url is not None:
        os.environ["PREFECT_API_URL"] = api_url


def _work(title: str, function: Callable[[Run, Any], Any], run: Run, chunk: Sequence[Any]) -> list[Any]:  # noqa: ARG001 - names the task run
    results = []
    for item in chunk:
        results.append(function(run, item))
        pa.default_memory_pool().release_unused()
    return results
