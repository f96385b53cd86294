"""Partitions of a run by the size of its pools and the memory that it may take, and the processes that work on them."""

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from evenly.bounds import memory_bytes
from evenly.storage.errors import InputError
from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.columns import PoolSource
from evenly.storage.pools.source import pool_pieces
from evenly.storage.stores.files import seekable
from evenly.storage.tables.partitions import MAX_BITS
from evenly.tasks.engine import InProcess, Workers
from evenly.tasks.ray.cluster import check_ray
from evenly.tasks.ray.workers import RayWorkers
from evenly.tasks.run import Each, Run

MOST_ROWS, LEAST_ROWS = 250_000, 100_000
"""Pairs of a partition, as far as the estimate is right; a pool of no more than the first need not be cut."""
DEFAULT_MEMORY = "50%"
BASE_BYTES, WORKER_BYTES, ALONE_BYTES, PAIR_BYTES, PICTURED_BYTES = 800_000_000, 500_000_000, 350_000_000, 1_500, 4_400
"""Measured: the command with Prefect's server, each worker, the command where it works itself, and a pair at work:
a caption alone, and one with a picture or its features."""
_GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The way in which the pairs of a run are worked on.

    rows: all of them, as far as they can be estimated. bits: there are 2**bits partitions. workers: processes that work
    on them; with 1 it is the command's own. memory: bytes that all processes may take together. pictured: whether pairs
    have pictures, or features of these.
    """

    rows: int
    bits: int
    workers: int
    memory: int
    pictured: bool = False

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return 1 << self.bits

    @property
    def expected(self) -> int:
        """Bytes that all processes are expected to take."""
        of_partition = (PICTURED_BYTES if self.pictured else PAIR_BYTES) * -(-self.rows >> self.bits)
        return BASE_BYTES + self.workers * (of_partition + (ALONE_BYTES if self.workers == 1 else WORKER_BYTES))


def machine_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes of memory that this process may take: of the machine, or of its control group (v2 or v1) if less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(groups, path, "memory.max")
                limits += _limits(groups / "unified", path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(groups / "memory", path, "memory.limit_in_bytes")
    return min(limits)


def allowed_memory(size: str | None) -> int:
    """The bytes of a `memory` such as `6GB` or `50%`, by default DEFAULT_MEMORY. Raises InputError for another."""
    try:
        return memory_bytes(DEFAULT_MEMORY if size is None else size, machine_memory())
    except ValueError as error:
        raise InputError(f"`memory` {error}. Correct it in the recipe, or at --memory.") from None


def choose_cut(rows: int, memory: int, processes: int, *, pictured: bool = False) -> Cut:
    """The cut that lets most workers work, at most `processes`, of such cuts the coarsest; a small pool is not cut.

    Where not even one process fits into `memory`, the cut that takes least.
    """
    coarsest = min(max(-(-rows // MOST_ROWS) - 1, 0).bit_length(), MAX_BITS)
    finer = coarsest + 1
    choices = [coarsest, finer] if finer <= MAX_BITS and rows >> finer >= LEAST_ROWS else [coarsest]
    most = processes if coarsest else 1
    cuts = [
        Cut(rows=rows, bits=bits, workers=workers, memory=memory, pictured=pictured)
        for bits in choices
        for workers in range(1, min(most, 1 << bits) + 1)
    ]
    fitting = [cut for cut in cuts if cut.expected <= memory]
    if not fitting:
        return min(cuts, key=lambda cut: cut.expected)
    return max(fitting, key=lambda cut: (cut.workers, -cut.bits))


def cut_run(run: Run, *, pictured: bool, memory: str | None = None, limit: int | None = None) -> Cut:
    """The cut of a run's pools and its processes within `memory`, None: DEFAULT_MEMORY, as well as can be.

    pictured: whether pairs have pictures, or features of these.

    Raises InputError where a memory that is given is too small.
    """
    size = PoolSize.of(run.sources, limit)
    cut = choose_cut(size.rows, allowed_memory(memory), run.processes, pictured=pictured)
    if memory is not None and cut.expected > cut.memory:
        raise InputError(
            f"`memory` must be at least {-(-cut.expected // 10**7) / 100:.2f}GB for about {cut.rows:,} pairs; got "
            f"`{memory}`, which is {cut.memory / _GB:.2f}GB here. Raise it in the recipe or at --memory, or take fewer "
            "pairs with --limit."
        )
    return cut


def open_engine(run: Run, workers: int | None = None) -> AbstractContextManager[Each]:
    """Workers for the partitions of a run: processes or a Ray cluster where there are several, else this one.

    workers: of this machine; None: as many as the run's processes. Raises InputError where Ray is asked for and not
    installed.
    """
    workers = run.processes if workers is None else workers
    is_ray = run.engine.name == "ray"
    if is_ray:
        check_ray()
    if not run.bits or (workers == 1 and not is_ray):
        return nullcontext(InProcess(run=run))
    return open_workers(run, workers)


def open_workers(run: Run, workers: int) -> Workers:
    """Worker processes of this machine, or a Ray cluster: its own, or so many workers of one that is started here.

    Raises InputError where Ray is asked for and not installed.
    """
    if run.engine.name == "local":
        return Workers(run, workers)
    check_ray()
    return RayWorkers(replace(run, processes=workers) if run.engine.address is None else run)


def _limits(groups: Path, path: str, name: str) -> Iterator[int]:
    """The memory that a control group and those that it is in allow; a group's folder may be mounted as the root."""
    folder = groups / path.strip("/")
    for group in (folder, *folder.parents):
        with suppress(OSError, ValueError):  # no file, or `max`
            yield int((group / name).read_text(encoding="utf-8"))
        if group == groups:
            return


