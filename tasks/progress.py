"""Progress on the terminal: a bar per long piece of work, a line per finished step; elsewhere lines at intervals."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenly.audit.safe_text import visible
from evenly.tasks.server.api import log_line
from evenly.tasks.server.artifacts import ProgressArtifact, artifact_key

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL_S = 20.0
"""Between two lines about the same piece of work where there is no bar."""
_MINUTE_S = 60


@dataclass(frozen=True)
class Progress:
    """Shows bars where a person watches (`stderr` is a terminal), plain lines elsewhere, and nothing if `quiet`.

    A Prefect server that people look at has it all, whatever the terminal shows, under keys that begin with `subject`:
    the name of the recipe, or of the class list where there is none.
    """

    quiet: bool = False
    subject: str = ""
    clock: Callable[[], float] = time.monotonic

    @property
    def console(self) -> "Console":
        """Where progress goes: stderr, so that stdout stays for results."""
        from rich.console import Console

        return Console(stderr=True, quiet=self.quiet, highlight=False)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Print one line, and log it where this is part of a Prefect run; `text` is shown as it is, never as markup."""
        shown = visible(text)
        if not log_line(shown, level):
            from rich.markup import escape

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
        artifact = ProgressArtifact(key=artifact_key(self.subject, title), title=title, total=total, clock=self.clock)
        has_bar = not self.quiet and sys.stderr.isatty()
        with self._bar(work) if has_bar else nullcontext() as bar:

            def advance(done: int) -> None:
                work.add(done)
                if bar is not None:
                    bar(done)
                if work.is_due:
                    line = f"{title}: {work.state}"
                    if has_bar:
                        log_line(visible(line), logging.INFO)
                    else:
                        self.say(line)
                artifact.update(work.done)

            yield advance
        artifact.finish(work.done)

    @contextmanager
    def _bar(self, work: "_Work") -> Iterator[Callable[[int], None]]:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(escape(visible(work.title)), total=work.total, rate="")
            yield lambda done: bars.update(task, advance=done, rate=work.rate)


@dataclass(kw_only=True)
class _Work:
    """The progress of a piece of work."""

    title: str
    total: int | None
    pairs: int | None
    clock: Callable[[], float]
    started: float
    done: int = 0
    shown_at: float | None = None

    def add(self, done: int) -> None:
        """Count pieces that are done."""
        self.done += done

    @property
    def is_due(self) -> bool:
        """Whether a line is due now: it is then taken for said. None is at the end, where the work says so itself."""
        now = self.clock()
        if self.done == self.total or now - (self.started if self.shown_at is None else self.shown_at) < INTERVAL_S:
            return False
        self.shown_at = now
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
