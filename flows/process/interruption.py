"""Ctrl-C and SIGTERM end a command within seconds, with one line on stderr and exit status 130 or 143.

All that is stored survives a kill -9, so nothing has to be tidied: the main thread gets KeyboardInterrupt and a moment
to unwind, in which it can tell Prefect; then the process ends whatever it does. What libraries print meanwhile, such as
tracebacks of threads, goes nowhere.
"""

import atexit
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ClassVar, NoReturn, Self

from evenly.allocation import share_one_arena

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}
INTERRUPTED = "interrupted. Run the same command again: what is finished is kept and reused."
_OBJECTS_PER_COLLECTION = 50_000  # looking for garbage in the million that libraries make took a fifth of their import
_SWITCH_S = 0.0005  # a tenth of the usual: threads that read wait for their turn while libraries are imported
_CLEAN_LINE = b"\r\x1b[K\x1b[?25h"  # a progress bar that is cut off leaves its line, and no cursor


class Interruption:
    """Watches for the signals of STATUSES in this process, from the main thread; those that it ignores stay ignored.

    A command runs in it as a context, and then ends by `finish`.

    The watch is a thread, woken by the interpreter's own handler: it works while the main thread is in compiled code.
    """

    unwind_s: ClassVar[float] = 1.5
    """How long the main thread has, at most, after a signal."""

    def __init__(self) -> None:
        share_one_arena()  # ahead of the thread that watches, which would have one of its own
        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        sys.setswitchinterval(_SWITCH_S)
        self._stderr = _duplicate_stderr()
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._status: int | None = None
        self._finished: int | None = None
        self._raised = False
        atexit.register(self._leave)  # the first to be registered is the last to run
        self._ending = threading.Lock()
        self._signals, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        for number in STATUSES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._raise)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_if_interrupted()

    def end_if_interrupted(self) -> None:
        """End this process if a signal came; called when the command has ended in whatever way."""
        if self._status is not None:
            self._end(self._status)

    def finish(self, status: int) -> NoReturn:
        """End this process with a status: threads are joined and exit functions run, and nothing is taken apart.

        That would take seconds after large libraries, in which Ctrl-C finds no handler any more.
        """
        self._finished = status
        sys.exit(status)

    def _leave(self) -> None:
        self.end_if_interrupted()
        if self._finished is not None:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # it was closed before the start
                    stream.flush()
            os._exit(self._finished)

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)
        if not self._raised:  # a second one is for the watch: it must not hit the end itself
            self._raised = True
            raise KeyboardInterrupt

    def _note(self, number: int) -> None:
        os.dup2(self._nowhere, 2)  # ahead of the status, by whoever comes here: the other thread may already unwind
        if self._status is None:
            self._status = STATUSES[signal.Signals(number)]

    def _watch(self) -> None:
        while (number := os.read(self._signals, 1)[0]) not in STATUSES:
            pass  # of another signal that a library handles
        self._note(number)
        deadline = time.monotonic() + self.unwind_s
        while select.select([self._signals], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if os.read(self._signals, 1)[0] in STATUSES:
                break  # a second one ends it at once
        self.end_if_interrupted()

    def _end(self, status: int) -> NoReturn:
        self._ending.acquire()  # for good: the main thread and the watch may both come here
        clean = _CLEAN_LINE if os.isatty(self._stderr) else b""
        with suppress(OSError):
            os.write(self._stderr, clean + f"evenly: {INTERRUPTED}\n".encode())
        os._exit(status)


@contextmanager
def unwinding(seconds: float) -> Iterator[None]:
    """Give the main thread so long to unwind, while the context lasts: it has more to tell than that it has ended."""
    usual, Interruption.unwind_s = Interruption.unwind_s, seconds
    try:
        yield
    finally:
        Interruption.unwind_s = usual


def _duplicate_stderr() -> int:
    try:
        return os.dup(2)
    except OSError:  # it is closed
        return os.open(os.devnull, os.O_WRONLY)
