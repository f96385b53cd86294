"""Downloads of pictures: which URLs are still to be fetched, in which shards, and the processes that fetch these."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.web.decoding import Measure
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.fetching import HostLimits
from evenly.storage.web.guard import Connect, parse_connect
from evenly.storage.web.rule import Retry, WebRule, user_agent
from evenly.storage.web.shard_run import (
    ALARM_AFTER,
    PROGRESS_FILE,
    URLS_FILE,
    WORKERS_LOCK,
    ShardTask,
    run_shard,
    start_worker,
)
from evenly.storage.web.shards import URLS, clean_folder, is_due, shard_name, tar_name, url_keys
from evenly.storage.web.working_folder import hold_folder
from evenly.storage.worker_pool import worker_pool

SHARD_SIZE = 1000
_WORTH_A_PROCESS = ALARM_AFTER  # URLs; a shard of fewer would not be watched for trouble of all
_POLL_S = 0.2

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class DownloadWorkers:
    """The workers: processes (None: one per processor), threads in each, and the most URLs of a shard; 1 or more.

    They keep `limits`, which are sent to each process.
    """

    processes: int | None = None
    threads: int = 32
    shard_size: int = SHARD_SIZE
    limits: HostLimits | None = None

    def __post_init__(self) -> None:
        for name, value in (("processes", self.count), ("threads", self.threads), ("shard_size", self.shard_size)):
            if value < 1:
                raise DownloadError(f"`{name}` must be 1 or more; got `{value}`. Leave it out for the default.")

    @property
    def count(self) -> int:
        """The number of processes."""
        return self.processes if self.processes is not None else len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class FailureRule:
    """The rule about URLs that fail.

    Where nearly all of the first URLs of a shard end with one failure, or all of a shard of a few with one that may
    pass, the run stops and that shard is not recorded, unless `tolerate` names the outcome.
    """

    tolerate: Collection[str] = ()


def download_pending(
    pending: Iterable[pa.Table],
    rule: WebRule,
    *,
    folder: Path,
    connect: Mapping[str, str] | None = None,
    workers: DownloadWorkers | None = None,
    failures: FailureRule | None = None,
    measure: Measure | None = None,
    progress: Progress | None = None,
) -> Counter[str]:
    """Fetch what `pending_urls` gave into `folder`, in one or more tables, each asked for when it is needed.

    Returns the URLs per outcome. What has a record by then is asked for all the same. `connect` maps hosts to
    "address:port" and is the only way to an address that is not public. `progress` is called with the number of URLs
    just done. `measure` is measured of each picture while it is checked, for `read_measured`. May be interrupted at any
    time: what is not in a finished shard is pending still.
    """
    workers, failures = workers or DownloadWorkers(), failures or FailureRule()
    targets = parse_connect(connect)
    user_agent(rule)  # refuses a contact that no header can hold, before any process starts
    with hold_folder(folder) as work:
        pool = WorkerPool(rule, targets, (folder, work), workers=workers, measure=measure)
        shards = (shard for table in _gathered(pending) for shard in _cut(table, workers.shard_size, workers.count))
        outcomes = pool.fetch(shards, tolerate=frozenset(failures.tolerate), progress=progress or (lambda _: None))
        clean_folder(folder)
    return outcomes


def pending_urls(urls: pa.Array, recorded: pa.Table, retry: Retry | None = None) -> pa.Table:
    """The URLs of distinct `urls` still to be fetched, as URLS, where the latest observations are `recorded`.

    Those that failed and are due by `retry` among them, as a new attempt. In the order of the keys: hashes, so that no
    shard is all of one host.
    """
    recorded = recorded.combine_chunks()
    previous = recorded.take(pc.index_in(urls, value_set=recorded["url"].combine_chunks()))
    wanted = pc.is_null(previous["outcome"])
    if retry is not None:
        wanted = pc.or_(wanted, is_due(previous, retry))
    first_attempt = pc.add(pc.fill_null(previous["attempt"], 0), pa.scalar(1, pa.int32()))
    table = pa.table({"url": urls, "first_attempt": first_attempt}).filter(wanted).combine_chunks()
    keys = url_keys(table["url"].combine_chunks())
    return table.append_column("key", keys).select(URLS.names).cast(URLS).sort_by("key").combine_chunks()


def _gathered(pending: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables that are long enough to be watched for trouble of all, but where there are too few in all."""
    gathered = URLS.empty_table()
    for table in pending:
        if min(gathered.num_rows, table.num_rows) >= ALARM_AFTER:
            yield gathered
            gathered = table
        else:
            gathered = pa.concat_tables([gathered, table])
    yield gathered


def _cut(pending: pa.Table, size: int, processes: int) -> list[pa.Table]:
    """Shards of nearly equal length: at most `size`, and one per process where each is worth it."""
    n = pending.num_rows
    count = max(math.ceil(n / size), min(processes, max(1, n // _WORTH_A_PROCESS)))
    edges = [n * number // count for number in range(count + 1)]
    return [pending.slice(start, end - start) for start, end in itertools.pairwise(edges) if end > start]


class WorkerPool:
    """Spawned processes that fetch shards; they end with this process, however that ends.

    places: the folder of finished shards, and the one to work in, which lies in the folder that `hold_folder` holds.
    """

    def __init__(
        self,
        rule: WebRule,
        connect: Connect,
        places: tuple[Path, Path],
        *,
        workers: DownloadWorkers,
        measure: Measure | None = None,
    ) -> None:
        self._rule, self._connect, self._measure = rule, connect, measure
        self._folder, self._work = places
        self._processes, self._threads, self._limits = workers.count, workers.threads, workers.limits

    def fetch(self, shards: Iterable[pa.Table], *, tolerate: frozenset[str], progress: Progress) -> Counter[str]:
        """Fetch all shards (tables as URLS); returns the URLs per outcome. Raises DownloadError, finished ones kept."""
        waiting = iter(shards)
        first = list(itertools.islice(waiting, self._processes))
        if not first:
            return Counter()
        initargs = (self._rule, self._connect, self._work.parent / WORKERS_LOCK, self._measure, self._limits)
        try:
            with worker_pool(len(first), initializer=start_worker, initargs=initargs) as executor:
                return self._hand_out(executor, itertools.chain(first, waiting), tolerate, progress)
        except BrokenProcessPool:
            raise DownloadError(
                "a download worker must not end by itself; one was killed, ran out of memory or crashed. "
                "Run again: finished shards are kept."
            ) from None
        except OSError as error:
            raise DownloadError(f"`folder` must be writable; got `{error}`. Make room and run again.") from None

    def _hand_out(
        self, executor: ProcessPoolExecutor, waiting: Iterator[pa.Table], tolerate: frozenset[str], progress: Progress
    ) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        running: dict[Future[dict[str, int]], _Running] = {}
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
        work = self._work / name
        work.mkdir(parents=True)
        with pa.OSFile(str(work / URLS_FILE), "wb") as sink, pa.ipc.new_file(sink, shard.schema) as writer:
            writer.write_table(shard)
        return ShardTask(
            name=name,
            work=work,
            folder=self._folder,
            threads=self._threads,
            tolerate=tolerate,
            tar=tar_name(self._folder, name),
        )


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
