"""Programs that a command runs beside itself: Ctrl-C does not reach them, and none outlives the command.

This file is also the script that becomes such a program: it runs a module as `python -m` does, in a session of its own.
Its standard input is a pipe whose other end the command alone has and never writes to, so that the kernel closes it
when the command ends, also by kill -9. With -P nothing stands before the standard library on its path of modules.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_END_S, _END_AFTER_ERROR_S = 5.0, 1.0


@contextmanager
def tethered_process(
    *arguments: str, environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m ARGUMENTS` in `folder`; at the end of the context it gets SIGTERM, and a moment later it is ended."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-P", __file__, *arguments],
        stdin=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    end_s = _END_AFTER_ERROR_S
    try:
        yield process
        end_s = _END_S
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(end_s)
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _run_tethered(module: str) -> None:
    pipe, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    sys.path.append(str(Path(__file__).absolute().parents[3]))  # last: for a checkout that is not installed
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # returns when the other end is closed
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    del sys.argv[0]
    _run_tethered(sys.argv[0])
