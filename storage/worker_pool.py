"""Processes that share out work.

Ctrl-C does not reach them, they end with the process that started them, and they do not run its script again. They are
spawned, or forked from a process that has loaded what all of them need: on Linux alone, for elsewhere the libraries of
a system may have threads of their own.
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from multiprocessing import connection, current_process, forkserver, parent_process, resource_tracker, util
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from evenly.storage.tables.exchange import remove_exchange, temporary_folder

_starting = threading.RLock()
_forked_from = list[str]()
"""The module of each block of `forked_workers` that has not ended."""
_of_server = ExitStack()
_LONGEST_FOLDER = 64  # that of temporary files: the path of a socket has at most 107 bytes


class _Worker(SpawnProcess):
    """A spawned process that starts as `starting_workers` says."""

    def start(self) -> None:
        with starting_workers():
            super().start()


class WorkerContext(SpawnContext):
    """What starts such processes."""

    Process = _Worker


class _ForkedWorker(ForkServerProcess):
    """A forked process that starts as `starting_workers` says."""

    def start(self) -> None:
        with starting_workers():
            super().start()


class ForkedContext(ForkServerContext):
    """Starts processes as `_ForkedWorker` does."""

    Process = _ForkedWorker


@contextmanager
def forked_workers(module: str) -> Iterator[SpawnContext | ForkedContext]:
    """A context for processes that are forked from one that has loaded `module`, where this system can.

    That one starts with the first of them, and ends with the block, ahead of which they must have ended. It has this
    process's environment of that time.
    """
    if sys.platform != "linux" or len(os.fsencode(tempfile.gettempdir())) > _LONGEST_FOLDER:
        yield WorkerContext()
        return
    context = ForkedContext()
    with _starting:
        if not _forked_from:
            _of_server.enter_context(_socket_folder())
        _forked_from.append(module)
        context.set_forkserver_preload(_forked_from[:1])
    try:
        yield context
    finally:
        with _starting:
            _forked_from.remove(module)
            if not _forked_from:
                forkserver._forkserver._stop()  # type: ignore[attr-defined] # noqa: SLF001 - Python stops it nowhere
                _of_server.close()


@contextmanager
def _socket_folder() -> Iterator[None]:
    """A folder for the socket by which workers are asked for; one that a killed process leaves goes with the next."""
    folder = temporary_folder(Path(tempfile.gettempdir()), "evenly-workers")
    settings: dict[str, Any] = current_process()._config  # type: ignore[attr-defined] # noqa: SLF001 - the only way
    earlier, settings["tempdir"] = settings.get("tempdir"), str(folder)
    try:
        yield
    finally:
        settings["tempdir"] = earlier
        remove_exchange(folder)


@contextmanager
def worker_pool(
    processes: int,
    *,
    context: SpawnContext | ForkedContext | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[ProcessPoolExecutor]:
    """An executor of processes that end when the block or this process does, however that ends.

    Results must be taken in the context: what still runs at its end is not waited for. `initializer(*initargs)`
    prepares each process.
    """
    context = WorkerContext() if context is None else context
    listener, stop = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start_worker, initargs=(listener, initializer, initargs)
    )
    try:
        yield executor
    finally:
        stop.close()  # after a failure the workers end at once; otherwise they have nothing left to do
        executor.shutdown(wait=True, cancel_futures=True)
        listener.close()


def _start_worker(
    stop: connection.Connection, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Threads and processes that start in this context are not reached by Ctrl-C: it is their parent's to handle.

    Spawned processes do not run this process's script: it may lack `if __name__ == "__main__"`, and start them again.
    """
    resource_tracker.ensure_running()  # where it must start first, it unblocks the signal in this thread
    _end_tracker_with(os.getpid())
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _starting:
            script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                yield
            finally:
                sys.modules["__main__"] = script
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@lru_cache(maxsize=1)
def _end_tracker_with(_pid: int) -> None:
    """Have Python's tracker of shared resources end before this process does: it would outlive it by a moment.

    After all that is tracked is given back; workers share the tracker, and are not its parents.
    """
    tracker: Any = resource_tracker._resource_tracker  # noqa: SLF001 - Python 3.12 ends it by itself
    if tracker._pid is not None:  # noqa: SLF001
        util.Finalize(None, tracker._stop, exitpriority=-100)  # noqa: SLF001


def end_with_parent() -> None:
    """End this process when the one that started it ends, however that ends."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=([parent.sentinel],), daemon=True).start()


def _exit_after(waited_for: list[Any]) -> None:
    connection.wait(waited_for)
    os._exit(1)


def _end_with_parent(stop: connection.Connection) -> None:
    parent = parent_process()
    _exit_after([stop, *([parent.sentinel] if parent is not None else [])])
