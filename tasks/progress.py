"""Progress on the terminal: a bar per long piece of work, and a line per finished step."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from evenly.audit.safe_text import visible


@dataclass(frozen=True)
class Progress:
    """Shows bars where a person watches (`stderr` is a terminal), plain lines elsewhere, and nothing if `quiet`."""

    quiet: bool = False

    @property
    def console(self) -> Console:
        """Where progress goes: stderr, so that stdout stays for results."""
        return Console(stderr=True, quiet=self.quiet, highlight=False)

    def say(self, text: str) -> None:
        """Print one line; `text` is shown as it is, never as markup."""
        self.console.print(escape(visible(text)), soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar for `total` pieces of work; call what comes back with the number of pieces just done."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(escape(visible(title)), total=total)
            yield lambda done: bars.advance(task, done)
