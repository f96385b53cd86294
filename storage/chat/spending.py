"""Spending on language models, per account: an append-only journal of reservations and what became of them.

A line is written before its request leaves, so a crash between the two counts as spent. Lines are never changed; each
reader takes in what was appended since it last looked. Several processes may write at the same time: each addition is
made under the file's lock, against the total of all. Each line holds a checksum of itself and of the line ahead of it;
journals from before there were checksums may begin with lines without.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

from xxhash import xxh3_128_hexdigest

from evenly.storage.errors import DamagedError
from evenly.storage.records import canonical_json, sync_folder
from evenly.storage.workspace import Workspace


class SpendingJournal:
    """The journal of one account, such as a class list; it may be used from several threads.

    The file is named for a hash of the account, and holds the account's name in its first line.
    """

    def __init__(self, workspace: Workspace, account: str) -> None:
        self.account = account
        self.path = workspace.spending / f"{hashlib.sha256(account.encode()).hexdigest()[:32]}.jsonl"
        self._open: dict[str, float] = {}
        self._settled: set[str] = set()
        self._settled_usd = 0.0
        self._read_to = 0
        self._last_sum = ""
        self._appended = self._durable = 0
        self._reading, self._flushing = threading.Lock(), threading.Lock()

    def reserve(self, entry_id: str, usd: float, *, limit_usd: float | None = None) -> bool:
        """Set `usd` aside; durable when it returns. False, and nothing changed, if the total would pass `limit_usd`.

        An entry that is open already stays as it is; one that is settled is a ValueError.
        """
        with self._locked() as stream:
            if entry_id in self._settled:
                raise ValueError(f"`entry_id` must be new; got {entry_id!r}, which is settled.")
            if entry_id not in self._open:
                if limit_usd is not None and self._total() + usd > limit_usd:
                    return False
                self._append(stream, {"reserve": entry_id, "usd": usd})
            number = self._appended
        self._flush(number)
        return True

    def settle(self, entry_id: str, usd: float) -> None:
        """Put what an entry cost in the place of what was set aside; an entry that is settled already stays so.

        Not flushed to disk: a settlement that a power cut takes away leaves the entry at what was set aside.
        """
        with self._locked() as stream:
            if entry_id in self._open:
                self._append(stream, {"settle": entry_id, "usd": usd})
            elif entry_id not in self._settled:
                raise ValueError(f"`entry_id` must be reserved before it is settled; got {entry_id!r}.")

    def total(self) -> float:
        """US dollars: what is settled, and what is set aside and not settled. 0 for an account without a journal."""
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
                pass

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """The journal, locked and read to its end; made where it is not there yet."""
        with self._reading:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(self.path.parent.parent)
            with self.path.open("a+b", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                self._catch_up(stream)
                if not self._read_to:
                    self._append(stream, {"account": self.account})
                    sync_folder(self.path.parent)
                yield stream

    def _catch_up(self, stream: IO[bytes]) -> None:
        """Take in what was appended since; a last line without an end was never acknowledged, and is cut off."""
        stream.seek(0, os.SEEK_END)
        if stream.tell() < self._read_to:
            raise DamagedError(
                f"journal `{self.path}` must only grow; it is shorter than it was. Restore it from a backup, or start "
                "again if the account should begin at 0."
            )
        stream.seek(self._read_to)
        lines = stream.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            torn = lines.pop()
            if b"}" in torn[:-1]:  # a whole line whose end has changed: no writer leaves that
                raise self._damaged(torn)
            stream.truncate(self._read_to + sum(map(len, lines)))
        for line in lines:
            self._take(line)
            self._read_to += len(line)

    def _append(self, stream: IO[bytes], entry: dict[str, Any]) -> None:
        entry = entry | {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        line = canonical_json(entry | {"sum": _sum(self._last_sum, entry)}) + b"\n"
        if stream.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._take(line)
        self._read_to += len(line)
        self._appended += 1

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
            raise self._damaged(line) from None

    def _damaged(self, line: bytes) -> DamagedError:
        return DamagedError(
            f"journal `{self.path}` must hold one reservation or settlement a line, as it was written; got "
            f"{line[:120]!r} at byte {self._read_to}. Restore it from a backup."
        )

    def _flush(self, number: int) -> None:
        """Return when the first `number` additions are on disk. One flush serves all who wait for it."""
        with self._flushing:
            if self._durable >= number:
                return
            newest = self._appended
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())
            self._durable = newest


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
