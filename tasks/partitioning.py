"""How finely a run is cut, and by what its partitions are worked on."""

from collections.abc import Iterator
from contextlib import contextmanager

from evenly.storage.pool_size import estimate_rows
from evenly.storage.tables.partitions import MAX_BITS
from evenly.tasks.engine import InProcess, Workers
from evenly.tasks.moves import Each
from evenly.tasks.ray_workers import RayWorkers, check_ray
from evenly.tasks.run import Run

MOST_ROWS = 250_000
"""Pairs of a partition, at most, as far as the estimate is right; a pool of no more is not cut."""


def cut_bits(run: Run, limit: int | None = None) -> int:
    """The bits by which the run's pools are cut: 2**bits partitions of up to MOST_ROWS pairs each."""
    rows = sum(estimate_rows(source) for source in run.sources)
    rows = rows if limit is None else min(rows, limit)
    return min(max(-(-rows // MOST_ROWS) - 1, 0).bit_length(), MAX_BITS)


@contextmanager
def open_engine(run: Run) -> Iterator[Each]:
    """What works on the partitions of a run: worker processes or a Ray cluster where there are several, else this one.

    Raises InputError where Ray is asked for and not installed.
    """
    if run.engine.name == "ray":
        check_ray()
        if run.bits:
            with RayWorkers(run) as ray_workers:
                yield ray_workers
            return
    if not run.bits or run.processes == 1:
        yield InProcess(run=run)
        return
    with Workers(run, run.processes) as workers:
        yield workers
