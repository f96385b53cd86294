"""Locks that end with their process, however it ends; see evenly.storage.workspace for who takes which.

In a folder it is a lock of the system. In an object store it is an object that says who writes, renewed every
HEARTBEAT_S. It is taken over once the store's own clock says that it was not renewed for TAKEN_OVER_AFTER_S, and at
once where the process was of this machine and is gone.
"""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenly.storage.errors import StoreError
from evenly.storage.records import canonical_json
from evenly.storage.stores.object_path import ObjectPath, ObjectVersion

HEARTBEAT_S = 10.0
TAKEN_OVER_AFTER_S = 60.0
_POLL_S = 0.2
_LOOKED_AT_S, _TRIES = 0.05, 6
"""Who only asks whether a lock is held holds it for a moment: so it is tried again."""
_own_tokens: set[str] = set()


def holder_of(path: Path) -> Mapping[str, Any] | None:
    """Who holds the lock at `path`: host, pid, since; None where nobody does, or a process that is dead."""
    if isinstance(path, ObjectPath):
        try:
            found = path.read_version()
        except FileNotFoundError:
            return None
        return None if _is_dead(path, found) else _facts(found.content)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _facts(os.pread(descriptor, 1 << 12, 0))
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


@contextmanager
def lock_holder(path: Path, work: str = "") -> Iterator[Mapping[str, Any] | None]:
    """Hold the lock at `path` for the block and yield None; where another holds it, who: host, pid, since, work."""
    with _held_object(path, work) if isinstance(path, ObjectPath) else _held_file(path, work) as holder:
        yield holder


@contextmanager
def waited_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for the block, once whoever holds it has let it go or shows no sign of life."""
    while True:
        with lock_holder(path) as holder:
            if holder is None:
                yield
                return
        time.sleep(_POLL_S)


def described_holder(holder: Mapping[str, Any]) -> str:
    """Who holds a lock, and since when, in words."""
    if holder.get("pid") is None:  # it has just taken the lock, or what the lock said is damaged
        return "a process that its lock does not name writes it"
    work = f", {holder['work']}," if holder.get("work") else ""
    return f"process {holder.get('pid')} on `{holder.get('host')}`{work} has written it since {holder.get('since')}"


def _this_process(work: str = "") -> dict[str, Any]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    identity = {"machine": _machine(), "started": _started(os.getpid()), "token": secrets.token_hex(8)}
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "work": work, **identity}


@contextmanager
def _held_file(path: Path, work: str) -> Iterator[Mapping[str, Any] | None]:
    try:
        descriptor, is_held = _open_file(path)
    except OSError:  # what cannot be written to needs no lock, the first table says why; or a file system has no locks
        yield None
        return
    with os.fdopen(descriptor, "r+b") as file:
        if not is_held:
            yield _facts(file.read())
            return
        with suppress(OSError):  # a full disk: the lock is held all the same
            file.truncate()
            file.write(canonical_json(_this_process(work)))
            file.flush()
        yield None


def _open_file(path: Path) -> tuple[int, bool]:
    """The file of a lock, open, and whether the lock is now ours; another file where its last holder removed it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            if path.is_symlink():
                raise
            continue  # the folder has just been removed
        try:
            is_held = _take_file(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if not is_held or _lies_at(path, descriptor):
            return descriptor, is_held
        os.close(descriptor)


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take_file(descriptor: int) -> bool:
    """Whether the lock of an open file is now ours."""
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < _TRIES - 1:
                time.sleep(_LOOKED_AT_S)
        else:
            return True
    return False


@contextmanager
def _held_object(path: ObjectPath, work: str) -> Iterator[Mapping[str, Any] | None]:
    own = _this_process(work)
    _own_tokens.add(own["token"])
    try:
        with _held_by(path, own) as holder:
            yield holder
    finally:
        _own_tokens.discard(own["token"])


@contextmanager
def _held_by(path: ObjectPath, own: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    if not path.create(canonical_json(own)) and (holder := _take_over(path, own)) is not None:
        yield holder
        return
    ended = threading.Event()
    heartbeat = threading.Thread(target=_renew, args=(path, own, ended), daemon=True)
    heartbeat.start()
    try:
        yield None
    finally:
        ended.set()
        heartbeat.join()
        with suppress(FileNotFoundError, StoreError):  # it is taken over in time
            if _facts(path.read_bytes()).get("token") == own["token"]:
                path.unlink(missing_ok=True)


def _take_over(path: ObjectPath, own: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """None where the lock is now ours, for its holder is dead or has let it go; else its holder."""
    try:
        found = path.read_version()
    except FileNotFoundError:
        return None if path.create(canonical_json(own)) else {}
    is_taken = _is_dead(path, found) and path.replace_version(found, canonical_json(own))
    return None if is_taken else _facts(found.content)


def _is_dead(path: ObjectPath, version: ObjectVersion) -> bool:
    """Whether the lock's holder is gone, or has shown no sign of life for too long."""
    return _is_gone(_facts(version.content)) or (
        (store_time(path) - version.changed).total_seconds() > TAKEN_OVER_AFTER_S
    )


def _renew(path: ObjectPath, own: Mapping[str, Any], ended: threading.Event) -> None:
    """Show that this process lives, until the lock has ended or is another's."""
    beats = 0
    while not ended.wait(HEARTBEAT_S):
        beats += 1
        with suppress(StoreError):  # it may answer the next time
            try:
                found = path.read_version()
            except FileNotFoundError:
                return
            if _facts(found.content).get("token") != own["token"]:
                return
            path.replace_version(found, canonical_json({**own, "beats": beats}))


def store_time(path: ObjectPath) -> datetime:
    """The time by the store's clock, which also says when the lock was renewed."""
    clock = path.with_name(f".clock-{secrets.token_hex(8)}")
    clock.write_bytes(b"")
    try:
        return clock.read_version().changed
    finally:
        clock.unlink(missing_ok=True)


def _facts(content: bytes) -> dict[str, Any]:
    """Who holds a lock; nothing where that was not written to its end."""
    with suppress(ValueError):
        facts = json.loads(content)
        if isinstance(facts, dict):
            return facts
    return {}


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether the holder was of this machine and has ended, it or this process; False where that cannot be known."""
    machine, started = holder.get("machine"), holder.get("started")
    if machine is None or started is None or machine != _machine():
        return False
    if holder.get("pid") == os.getpid():  # it could not let go of it: the store did not answer then
        return holder.get("token") not in _own_tokens
    return _started(int(holder.get("pid", 0))) != str(started)


def _machine() -> str | None:
    """This start of this machine, and the numbering of processes that this one is in; None where it is not known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]
