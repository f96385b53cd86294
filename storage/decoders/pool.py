"""Decoder processes as their user sees them: a picture in, a reply or a verdict out, whatever the picture does."""

import fcntl
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from evenly.storage.decoders.process import BYTES, REPLY, REQUEST, TOO_MUCH_MEMORY, TOO_SLOW, Job, serve_decoder

CRASHED = "decoder_crashed"
TROUBLES = frozenset({TOO_SLOW, TOO_MUCH_MEMORY, CRASHED})
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from {module} import serve_decoder; serve_decoder({job!r}, {parent})"
)
_ENVIRONMENT = {
    **dict.fromkeys(("MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 23),  # smaller blocks that one picture frees are the next one's, of this process
    "MALLOC_TRIM_THRESHOLD_": str(1 << 24),
}
_POLL_S = 1.0
_IDLE_POLLS = 60  # a decoder waits for nothing: without processor time for so long, it hangs
_MAX_REPLY_BYTES = 1 << 20
_MAX_BYTES_PER_PIXEL = 4
_PIPE_BYTES = 1 << 20


class DecodeTroubleError(Exception):
    """A picture that was not decoded to its end: `outcome` is one of TROUBLES, `evidence` says what was exceeded."""

    def __init__(self, outcome: str, evidence: str) -> None:
        super().__init__(outcome, evidence)
        self.outcome = outcome
        self.evidence = evidence


class DecoderPool:
    """Up to `size` processes that run `job`, a function of a module, on pictures: (bytes, options) -> JSON object.

    What the job gives as `bytes`, up to four per pixel, comes back as numpy bytes.

    Processes start when they are needed and end with `close`, with this process, and with a picture that exceeds its
    budget. May be used from many threads, and in processes that may have no children of multiprocessing. Options are
    JSON; `max_pixels` among them says how many pixels the job decodes at most.
    """

    def __init__(self, job: Job, *, size: int = 1) -> None:
        self._job = f"{job.__module__}:{job.__qualname__}"
        self._size = size
        self._pid = -1
        self._lock = threading.Lock()
        self._free: queue.LifoQueue[_Decoder] = queue.LifoQueue()

    def run(self, data: bytes, options: Mapping[str, Any]) -> dict[str, Any]:
        """The job's reply. Raises DecodeTroubleError where a budget was exceeded, or the decoder crashed twice."""
        self._own_processes()
        decoder = self._free.get()
        try:
            for may_retry in (True, False):
                try:
                    reply = decoder.ask(data, dict(options))
                except _DecoderEndedError as end:
                    outcome, evidence = end.outcome, end.evidence
                    if may_retry and outcome == CRASHED:  # it may have been ended by another than the picture
                        continue
                    raise DecodeTroubleError(outcome, evidence) from None
                if reply.get("outcome") in TROUBLES:
                    decoder.end()  # its memory is in pieces
                    raise DecodeTroubleError(reply["outcome"], str(reply.get("evidence", "")))
                return reply
            raise AssertionError("the second try returns or raises")
        finally:
            self._free.put(decoder)

    def map(self, call: Callable[[bytes], Any], pictures: Iterable[bytes]) -> Iterator[Any]:
        """The results of `call`, which calls `run`, for each picture, in order; as many at a time as processes."""
        if self._size == 1:
            yield from map(call, pictures)
            return
        with ThreadPoolExecutor(self._size) as threads:
            yield from threads.map(call, pictures)

    def close(self) -> None:
        """End the processes."""
        while self._pid == os.getpid():
            try:
                self._free.get_nowait().end()
            except queue.Empty:
                self._pid = -1

    def _own_processes(self) -> None:
        """Make places for processes; those of a parent that was forked are not ours."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._free = os.getpid(), queue.LifoQueue()
                for _ in range(self._size):
                    self._free.put(_Decoder(self._job))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _DecoderEndedError(DecodeTroubleError):
    """The process ended before it replied."""


class _Decoder:
    """A place for one process: it is started when a picture comes and none runs."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, data: bytes, options: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = _starter(os.getpid()).submit(_start, self._job).result()
        process, head = self._process, json.dumps(options).encode()
        assert process.stdin is not None  # noqa: S101 - for the type checker: `_start` makes both pipes
        try:
            for part in (REQUEST.pack(len(head), len(data)), head, data):
                process.stdin.write(part)
            process.stdin.flush()
            return self._reply(process, options["max_pixels"] * _MAX_BYTES_PER_PIXEL)
        except (OSError, ValueError):  # the pipe broke, or no reply can be read from what came
            raise self._ended(process) from None
        except BaseException:
            self.end()  # interrupted: its reply would be taken for that of the next picture
            raise

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()

    def _reply(self, process: subprocess.Popen[bytes], most: int) -> dict[str, Any]:
        assert process.stdout is not None  # noqa: S101 - as above
        _wait(process)
        head = process.stdout.read(REPLY.size)
        size, more = REPLY.unpack(head) if len(head) == REPLY.size else (0, 0)
        if not 0 < size <= _MAX_REPLY_BYTES or more > most:
            raise ValueError("no reply")
        reply = json.loads(process.stdout.read(size))
        content = np.empty(more, np.uint8)
        if not isinstance(reply, dict) or process.stdout.readinto(content.data) < more:  # type: ignore[attr-defined]
            raise ValueError("no reply")
        return {**reply, BYTES: content} if more else reply

    def _ended(self, process: subprocess.Popen[bytes]) -> _DecoderEndedError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_POLL_S)  # its status, where it ended by itself
        status = process.returncode
        self.end()
        if status == -signal.SIGXCPU:
            return _DecoderEndedError(TOO_SLOW, "its budget of processor seconds was used up")
        ending = "it stood still" if status is None else f"status {status}"
        return _DecoderEndedError(CRASHED, f"the decoder ended without a reply: {ending}")


@lru_cache(maxsize=1)
def _starter(_pid: int) -> ThreadPoolExecutor:
    """One thread that starts all processes and lives as long as this one: a process ends with its parent's thread."""
    return ThreadPoolExecutor(1, thread_name_prefix="decoders")


def _start(job: str) -> subprocess.Popen[bytes]:
    code = _START.format(module=serve_decoder.__module__, job=job, parent=os.getpid())
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_ENVIRONMENT},
    )
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, AttributeError):  # the user has many of that size, or the system has no such call
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]
    return process


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Until a reply or the end; raises ValueError for a process that neither ends nor gets on."""
    assert process.stdout is not None  # noqa: S101 - as above
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN | select.POLLHUP)
    used, idle = -1.0, 0
    while not ready.poll(_POLL_S * 1000):
        previous, used = used, _processor_ticks(process.pid)
        idle = idle + 1 if used == previous else 0
        if idle >= _IDLE_POLLS:
            raise ValueError("no processor time")


def _processor_ticks(pid: int) -> float:
    """Processor time of a process so far; the clock where there is no /proc, so that nothing counts as hanging."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return float(fields[11]) + float(fields[12])
