"""A decoder's process: one picture after the other through one job, each within a budget of its own.

Requests and replies are length-prefixed; replies are JSON, since a decoder may have been taken over by what it read,
and plain bytes after it where the job gives them.
"""

import importlib
import json
import math
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

CPU_S, CPU_S_PER_MEGAPIXEL = 4.0, 0.1  # about four times the slowest ordinary picture: docs/rebuild.md
MEMORY_BYTES, MEMORY_PER_PIXEL, MEMORY_PER_BYTE = 256 << 20, 24, 4
TOO_SLOW, TOO_MUCH_MEMORY, TOO_MANY_PIXELS = "too_slow", "too_much_memory", "too_many_pixels"

_MOST_PIXELS = 1 << 28  # what a budget is made for at most, whatever the user allows

REQUEST = struct.Struct("<QQ")  # bytes of the options as JSON, bytes of the picture
REPLY = struct.Struct("<QQ")  # bytes of the reply as JSON, and of what follows it
BYTES = "bytes"  # what follows it, in the reply as the job gives it and its caller gets it
_PR_SET_PDEATHSIG = 1

Job = Callable[[bytes, dict[str, Any]], dict[str, Any]]


def cpu_budget_s(pixels: int) -> float:
    """Processor seconds that a picture may cost."""
    return CPU_S + CPU_S_PER_MEGAPIXEL * pixels / 1e6


def memory_budget(pixels: int, n_bytes: int) -> int:
    """Bytes that a picture may take beside what the process has."""
    return MEMORY_BYTES + MEMORY_PER_PIXEL * pixels + MEMORY_PER_BYTE * n_bytes


def load_function(name: str) -> Callable[..., Any]:
    """The function called `module:name`, as the parent names it."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def serve_decoder(job: str, parent: int) -> None:
    """Answer requests on stdin until it is closed or the parent has ended."""
    _end_with(parent)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no reply
    _prepare_pillow()
    run, stream = load_function(job), sys.stdin.buffer
    while header := stream.read(REQUEST.size):
        options, data = (_read(stream, size) for size in REQUEST.unpack(header))
        reply = _within_budget(run, data, json.loads(options))
        more = memoryview(reply.pop(BYTES, b"")).cast("B")
        head = json.dumps(reply).encode()
        replies.write(REPLY.pack(len(head), len(more)) + head)
        replies.write(more)
        replies.flush()


def _within_budget(run: Job, data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """The job's reply, or the budget that was exceeded; past that of processor time, the kernel ends the process."""
    started = time.process_time()
    space = _address_space()
    pixels, budget_s = min(options["max_pixels"], _MOST_PIXELS), cpu_budget_s(0)
    try:
        _limit(started + budget_s, space + memory_budget(pixels, len(data)))  # some decoders take all to open a file
        width, height = _sides(data)
        if width * height > options["max_pixels"]:
            evidence = f"{width} x {height}, more than {options['max_pixels']} pixels"
            return {"outcome": TOO_MANY_PIXELS, "evidence": evidence}
        pixels = min(width * height, pixels)
        budget_s = cpu_budget_s(pixels)
        _limit(started + budget_s, space + memory_budget(pixels, len(data)))
        reply = run(data, options)
    except MemoryError:
        reply = {"outcome": TOO_MUCH_MEMORY, "evidence": f"more than {memory_budget(pixels, len(data)):,} bytes"}
    finally:
        _limit(math.inf, math.inf)
    if time.process_time() - started > budget_s:
        return {"outcome": TOO_SLOW, "evidence": f"more than {budget_s:.1f} processor seconds"}
    return reply


def _sides(data: bytes) -> tuple[int, int]:
    """Width and height by the header; 0 and 0 where none can be read: the job says why."""
    from PIL import Image

    broken = (
        OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, SyntaxError, RuntimeError,
        EOFError, struct.error,
    )  # fmt: skip
    with suppress(*broken), Image.open(BytesIO(data)) as picture:
        return picture.width, picture.height
    return 0, 0


def _limit(cpu_s: float, address_space: float) -> None:
    """Set the soft limits of this process: processor seconds since its start, and bytes of address space."""
    for kind, value in ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_AS, address_space)):
        hard = resource.getrlimit(kind)[1]
        soft = resource.RLIM_INFINITY if value == math.inf else math.ceil(value)
        if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
            soft = hard
        resource.setrlimit(kind, (soft, hard))


def _address_space() -> float:
    """Bytes of address space in use; without /proc unlimited, as there RLIMIT_AS has no effect either."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no import of pathlib for one line
            return float(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return math.inf


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, where it can; elsewhere stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prepare_pillow() -> None:
    """One thread per decoder: threads take address space and time in amounts that depend on the machine.

    Our own limit is compared before anything is decoded, and Pillow's is switched off.
    """
    with suppress(ImportError):
        from PIL import AvifImagePlugin, Image

        Image.MAX_IMAGE_PIXELS = None
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        os._exit(1)  # the parent has ended in the middle of a request
    return data
