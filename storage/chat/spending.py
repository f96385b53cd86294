"""Spending on language models, per account: an append-only journal of reservations and what became of them.

A line is written before its request leaves, so a crash between the two counts as spent. Lines are never changed; each
reader takes in what was appended since it last looked. Several processes may write at the same time: each addition is
made against the total of all (storage/chat/journal_lines.py). Each line holds a checksum of itself and of the line
ahead of it; journals from before there were checksums may begin with lines without.
"""

import hashlib
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from xxhash import xxh3_128_hexdigest

from evenly.storage.chat.journal_lines import lines_at
from evenly.storage.records import canonical_json
from evenly.storage.workspace import Workspace


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
        """Put what an entry cost in the place of what was set aside; an entry that is settled already stays so.

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
