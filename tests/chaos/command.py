"""A command that runs beside the harness: how far it is, which processes it has, how it ends."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.interrupted import MARK, ROOT, processes

_POLL_S = 0.01
_GONE_WITHIN_S = 10.0
_CUT = """
from evenly.tasks import partitioning
partitioning.MOST_ROWS = {}
from evenly.flows.__main__ import main
main()
"""

# Roles of processes by what stands in their command lines; the first that fits.
ROLES = {
    "server": "prefect.server.api",
    "ray node": "raylet",
    "ray worker": "ray::partitions",
    "decoder": "serve_decoder",
    "tracker": "multiprocessing.resource_tracker",
    "worker": "from multiprocessing.",  # spawned, forked, or what they are forked from
}


@dataclass(frozen=True)
class Point:
    """A moment of a command: so many seconds after the line of a step (none: after the start), while `step` works.

    With a role: once a process of that role is there.
    """

    step: str
    after: str
    delay_s: float
    role: str = ""

    def __str__(self) -> str:
        return f"{self.step} +{self.delay_s:.2f} s"


@dataclass(frozen=True)
class End:
    """How a command ended: exit status (None: it hung and was killed), seconds since `Command.end` was asked."""

    status: int | None
    seconds: float
    out: str
    err: str
    left: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What it said went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("evenly: ")]

    def failed_plainly(self) -> bool:
        """Whether it said in a line or two what was wrong, with exit status 1 or 2 and no traceback."""
        return self.status in (1, 2) and 1 <= len(self.lines) <= 2 and "Traceback" not in self.err


@dataclass
class Command:
    """A running command, in a session of its own; `mark` is in the environment of all its processes."""

    process: subprocess.Popen[bytes]
    mark: str
    out: Path
    err: Path
    longest_s: ClassVar[float] = 300.0
    """A command that takes longer hangs: on a quiet machine it takes some 20 s, on a busy one it is set to more."""
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        prefix: Sequence[str] = (),
        most_rows: int = 0,
    ) -> "Command":
        """Start `evenly ARGUMENTS`, behind `prefix` where another program is to start it; output goes to `folder`.

        most_rows: cut pools into partitions of so many pairs at most, if it is not 0.
        """
        program = ["-c", _CUT.format(most_rows)] if most_rows else ["-m", "evenly.flows"]
        mark = uuid.uuid4().hex
        out, err = folder / f"{mark[:8]}.out", folder / f"{mark[:8]}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*prefix, sys.executable, *program, *arguments],
                env={**environment, MARK: mark},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return cls(process, mark, out, err)

    def steps(self) -> list[str]:
        """The steps that are done, as its lines on stderr name them."""
        text = self.err.read_text(errors="replace")
        return [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("evenly:")]

    def reach(self, point: Point) -> bool:
        """Wait for a moment; False where the command ended before."""
        while point.after and point.after not in self.steps():
            if self.process.poll() is not None or time.monotonic() > self.started + self.longest_s:
                return False
            time.sleep(_POLL_S)
        while point.role and not self.found(point.role):
            if self.process.poll() is not None or time.monotonic() > self.started + self.longest_s:
                return False
            time.sleep(_POLL_S)
        time.sleep(point.delay_s)
        return self.process.poll() is None

    def found(self, role: str) -> list[int]:
        """Ids of its processes of a role, besides the first."""
        return [pid for pid, known in self.roles().items() if known == role]

    def roles(self) -> dict[int, str]:
        """The role of each of its processes besides the first."""
        listed = (entry.split(" ", 1) for entry in processes(self.mark))
        return {int(pid): role_of(line) for pid, line in listed if int(pid) != self.process.pid}

    def send(self, number: signal.Signals, pids: Iterable[int] | None = None) -> None:
        """Send a signal to the command alone, or to some processes."""
        for pid in [self.process.pid] if pids is None else pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """Kill what still runs of it, where the harness itself was interrupted."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL, [self.process.pid, *self.roles()])
            self.process.wait()

    def end(self, within_s: float | None = None) -> End:
        """Wait for the end of the command and of all its processes; those that do not end are killed and told."""
        asked = time.monotonic()
        try:
            status: int | None = self.process.wait(within_s or self.longest_s)
        except subprocess.TimeoutExpired:
            status = None
            self.send(signal.SIGKILL)
            self.process.wait()
        seconds = time.monotonic() - asked
        while (left := processes(self.mark)) and time.monotonic() < asked + seconds + _GONE_WITHIN_S:
            time.sleep(0.05)
        self.send(signal.SIGKILL, [int(entry.split()[0]) for entry in left])
        return End(status, seconds, self.out.read_text(), self.err.read_text(errors="replace"), tuple(left))


def role_of(command_line: str) -> str:
    """The role of a process, by its command line."""
    return next((role for role, part in ROLES.items() if part in command_line), "other")
