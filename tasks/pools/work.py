"""Work on a pool by a command: its memory, its threads or processes, and where it keeps parts.

Matching and drawing release the interpreter's lock, so the command's own threads use all cores and share one list of
entries. Worker processes, or those of a Ray cluster, each have their own, and Prefect starts for them; they are for
pools whose rows take longer to write and read than one process has time for.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenly.storage.errors import InputError
from evenly.storage.matches.parts import parts_beside
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InThreads
from evenly.tasks.partitioning import ALONE_BYTES, BASE_BYTES, WORKER_BYTES, allowed_memory, open_workers
from evenly.tasks.progress import Progress
from evenly.tasks.ray.cluster import check_ray
from evenly.tasks.run import Each, EngineChoice, Run

THREAD_BYTES, ENTRY_BYTES = 60_000_000, 600
"""Measured: the rows that a thread holds, and an entry of the list with its place in the index, for each process."""
_GB = 1e9


@dataclass(frozen=True, kw_only=True)
class PoolWork:
    """The way in which a command works on a pool.

    threads: of all its processes together. processes: worker processes, at most; with 1 the command works itself.
    engine: `ray` for those of a cluster. memory: what all may take together, such as `6GB` or `50%`. root: the
    workspace in which parts are kept, for a later run to take over; None: beside what is written, until it is whole.
    """

    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    processes: int = 1
    engine: EngineChoice = field(default_factory=EngineChoice)
    memory: str | None = None
    root: str | None = None
    quiet: bool = False

    @property
    def progress(self) -> Progress:
        """Where it is reported how far the work is."""
        return Progress(quiet=self.quiet)

    @property
    def allowed(self) -> int:
        """Bytes that all processes may take. Raises InputError for a `memory` that is none."""
        return allowed_memory(self.memory)

    def expected(self, entries: int) -> int:
        """Bytes that all processes are expected to take, with a list of so many entries."""
        of_each = ENTRY_BYTES * entries
        rows = THREAD_BYTES * self.threads
        if self.processes == 1:
            return ALONE_BYTES + of_each + rows
        return BASE_BYTES + self.processes * (WORKER_BYTES + of_each) + rows

    def fitting(self, entries: int, stretches: int) -> "PoolWork":
        """As many processes as there is work and memory for, and then as many threads.

        stretches: of the pool, which are worked on one by one. Raises InputError where a memory that is given is too
        small for one thread.
        """
        allowed = self.allowed
        processes = min(self.processes, stretches)
        choices = [replace(self, processes=number) for number in range(processes, 0, -1)]
        choices += [replace(self, processes=1, threads=number) for number in range(self.threads - 1, 0, -1)]
        for choice in choices:
            if choice.expected(entries) <= allowed:
                return choice
        least = choices[-1].expected(entries)
        if self.memory is None:
            return choices[-1]
        raise InputError(
            f"`memory` must be at least {-(-least // 10**7) / 100:.2f}GB for a list of {entries:,} entries; got "
            f"`{self.memory}`, which is {allowed / _GB:.2f}GB here. Raise --memory, or take a shorter list."
        )

    def has_workers(self, stretches: int) -> bool:
        """Whether other processes work, so that Prefect is needed."""
        return stretches > 1 and (self.processes > 1 or self.engine.name == "ray")

    def run(self, out: Path, rows: int | None) -> Run:
        """A run whose ledger holds the parts of what is written at `out`; they stay where a `root` is given."""
        return Run(
            workspace=Workspace.at(parts_beside(out) if self.root is None else self.root),
            seed=0,
            processes=self.threads,
            engine=self.engine,
            progress=self.progress,
            pairs=rows,
            recent=RecentTables(max_bytes=0),
        )

    @contextmanager
    def each(self, run: Run, stretches: int, at_once: int) -> Iterator[Each]:
        """The workers on the stretches of a pool: processes, or `at_once` threads of this process."""
        if not self.has_workers(stretches):
            yield InThreads(run=run, n_workers=at_once)
            return
        if self.engine.name == "ray":
            check_ray()
        with open_workers(run, self.processes) as workers:
            yield workers
