"""Decoder processes that go on to the next test: a new one imports libraries for .6 s and more. Not a test."""

import os
import queue
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evenly.storage.decoders import DecoderPool, pool

IDLE: dict[tuple[int, str], list[subprocess.Popen[bytes]]] = defaultdict(list)
"""Processes that answered all they were asked, by the process that started them and their job."""
_start = pool._start


def start_or_reuse(job: str) -> subprocess.Popen[bytes]:
    idle = IDLE[os.getpid(), job]
    while idle:
        process = idle.pop()
        if process.poll() is None:
            return process
        end(process)
    return _start(job)


def lay_by(pool_: DecoderPool) -> None:
    """Keep the processes of a pool that is closed."""
    while pool_._pid == os.getpid():
        try:
            decoder = pool_._free.get_nowait()
        except queue.Empty:
            pool_._pid = -1
        else:
            if decoder._process is not None:
                IDLE[os.getpid(), pool_._job].append(decoder._process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@contextmanager
def warm_decoders() -> Iterator[None]:
    """Pools of this process take decoders that earlier pools left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_start", start_or_reuse)
        patch.setattr(DecoderPool, "close", lay_by)
        yield


def end_all() -> None:
    for (owner, _), processes in IDLE.items():
        for process in processes if owner == os.getpid() else ():
            end(process)
    IDLE.clear()
