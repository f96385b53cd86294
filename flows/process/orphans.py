"""Processes by their parents: those of a worker, and temporary Prefect servers that outlived their command."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

SERVER = "prefect.server.api.server:create_app"
_TETHER = "flows/process/tether.py"
_END_S = 5.0


def orphaned_servers(processes: Path = Path("/proc")) -> list[int]:
    """Process ids of our temporary servers, of this user, whose parent is no command; [] where /proc is not there."""
    return sorted(_orphans(processes))


def end_servers(pids: Sequence[int]) -> None:
    """End processes that `orphaned_servers` named, and are it still: by SIGTERM, and a moment later by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = set(pids) & set(orphaned_servers())
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + _END_S
        while set(pids) & set(orphaned_servers()) and time.monotonic() < deadline:
            time.sleep(0.05)


def children_of(pid: int, processes: Path = Path("/proc")) -> list[int]:
    """Process ids of the children of a process; [] where /proc is not there."""
    children = []
    for folder in processes.glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it ended meanwhile
            if _parent(folder) == pid:
                children.append(int(folder.name))
    return children


def _orphans(processes: Path) -> Iterator[int]:
    for folder in processes.glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it ended meanwhile, or is another user's
            words = _words(folder)
            if (
                SERVER in words
                and any(word.endswith(_TETHER) for word in words)
                and folder.stat().st_uid == os.getuid()
            ):
                parent = _words(processes / str(_parent(folder)))
                if not any("python" in word or "evenly" in word for word in parent[:2]):
                    yield int(folder.name)


def _words(folder: Path) -> list[str]:
    return (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")


def _parent(folder: Path) -> int:
    return int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
