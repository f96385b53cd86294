"""Download pictures: which URLs are still to be fetched, in which shards."""

import fcntl
import itertools
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.web.decoding import Measure
from evenly.storage.web.errors import DownloadError, may_pass
from evenly.storage.web.guard import parse_connect
from evenly.storage.web.processes import Progress, WorkerPool
from evenly.storage.web.rule import DownloadRule, user_agent
from evenly.storage.web.shard_run import ALARM_AFTER
from evenly.storage.web.shards import URLS, clean_folder, read_downloads, url_key
from evenly.storage.web.worker import WORKERS_LOCK

SHARD_SIZE = 1000
_WORTH_A_PROCESS = ALARM_AFTER  # URLs; a shard of fewer would not be watched for trouble of all
_RUN_LOCK = ".lock"
_ORPHANS_WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class DownloadSummary:
    """What a call did: distinct URLs, those recorded before, and the outcomes of those fetched now."""

    urls: int
    recorded_before: int
    fetched: int
    outcomes: Mapping[str, int]
    seconds: float


def download_images(
    urls: Sequence[str],
    rule: DownloadRule,
    *,
    folder: Path,
    connect: Mapping[str, str] | None = None,
    processes: int | None = None,
    threads: int = 32,
    shard_size: int = SHARD_SIZE,
    retry_failed: bool = False,
    tolerate: Collection[str] = (),
    measure: Measure | None = None,
    progress: Progress | None = None,
) -> DownloadSummary:
    """Fetch each of `urls` once into `folder`; `read_downloads` gives the records.

    URLs with a record are not asked for again; with `retry_failed`, those whose last failure may pass are, as a new
    attempt. `connect` maps hosts to "address:port" and is the only way to an address that is not public. `progress`
    is called with the number of URLs just done, in all the number of distinct URLs. Where nearly all of the first
    URLs of a shard end with one failure, the run stops and that shard is not recorded, unless `tolerate` names the
    outcome. `measure` is measured of each picture while it is checked, for `read_measured`. May be interrupted at any
    time: what is not in a finished shard is fetched by the next call.
    """
    started = time.monotonic()
    processes = processes if processes is not None else len(os.sched_getaffinity(0))
    for name, value in (("processes", processes), ("threads", threads), ("shard_size", shard_size)):
        if value < 1:
            raise DownloadError(f"`{name}` must be 1 or more; got `{value}`. Leave it out for the default.")
    targets = parse_connect(connect)
    user_agent(rule)  # refuses a contact that no header can hold, before any process starts
    tick = progress or (lambda _: None)
    distinct = pa.array(urls, pa.string()).unique()
    with hold_folder(folder):
        pending = _pending(distinct, folder, retry_failed=retry_failed)
        recorded_before = len(distinct) - pending.num_rows
        tick(recorded_before)
        shards = _cut(pending, shard_size, processes)
        pool = WorkerPool(
            rule, targets, folder, processes=min(processes, len(shards)), threads=threads, measure=measure
        )
        outcomes = pool.fetch(shards, tolerate=frozenset(tolerate), progress=tick)
        clean_folder(folder)
    return DownloadSummary(
        urls=len(distinct),
        recorded_before=recorded_before,
        fetched=pending.num_rows,
        outcomes=dict(sorted(outcomes.items())),
        seconds=time.monotonic() - started,
    )


def _pending(urls: pa.Array, folder: Path, *, retry_failed: bool) -> pa.Table:
    """What is still to be fetched, as URLS, in the order of the keys: hashes, so that no shard is all of one host."""
    recorded = read_downloads(folder, ["url", "attempt", "outcome"]).combine_chunks()
    before = recorded.take(pc.index_in(urls, value_set=recorded["url"].combine_chunks()))
    wanted = pc.is_null(before["outcome"])
    if retry_failed:
        passing = [outcome for outcome in before["outcome"].unique().to_pylist() if outcome and may_pass(outcome)]
        wanted = pc.or_(wanted, pc.is_in(before["outcome"], value_set=pa.array(passing, pa.string())))
    first_attempt = pc.add(pc.fill_null(before["attempt"], 0), pa.scalar(1, pa.int32()))
    keys = pa.array([url_key(url) for url in urls.to_pylist()], pa.string())
    table = pa.Table.from_arrays([urls, keys, first_attempt], schema=URLS)
    return table.filter(wanted).sort_by("key").combine_chunks()


def _cut(pending: pa.Table, size: int, processes: int) -> list[pa.Table]:
    """Shards of nearly equal length: at most `size`, and one per process where each is worth it."""
    n = pending.num_rows
    count = max(math.ceil(n / size), min(processes, max(1, n // _WORTH_A_PROCESS)))
    edges = [n * number // count for number in range(count + 1)]
    return [pending.slice(start, end - start) for start, end in itertools.pairwise(edges) if end > start]


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` alone, and clean, once the workers of a killed run are gone; made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = os.open(folder / _RUN_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        workers = os.open(folder / WORKERS_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DownloadError(f"`folder` must be writable; got `{error}`. Make room or choose another.") from None
    try:
        if not _take(run, wait_s=0):
            raise DownloadError(f"`folder` must be used by one download at a time; `{folder}` is in use. Wait for it.")
        if not _take(workers, wait_s=_ORPHANS_WAIT_S):
            raise DownloadError(f"`folder` must be free of workers; `{folder}` still has some. End those processes.")
        fcntl.flock(workers, fcntl.LOCK_UN)
        clean_folder(folder)
        yield
    finally:
        os.close(workers)
        os.close(run)


def _take(descriptor: int, *, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        else:
            return True
