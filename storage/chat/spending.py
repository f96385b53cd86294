"""Spending on language models, per account: an append-only journal of reservations and what became of them.

A line is written before its request leaves, so a crash between the two counts as spent. Lines are never changed; each
reader takes in what was appended since it last looked. Each line holds a checksum of itself and of the line ahead of
it; journals from before there were checksums may begin with lines without.

The journal is a file in a folder, and one object for each line in an object store. A file is added to under its lock,
after all that is in it was read. An object is created under the number that follows the last one read, where none is:
of two processes that add at the same time, one succeeds, and the other has to read first. So either way a line is added
by somebody who knows all lines ahead of it.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from xxhash import xxh3_128_hexdigest

from evenly.storage.errors import DamagedError
from evenly.storage.records import canonical_json, sync_folder
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.workspace import Workspace


class FileLines:
    """The lines of a file. `read`: bytes taken in so far; `appended`: lines added by this process."""

    says_when_behind = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = self.appended = self._durable = 0
        self._stream: IO[bytes] | None = None
        self._flushing = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the file alone; made where it is not there. For one thread at a time."""
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self.path.parent.parent)
        with self.path.open("a+b", buffering=0) as self._stream:
            fcntl.flock(self._stream, fcntl.LOCK_EX)
            yield

    def new_lines(self) -> Iterator[bytes]:
        """Lines appended since; a last line without an end was never acknowledged, and is cut off."""
        stream = self._held_stream()
        stream.seek(0, os.SEEK_END)
        if stream.tell() < self.read:
            raise DamagedError(
                f"journal `{self.path}` must only grow; it is shorter than it was. Restore it from a backup, or start "
                "again if the account should begin at 0."
            )
        stream.seek(self.read)
        lines = stream.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            torn = lines.pop()
            if b"}" in torn[:-1]:  # a whole line whose end has changed: no writer leaves that
                raise self.damaged(torn)
            stream.truncate(self.read + sum(map(len, lines)))
        for line in lines:
            yield line
            self.read += len(line)

    def append(self, line: bytes) -> bool:
        """Add a line; True. Durable once `flush` has returned."""
        if self._held_stream().write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if not self.read:
            sync_folder(self.path.parent)
        self.read += len(line)
        self.appended += 1
        return True

    def flush(self, number: int) -> None:
        """Return when the first `number` additions are on disk. One flush serves all who wait for it."""
        with self._flushing:
            if self._durable >= number:
                return
            newest = self.appended
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())
            self._durable = newest

    def damaged(self, line: bytes) -> DamagedError:
        """The error for a line that no writer has written."""
        return _damaged(self.path, line, f"at byte {self.read}")

    def _held_stream(self) -> IO[bytes]:
        if self._stream is None:
            raise ValueError("lines must be read and added while they are held; they are not")
        return self._stream


