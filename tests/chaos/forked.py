"""Commands as forks of one process that has imported what they need: each begins at once, and may be killed.

It reads a JSON line per command on stdin (arguments, environment, folder) and answers with the number of the process,
and once that has ended with its exit status.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.interrupted import ROOT

_FLOWS = ("fit_adapters", "measure_worth", "rebuild_dataset", "refine_encoder")
_IMPORTED = ("open_clip", "sklearn.linear_model", "evenly.flows.cli", *(f"evenly.flows.{name}" for name in _FLOWS))


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, the seconds that it took, and what it printed."""

    status: int
    seconds: float
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("evenly: ")]

    @property
    def is_plain(self) -> bool:
        """Whether it worked, or said in a line what was wrong."""
        return self.status == 0 or (self.status in (1, 2) and len(self.lines) == 1 and "Traceback" not in self.err)


class Forks:
    """The process that commands are forked from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            cwd=ROOT,
            text=True,
        )
        self._ended: dict[int, int] = {}
        self._started: list[int] = []
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            kind, pid, *status = line.split()
            with self._news:
                if kind == "started":
                    self._ended.pop(int(pid), None)  # numbers of processes come again after some thousands
                    self._started.append(int(pid))
                else:
                    self._ended[int(pid)] = int(status[0])
                self._news.notify_all()

    def start(self, arguments: Sequence[str], folder: Path) -> "Fork":
        """Start `evenly ARGUMENTS` in a folder."""
        out, err = (folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        order = {"arguments": list(arguments), "folder": str(folder), "out": str(out), "err": str(err)}
        with self._news:
            self._process.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            if not self._news.wait_for(lambda: self._started, 1800):
                raise RuntimeError("the process that commands are forked from does not answer")
            return Fork(self, self._started.pop(), out, err, time.monotonic())

    def status(self, pid: int, within_s: float) -> int | None:
        """The exit status of a command, once it has ended; None where it has not."""
        with self._news:
            self._news.wait_for(lambda: pid in self._ended, within_s)
            return self._ended.get(pid)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def forks_of(environment: Mapping[str, str]) -> Iterator[Forks]:
    """The process that commands are forked from, for the block."""
    forks = Forks(environment)
    try:
        yield forks
    finally:
        forks.close()


@dataclass(frozen=True)
class Fork:
    """A running command."""

    forks: Forks
    pid: int
    out: Path
    err: Path
    started: float

    def kill_after(self, seconds: float) -> bool:
        """Kill it at a moment; False where it had ended before."""
        if self.forks.status(self.pid, seconds) is not None:
            return False
        os.kill(self.pid, signal.SIGKILL)
        return self.forks.status(self.pid, 60) == -signal.SIGKILL

    def end(self, within_s: float = 300.0) -> Ended:
        """Wait for its end; a command that hangs is killed, and has the status of that."""
        status = self.forks.status(self.pid, within_s)
        if status is None:
            self.kill_after(0)
            status = -signal.SIGKILL
        seconds = time.monotonic() - self.started
        return Ended(status, seconds, self.out.read_text(), self.err.read_text(errors="replace"))


def _preload() -> None:
    """Import what takes long, but for lance, which must not be there where a process is forked."""
    for name in _IMPORTED:
        import_module(name)


def _run(order: Mapping[str, Any]) -> None:
    """In the new process: be the command, and end with its status."""
    os.setsid()
    os.chdir(order["folder"])
    for number, path in ((1, order["out"]), (2, order["err"])):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(descriptor, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["evenly", *order["arguments"]]
    from evenly.flows.cli import app
    from evenly.flows.process.environment import set_up_command
    from tests.reported import report_errors

    status = 1
    try:
        set_up_command()
        status = report_errors(app)
    except BaseException:  # noqa: BLE001 - what no command should end with is what we look for
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Serve orders until stdin ends."""
    _preload()
    threads: list[threading.Thread] = []

    def reap(pid: int) -> None:
        _, waited = os.waitpid(pid, 0)
        os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(waited)}\n".encode())

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _run(order)
        os.write(1, f"started {pid}\n".encode())
        threads.append(threading.Thread(target=reap, args=(pid,), daemon=True))
        threads[-1].start()


if __name__ == "__main__":
    main()
