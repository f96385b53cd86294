"""A process of a download: how it starts, and which shard it runs."""

import fcntl
import os
from dataclasses import dataclass
from multiprocessing import set_start_method
from pathlib import Path

from evenly.storage.web.decoding import Measure, PictureChecks
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.fetching import HostLimits, WebClient
from evenly.storage.web.guard import Connect
from evenly.storage.web.rule import DownloadRule
from evenly.storage.web.shard_run import ShardRun, ShardTask

WORKERS_LOCK = ".workers"


@dataclass(frozen=True, kw_only=True)
class _Process:
    """The state that a worker process keeps from shard to shard; the lock's descriptor is held until it ends."""

    rule: DownloadRule
    client: WebClient
    checks: PictureChecks
    measure: Measure | None
    lock: int


_process: _Process | None = None


def start_worker(
    rule: DownloadRule, connect: Connect, lock_file: Path, measure: Measure | None, limits: HostLimits | None = None
) -> None:
    """Prepare a fresh process, which shows by a lock on `lock_file` that it lives."""
    global _process  # noqa: PLW0603 - a pool's initialiser has no other way to hand things to its tasks
    set_start_method("fork", force=True)  # nothing is started: but only so do locks of thread pools need no clean-up
    lock = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_SH)
    checks = PictureChecks(max_pixels=rule.max_pixels, measure=measure)
    _process = _Process(rule=rule, client=WebClient(rule, connect, limits), checks=checks, measure=measure, lock=lock)


def run_shard(task: ShardTask) -> dict[str, int]:
    """Fetch a shard and publish it; returns the URLs per outcome. Raises DownloadError, nothing published."""
    if _process is None:
        raise DownloadError("`start_worker` must run first in this process; it did not.")
    return ShardRun(task, _process.client, _process.checks, _process.measure).run()