class ObjectLines:
    """The lines of a journal in an object store. `read`: lines taken in so far; `appended`: those of this process."""

    says_when_behind = True
    """A line is not added after lines that were not read: they need not be looked for ahead of each."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.read = self.appended = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing: whoever adds a line finds out whether another was faster."""
        yield

    def new_lines(self) -> Iterator[bytes]:
        """Lines appended since."""
        if not self.read:
            yield from self._all_lines()
        while True:
            try:
                line = self._place(self.read + 1).read_bytes()
            except FileNotFoundError:
                return
            yield line
            self.read += 1

    def append(self, line: bytes) -> bool:
        """Add a line, durably; False, and nothing changed, where another process has added one that was not read."""
        if not self._place(self.read + 1).create(line):
            return False
        self.read += 1
        self.appended += 1
        return True

    def flush(self, number: int) -> None:
        """Nothing: what a store has acknowledged is durable."""

    def damaged(self, line: bytes) -> DamagedError:
        """The error for a line that no writer has written."""
        return _damaged(self.path, line, f"in `{self._place(self.read + 1).name}`")

    def _all_lines(self) -> Iterator[bytes]:
        numbers = range(1, sum(name.endswith(".json") for name, _ in self.path.objects()) + 1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for line in pool.map(lambda number: self._place(number).read_bytes(), numbers):
                    yield line
                    self.read += 1
            except FileNotFoundError as error:
                raise DamagedError(
                    f"journal `{self.path}` must only grow; {error.filename} is gone. Restore it from a backup."
                ) from None

    def _place(self, number: int) -> ObjectPath:
        return self.path / f"{number:010}.json"


def lines_at(path: Path) -> FileLines | ObjectLines:
    """The lines of the journal at `path`."""
    return ObjectLines(path) if isinstance(path, ObjectPath) else FileLines(path)


def _damaged(path: Path, line: bytes, place: str) -> DamagedError:
    return DamagedError(
        f"journal `{path}` must hold one reservation or settlement a line, as it was written; got {line[:120]!r} "
        f"{place}. Restore it from a backup."
    )


class SpendingJournal:
    """The journal of one account, such as a class list; it may be used from several threads.

    It is named for a hash of the account, and holds the account's name in its first line.
    """

    def __init__(self, workspace: Workspace, account: str) -> None:
        self.account = account
        self.path = workspace.spending / f"{hashlib.sha256(account.encode()).hexdigest()[:32]}.jsonl"
        self._lines = lines_at(self.path)
        self._open: dict[str, float] = {}
        self._settled: set[str] = set()
        self._settled_usd = 0.0
        self._last_sum = ""
        self._reading = threading.Lock()

    def reserve(self, entry_id: str, usd: float, *, limit_usd: float | None = None) -> bool:
        """Set `usd` aside; durable when it returns. False, and nothing changed, if the total would pass `limit_usd`.

        An entry that is open already stays as it is; one that is settled is a ValueError.
        """
        with self._locked():
            while entry_id not in self._open:
                if entry_id in self._settled:
                    raise ValueError(f"`entry_id` must be new; got {entry_id!r}, which is settled.")
                if limit_usd is not None and self._total() + usd > limit_usd:
                    if not self._catch_up():
                        return False
                    continue  # another process may have settled meanwhile
                self._append({"reserve": entry_id, "usd": usd})
            number = self._lines.appended
        self._lines.flush(number)
        return True

    def settle(self, entry_id: str, usd: float) -> None:
        """Replace the sum that was set aside for an entry by the cost; an entry that is settled already stays so.

        Not flushed to disk: a settlement that a power cut takes away leaves the entry at what was set aside.
        """
        with self._locked():
            while entry_id not in self._settled:
                if entry_id not in self._open:
                    if not self._catch_up():
                        raise ValueError(f"`entry_id` must be reserved before it is settled; got {entry_id!r}.")
                    continue
                self._append({"settle": entry_id, "usd": usd})

    def total(self) -> float:
        """US dollars: the settled sums, and those set aside and not settled. 0 for an account without a journal."""
        self._look()
        return self._total()

    def lost(self) -> list[tuple[str, float]]:
        """Entries that are not settled, with US dollars, the oldest first: lost, or in flight somewhere."""
        self._look()
        return list(self._open.items())

    def _total(self) -> float:
        return math.fsum((self._settled_usd, *self._open.values()))

    def _look(self) -> None:
        if self.path.exists():
            with self._locked():
                self._catch_up()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The journal, locked, and read as far as a line may be added; made where it is not there yet."""
        with self._reading, self._lines.held():
            if not self._lines.says_when_behind or not self._lines.read:
                self._catch_up()
            while not self._lines.read:
                self._append({"account": self.account})
            yield

    def _catch_up(self) -> bool:
        """Take in what was appended since; whether there was anything."""
        is_behind = False
        for line in self._lines.new_lines():
            self._take(line)
            is_behind = True
        return is_behind

    def _append(self, entry: dict[str, Any]) -> None:
        """Add a line, or take in those that another process has added meanwhile: the caller looks again."""
        entry = entry | {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        line = canonical_json(entry | {"sum": _sum(self._last_sum, entry)}) + b"\n"
        if self._lines.append(line):
            self._take(line)
        else:
            self._catch_up()

    def _take(self, line: bytes) -> None:
        """Take in one line: {"account"}, {"reserve", "usd"} or {"settle", "usd"}, each with "time" and "sum"."""
        try:
            entry = json.loads(line)
            self._last_sum = _checked_sum(self._last_sum, entry.pop("sum", None), entry)
            if "account" in entry:
                return
            usd = _dollars(entry["usd"])
            if "reserve" in entry:
                self._open[str(entry["reserve"])] = usd
            else:
                del self._open[entry["settle"]]
                self._settled.add(entry["settle"])
                self._settled_usd += usd
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._lines.damaged(line) from None


def _sum(last: str, entry: dict[str, Any]) -> str:
    """The checksum of a line that follows one of sum `last`, so that a line that is lost between others shows, too."""
    return xxh3_128_hexdigest(last.encode() + canonical_json(entry))


def _checked_sum(last: str, stated: str | None, entry: dict[str, Any]) -> str:
    """The sum that a line says, "" for one from before there were sums, or ValueError."""
    if stated != (None if stated is None and not last else _sum(last, entry)):
        raise ValueError
    return stated or ""


def _dollars(value: Any) -> float:  # noqa: ANN401 - any JSON value
    """A finite number that is not negative, or ValueError."""
    usd = float(value)
    if not 0 <= usd < math.inf:
        raise ValueError
    return usd
