"""Progress on the terminal: a bar per long piece of work, a line per finished step; elsewhere lines at intervals."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from evenly.audit.safe_text import visible
from evenly.tasks.server.logs import log_line

INTERVAL_S = 20.0
"""Between two lines about the same piece of work where there is no bar."""
_MINUTE_S = 60


@dataclass(frozen=True)
class Progress:
    """Shows bars where a person watches (`stderr` is a terminal), plain lines elsewhere, and nothing if `quiet`."""

    quiet: bool = False
    clock: Callable[[], float] = time.monotonic

    @property
    def console(self) -> Console:
        """Where progress goes: stderr, so that stdout stays for results."""
        return Console(stderr=True, quiet=self.quiet, highlight=False)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Print one line, and log it where this is part of a Prefect run; `text` is shown as it is, never as markup."""
        shown = visible(text)
        if not log_line(shown, level):
            self.console.print(escape(shown), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say what somebody should look at."""
        self.say(text, logging.WARNING)

    @contextmanager
    def bar(self, title: str, total: int | None, pairs: int | None = None) -> Iterator[Callable[[int], None]]:
        """A bar for `total` pieces of work; call what comes back with the number of pieces just done.

        pairs: about how many pairs all pieces hold together, in equal parts; they and their rate are shown then. Where
        nobody watches, a line says so every INTERVAL_S seconds at most.
        """
        work = _Work(title=title, total=total, pairs=pairs, clock=self.clock, started=self.clock())
        if self.quiet:
            yield lambda _: None
            return
        if not sys.stderr.isatty():
            yield lambda done: self._say_now_and_then(work, done)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(escape(visible(title)), total=total, rate="")

            def advance(done: int) -> None:
                work.add(done)
                bars.update(task, advance=done, rate=work.rate)

            yield advance

    def _say_now_and_then(self, work: "_Work", done: int) -> None:
        work.add(done)
        if work.is_due:
            self.say(f"{work.title}: {work.state}")


@dataclass(kw_only=True)
class _Work:
    """How far a piece of work is."""

    title: str
    total: int | None
    pairs: int | None
    clock: Callable[[], float]
    started: float
    done: int = 0
    said: float | None = None

    def add(self, done: int) -> None:
        """Count pieces that are done."""
        self.done += done

    @property
    def is_due(self) -> bool:
        """Whether a line is due now: it is then taken for said. None is at the end, where the work says so itself."""
        now = self.clock()
        if self.done == self.total or now - (self.started if self.said is None else self.said) < INTERVAL_S:
            return False
        self.said = now
        return True

    @property
    def rate(self) -> str:
        """Pairs in a second; nothing where there is no telling."""
        elapsed = self.clock() - self.started
        return f"{self._pairs_done / elapsed:,.0f} pairs/s" if self.pairs and self.done and elapsed > 0 else ""

    @property
    def state(self) -> str:
        """Pieces and pairs done, of how many, how fast, and how long the rest will take."""
        parts = [f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"]
        if self.pairs:
            parts += [f"about {self._pairs_done:,.0f} of {self.pairs:,} pairs", self.rate]
        elapsed = self.clock() - self.started
        if self.total is not None and self.done:
            left = elapsed * (self.total - self.done) / self.done
            parts.append(f"{left / _MINUTE_S:.1f} min left" if left >= 2 * _MINUTE_S else f"{left:.0f} s left")
        return ", ".join(parts)

    @property
    def _pairs_done(self) -> float:
        return (self.pairs or 0) * self.done / self.total if self.total else 0.0
