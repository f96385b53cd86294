"""Commands that are interrupted or killed at a moment, and what is left of them. Not a test: tests use it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "EVENLY_TEST_MARK"
GONE_WITHIN_S = 10.0


@dataclass(frozen=True)
class End:
    """How a command ended: seconds since the signal until it ended and until nothing of it was left; what it wrote."""

    moment_s: float
    seconds: float
    status: int
    out: str
    err: str
    gone_s: float
    left: tuple[str, ...]

    def row(self) -> str:
        """One row of a table: moment, seconds, exit status, lines, seconds until nothing was left, what is left."""
        lines = len([line for line in self.err.splitlines() if line.startswith("evenly:")])
        return (
            f"{self.moment_s:7.2f} {self.seconds:6.2f} {self.status:4d} {lines:2d} {self.gone_s:6.2f} {len(self.left)}"
        )


def signalled(
    arguments: list[str],
    environment: Mapping[str, str],
    *,
    folder: Path,
    moment_s: float,
    number: signal.Signals,
    group: bool = True,
    program: Sequence[str] = ("-m", "evenly.flows"),
    after: Callable[[str], bool] | None = None,
) -> End:
    """Run the command, send the signal at a moment to its process group (as Ctrl-C does) or to it alone.

    after: what must be so, given the mark of its processes, before the moment is counted.
    """
    mark = uuid.uuid4().hex
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            env=os.environ | environment | {MARK: mark},
            cwd=ROOT,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        while after is not None and process.poll() is None and not after(mark):
            time.sleep(0.005)
        try:
            process.wait(moment_s)
        except subprocess.TimeoutExpired:
            (os.killpg if group else os.kill)(process.pid, number)
        sent = time.monotonic()
        status = process.wait(120)
        seconds = time.monotonic() - sent
        while (left := processes(mark)) and time.monotonic() < sent + GONE_WITHIN_S:
            time.sleep(0.05)
        gone_s = time.monotonic() - sent
        for one in left:
            os.kill(int(one.split()[0]), signal.SIGKILL)
        texts = ((folder / name).read_text() for name in ("out", "err"))
        return End(moment_s, seconds, status, *texts, gone_s, tuple(left))


def processes(mark: str) -> list[str]:
    """Id and command line of each process that has the mark in its environment and has not ended, and of its children.

    A child may have written its title over its environment, as Ray's workers do.
    """
    lines, parents, marked = dict[int, str](), dict[int, int](), set[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            state, parent, *_ = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if state == "Z":
                continue
            lines[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents[pid] = int(parent)
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                marked.add(pid)
        except OSError:  # it ended meanwhile, or is not ours
            continue
    while more := {pid for pid, parent in parents.items() if parent in marked and pid not in marked}:
        marked |= more
    return [f"{pid} {lines[pid]}" for pid in sorted(marked & set(lines))]
