"""The machine: its clock, its limits, and another run of the same recipe on it."""

import os
import resource
import signal
import time
from pathlib import Path

from tests.chaos.trial import Trial

_LIBRARIES = ("libfaketimeMT.so.1", "libfaketime.so.1")
_FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
_GROUPS = Path("/sys/fs/cgroup/memory")
_MB = 2**20


def needs_faketime() -> str:
    """Why no clock can be set here for one command; "" where it can."""
    return "" if _faketime() else "needs libfaketime (apt-get install faketime)"


def clock_back(trial: Trial) -> None:
    """The clock is set back by days in mid-run."""
    _set_clock(trial, f"-{trial.luck.randrange(1, 400)}d")


def clock_forward(trial: Trial) -> None:
    """The clock is set forward by days in mid-run."""
    _set_clock(trial, f"+{trial.luck.randrange(1, 400)}d")


def _set_clock(trial: Trial, offset: str) -> None:
    clock = trial.folder / "clock"
    clock.write_text("+0\n")
    fake = {
        "LD_PRELOAD": _faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    command = trial.start(**fake)
    if trial.reach(command, trial.point()):
        trial.notes.append(f"by {offset}")
        (trial.folder / "set").write_text(f"{offset}\n")
        (trial.folder / "set").replace(clock)  # at once: half a line is no time
        trial.expect_plain(command.end())


def _faketime() -> str:
    found = [path for folder in _FOLDERS for name in _LIBRARIES for path in Path("/").glob(f"{folder[1:]}/{name}")]
    return str(found[0]) if found else ""


def few_handles(trial: Trial) -> None:
    """The command may open no more files than a few beyond those that it has at a moment."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        pid = command.process.pid
        limit = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) + 1 + trial.luck.randrange(6)
        trial.notes.append(f"{limit} handles")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        trial.expect_plain(command.end())


def few_handles_from_start(trial: Trial) -> None:
    """All processes of the command may open a drawn number of files each, from the start."""
    limit = trial.luck.choice([24, 48, 64, 96])
    trial.notes.append(f"{limit} handles")
    trial.expect_plain(trial.start(prefix=["prlimit", f"--nofile={limit}"]).end())


def little_memory(trial: Trial) -> None:
    """The command may take no more memory than a little beyond what it has at a moment.

    Libraries may end it in any way then, by not being loaded or by aborting.
    """
    command = trial.start()
    if trial.reach(command, trial.point()):
        pid = command.process.pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + trial.luck.randrange(1, 64) * _MB
        trial.notes.append(f"{limit // _MB} MB")
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
        trial.expect_end(command.end())


def needs_memory_groups() -> str:
    """Why the memory of a group of processes cannot be limited here; "" where it can."""
    return "" if os.geteuid() == 0 and (_GROUPS / "memory.limit_in_bytes").exists() else "needs cgroup v1, as root"


def memory_group(trial: Trial) -> None:
    """All processes of the command together may take a drawn amount of memory, as in a container; the kernel kills."""
    group = _GROUPS / f"evenly-chaos-{os.getpid()}"
    group.mkdir()
    trial.cleanup.callback(group.rmdir)
    limit = trial.luck.randrange(150, 900)
    trial.notes.append(f"{limit} MB")
    (group / "memory.limit_in_bytes").write_text(str(limit * _MB))
    join = f'echo $$ > {group / "cgroup.procs"} && exec "$@"'
    trial.expect_end(trial.start(prefix=["bash", "-c", join, "bash"]).end())


def two_rebuilds(trial: Trial) -> None:
    """The same command twice at the same time: each does its work, or is refused in one line."""
    first = trial.start()
    if not trial.reach(first, trial.point()):
        return
    second = trial.start()
    ends = [first.end(), second.end()]
    for end in ends:
        trial.expect_plain(end)
    if all(end.status != 0 for end in ends):
        trial.problems.append("one of two must do its work; both were refused")


def two_rebuilds_waiting(trial: Trial) -> None:
    """The same command twice at the same time, the second of which may wait: both do their work."""
    first = trial.start()
    if not trial.reach(first, trial.point()):
        return
    second = trial.start(wait_s=1800)
    for end in (first.end(), second.end()):
        trial.expect_status(end, 0)


def two_rebuilds_one_killed(trial: Trial) -> None:
    """The same command twice at the same time; the one that came first is killed."""
    first = trial.start()
    while first.process.poll() is None and not any((trial.root / "locks").glob("*.json")):
        time.sleep(0.01)  # until it is the one that writes
    second = trial.start()
    if trial.reach(first, trial.point()):
        first.send(signal.SIGKILL)
        trial.expect_status(first.end(), -signal.SIGKILL)
    trial.expect_plain(second.end())