_SAMPLE = 1 << 20
_MOST_UNPACKED = 64 << 20
_GZIP = 31  # wbits: a gzip header is expected
_BYTES_PER_PAIR = {"webdataset": 10_000, "wat": 2_000}
_COUNTED = ("parquet", "features")


@dataclass(frozen=True, kw_only=True)
class PoolSize:
    """The number of rows of a pool, and whether its files say so themselves."""

    rows: int
    is_counted: bool

    @classmethod
    def of(cls, sources: Sequence[PoolSource], limit: int | None = None) -> "PoolSize":
        """The rows of all sources together, `limit` at most."""
        rows = sum(estimate_rows(source) for source in sources)
        return cls(
            rows=rows if limit is None else min(rows, limit),
            is_counted=all(source.kind in _COUNTED for source in sources),
        )


def estimate_rows(source: PoolSource) -> int:
    """The rows of Parquet files by what they say; of others by their bytes, or how many pictures there are.

    Of tables of lines by the lines that the first MiB of each file holds, unpacked where it is compressed.
    """
    files = list(dict.fromkeys(file for piece in pool_pieces(source) for file in piece.files))
    return sum(_rows(file, source.kind) for file in files)


def _rows(file: Path, kind: str) -> int:
    if kind in _COUNTED:
        try:
            return int(pq.read_metadata(seekable(file)).num_rows)
        except (OSError, ValueError):  # reading the pool says what is wrong with it
            return 0
    if file.is_dir():
        return sum(1 for path in file.rglob("*") if path.suffix[1:].lower() in IMAGE_ENDINGS and path.is_file())
    size = file.stat().st_size
    if kind in _BYTES_PER_PAIR:
        return size // _BYTES_PER_PAIR[kind]
    with file.open("rb") as stream:
        sample = stream.read(_SAMPLE)
    if file.suffix == ".gz":
        lines, used = _packed_lines(sample)
        return size * lines // max(used, 1)
    return size * sample.count(b"\n") // max(len(sample), 1)


def _packed_lines(sample: bytes) -> tuple[int, int]:
    """The lines that the beginning of a gzip file holds, and how many of its bytes hold them."""
    lines, left, room = 0, sample, _MOST_UNPACKED
    with suppress(zlib.error):  # reading the pool says what is wrong with it
        while left and room > 0:  # a file may be several gzip files one after the other
            unpacker = zlib.decompressobj(_GZIP)
            text = unpacker.decompress(left, room)
            lines, room = lines + text.count(b"\n"), room - len(text)
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            if not unpacker.eof:
                break
    return lines, len(sample) - len(left)
