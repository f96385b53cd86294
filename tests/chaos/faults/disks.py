"""The disk: full, read-only, slow, failing; and files that are not what was written."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.chaos.trial import Trial

_ROOMY = 2**30
_MB = 2**20
_SLOW_SYNC_US = 40_000


def needs_mounts() -> str:
    """Why there can be no file systems of our own here; "" where there can."""
    return "" if os.geteuid() == 0 and shutil.which("mount") else "needs root, to mount a file system in memory"


def needs_strace() -> str:
    """Why system calls cannot be made slow or fail here; "" where they can."""
    return "" if shutil.which("strace") else "needs strace (apt-get install strace)"


def disk_full(trial: Trial) -> None:
    """The workspace's disk is full after a drawn share of what a run writes; then there is room again."""
    share = (trial.number + trial.luck.random()) / trial.times
    size = max(16, int(share * trial.reference.size) // 4096) * 4096
    trial.mount(size)
    trial.notes.append(f"after {size / _MB:.2f} MB ({share:.0%})")
    trial.expect_plain(trial.start().end())
    trial.grow(_ROOMY)


def file_too_large(trial: Trial) -> None:
    """No file may grow beyond a drawn size, as by a quota."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        room = command.err.stat().st_size + 4096  # its errors go to a file too, and must have room there
        limit = max(room, trial.luck.choice([0, 4096, 65536]))
        trial.notes.append(f"{limit} bytes")
        resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        trial.expect_plain(command.end())


def read_only(trial: Trial) -> None:
    """The workspace becomes read-only in mid-run for whatever is opened then; later it may be written to again."""
    command = trial.start()
    if trial.reach(command, trial.point()):
        trial.root.mkdir(exist_ok=True)
        trial.cover()
        trial.expect_plain(command.end())
        trial.uncover()


def slow_disk(trial: Trial) -> None:
    """Each flush to disk takes long."""
    trial.notes.append(f"{_SLOW_SYNC_US // 1000} ms a flush")
    delay = f"inject=fsync,fdatasync:delay_enter={_SLOW_SYNC_US}"
    trial.expect_plain(trial.start(prefix=_strace(delay)).end())


def failing_disk(trial: Trial) -> None:
    """From a drawn one on, no flush of a thread succeeds."""
    first = trial.luck.randrange(1, 12)
    trial.notes.append(f"from flush {first} on")
    trial.expect_plain(trial.start(prefix=_strace(f"inject=fsync,fdatasync:error=EIO:when={first}+")).end())


def _strace(*expressions: str) -> list[str]:
    options = [part for expression in expressions for part in ("-e", expression)]
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync", "--seccomp-bpf", *options]


def bit_flip(trial: Trial) -> None:
    """The command is killed, and a bit of a stored file flips before it runs again."""
    _damage(trial, lambda content: _flipped(content, trial.luck.randrange(8 * len(content))))


def half_file(trial: Trial) -> None:
    """The command is killed, and of a stored file only a part is there under its name when it runs again."""
    _damage(trial, lambda content: content[: trial.luck.randrange(len(content))])


def _damage(trial: Trial, damaged: Callable[[bytes], bytes]) -> None:
    command = trial.start()
    if not trial.reach(command, trial.point()):
        return
    command.send(signal.SIGKILL)
    trial.expect_status(command.end(), -signal.SIGKILL)
    if path := _any_file(trial):
        path.write_bytes(damaged(path.read_bytes()))
        trial.notes.append(f"in {path.relative_to(trial.root).as_posix()[-60:]}")
        trial.may_ask_again = True  # what is damaged is to be removed, and so is what it held


def _any_file(trial: Trial) -> Path | None:
    """A file that is not empty, of a drawn folder, so that each kind of file has its turn."""
    files = [path for path in sorted(trial.root.rglob("*")) if path.is_file() and path.stat().st_size]
    if not files:
        return None
    folder = trial.luck.choice(sorted({path.relative_to(trial.root).parts[0] for path in files}))
    return trial.luck.choice([path for path in files if path.relative_to(trial.root).parts[0] == folder])


def _flipped(content: bytes, bit: int) -> bytes:
    place, mask = bit // 8, 1 << bit % 8
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]
