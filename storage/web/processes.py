"""The worker processes of a download: handing out shards, watching progress, and ending them all when one fails."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa

from evenly.storage.web.decoding import Measure
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.guard import Connect
from evenly.storage.web.rule import DownloadRule
from evenly.storage.web.shard_run import PROGRESS_FILE, URLS_FILE, ShardTask
from evenly.storage.web.shards import PARTIAL, shard_name
from evenly.storage.web.worker import run_shard, start_worker
from evenly.storage.worker_pool import worker_pool

_POLL_S = 0.2

Progress = Callable[[int], None]


class WorkerPool:
    """Spawned processes that fetch shards into `folder`; they end with this process, however that ends."""

    def __init__(
        self,
        rule: DownloadRule,
        connect: Connect,
        folder: Path,
        *,
        processes: int,
        threads: int,
        measure: Measure | None = None,
    ) -> None:
        self._rule, self._connect, self._folder, self._measure = rule, connect, folder, measure
        self._processes, self._threads = processes, threads

    def fetch(self, shards: Sequence[pa.Table], *, tolerate: frozenset[str], progress: Progress) -> Counter[str]:
        """Fetch all shards (tables as URLS); returns the URLs per outcome. Raises DownloadError, finished ones kept."""
        if not shards:
            return Counter()
        initargs = (self._rule, self._connect, self._folder, self._measure)
        try:
            with worker_pool(self._processes, initializer=start_worker, initargs=initargs) as executor:
                return self._hand_out(executor, shards, tolerate, progress)
        except BrokenProcessPool:
            raise DownloadError(
                "a download worker must not end by itself; one was killed, ran out of memory or crashed. "
                "Run again: finished shards are kept."
            ) from None
        except OSError as error:
            raise DownloadError(f"`folder` must be writable; got `{error}`. Make room and run again.") from None

    def _hand_out(
        self, executor: ProcessPoolExecutor, shards: Sequence[pa.Table], tolerate: frozenset[str], progress: Progress
    ) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        running: dict[Future[dict[str, int]], _Running] = {}
        waiting = iter(shards)
        while True:
            while len(running) < 2 * self._processes and (shard := next(waiting, None)) is not None:
                task = self._prepare(shard, tolerate)
                running[executor.submit(run_shard, task)] = _Running(task.work, shard.num_rows)
            if not running:
                return outcomes
            finished, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in finished:
                outcomes.update(future.result())
                progress(running.pop(future).rest())
            progress(sum(shard.advance() for shard in running.values()))

    def _prepare(self, shard: pa.Table, tolerate: frozenset[str]) -> ShardTask:
        name = shard_name(shard)
        work = self._folder / PARTIAL / name
        work.mkdir(parents=True)
        with pa.OSFile(str(work / URLS_FILE), "wb") as sink, pa.ipc.new_file(sink, shard.schema) as writer:
            writer.write_table(shard)
        return ShardTask(name=name, work=work, folder=self._folder, threads=self._threads, tolerate=tolerate)


class _Running:
    """A shard in work: how much of it was reported already."""

    def __init__(self, work: Path, size: int) -> None:
        self._progress_file = work / PROGRESS_FILE
        self._size = size
        self._reported = 0

    def advance(self) -> int:
        """URLs done since the last look."""
        try:
            done = self._progress_file.stat().st_size
        except FileNotFoundError:
            return 0
        step, self._reported = done - self._reported, done
        return step

    def rest(self) -> int:
        """URLs not reported yet, once the shard is finished."""
        return self._size - self._reported
