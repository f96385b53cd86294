"""The folder of downloads, held by one process at a time, and where that process works on them.

Downloads in a folder are worked on in a hidden folder of it, so that a finished shard is only renamed. For those in an
object store it is a temporary folder of this machine, removed by the next download where a process was killed.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.tables.exchange import remove_exchange, temporary_folder
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.shard_run import WORKERS_LOCK
from evenly.storage.web.shards import PARTIAL, clean_folder

_RUN_LOCK = ".lock"
_WORK_NAME = "evenly-downloads"
_ORPHANS_WAIT_S = 30.0
_LOOKED_AT_S = 0.3  # who only asks whether a lock is held holds it for a moment


@contextmanager
def hold_folder(folder: Path) -> Iterator[Path]:
    """Hold `folder` alone, and clean, once the workers of a killed run are gone; made where it is not there.

    Yields a folder of this machine to work in, which need not be there yet; what it holds at the end is of no use.
    """
    with _held_store(folder) if isinstance(folder, ObjectPath) else _held_folder(folder) as work:
        clean_folder(folder)
        yield work


@contextmanager
def _held_store(folder: ObjectPath) -> Iterator[Path]:
    with lock_holder(folder / _RUN_LOCK) as holder:
        if holder is not None:
            raise _in_use(folder, f" by process {holder.get('pid')} on `{holder.get('host')}`")
        work = temporary_folder(Path(tempfile.gettempdir()), _WORK_NAME)
        try:
            with _held_folder(work) as partial:
                yield partial
        finally:
            remove_exchange(work)


@contextmanager
def _held_folder(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = os.open(folder / _RUN_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        workers = os.open(folder / WORKERS_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DownloadError(f"`folder` must be writable; got `{error}`. Make room or choose another.") from None
    try:
        if not _take(run, wait_s=_LOOKED_AT_S):
            raise _in_use(folder)
        if not _take(workers, wait_s=_ORPHANS_WAIT_S):
            raise DownloadError(f"`folder` must be free of workers; `{folder}` still has some. End those processes.")
        fcntl.flock(workers, fcntl.LOCK_UN)
        yield folder / PARTIAL
    finally:
        os.close(workers)
        os.close(run)


def _in_use(folder: Path, holder: str = "") -> DownloadError:
    return DownloadError(f"`folder` must be used by one download at a time; `{folder}` is in use{holder}. Wait for it.")


def _take(descriptor: int, *, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True
