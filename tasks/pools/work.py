"""Work on a pool by a command: its memory, its threads or processes, and where it keeps parts.

Matching and drawing release the interpreter's lock, so the command's own threads use all cores and share one list of
entries. Worker processes, or those of a Ray cluster, each have their own, and Prefect starts for them; they are for
pools whose rows take longer to write and read than one process has time for.

A rebuild cuts its tables by the leading bits of uids, which are hashes. Rows of a pool are named as people like, and
their order is kept, so these tables are cut by row number: a stretch is a file of the pool, or row groups of one, and a
part holds at most ROWS of its rows. How a pool is cut into stretches changes no row.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.concepts.matching import BUNDLED, in_order
from evenly.curation.errors import RuleError
from evenly.storage.errors import DamagedError, InputError
from evenly.storage.ledger import Ledger
from evenly.storage.matches import matches
from evenly.storage.matches.matches import MatchFile, texts_hash
from evenly.storage.matches.stamped import StampedFile, finished_facts, parts_beside, writing_alone
from evenly.storage.records import content_hash
from evenly.storage.step_records import StepOutput, StoredPart
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.partitioning import ALONE_BYTES, BASE_BYTES, WORKER_BYTES, allowed_memory, open_workers
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.concepts import concept_version, recipe_concepts
from evenly.tasks.run import Each, EngineChoice, Run

THREAD_BYTES, ENTRY_BYTES = 60_000_000, 600
"""Measured: the rows that a thread holds, and an entry of the list with its place in the index, for each process."""
_GB = 1e9
_NAME = "name"  # for `uid`, by which a ledger would sort
_TABLE = "rows"


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

    def fitting(self, entries: int, stretches: int) -> "PoolWork":
        """As many processes as there is work and memory for, with a list of so many entries, and then as many threads.

        stretches: of the pool, which are worked on one by one. Raises InputError where a memory that is given is too
        small for one thread.
        """
        allowed = allowed_memory(self.memory)
        choices = [replace(self, processes=number) for number in range(min(self.processes, stretches), 0, -1)]
        choices += [replace(self, processes=1, threads=number) for number in range(self.threads - 1, 0, -1)]
        for choice in choices:
            if choice.expected(entries) <= allowed:
                return choice
        if self.memory is None:
            return choices[-1]
        raise InputError(
            f"`memory` must be at least {-(-choices[-1].expected(entries) // 10**7) / 100:.2f}GB for a list of "
            f"{entries:,} entries; got `{self.memory}`, which is {allowed / _GB:.2f}GB here. Raise --memory, or take a "
            "shorter list."
        )

    def expected(self, entries: int) -> int:
        """Bytes that all processes are expected to take."""
        of_each, rows = ENTRY_BYTES * entries, THREAD_BYTES * self.threads
        if self.processes == 1:
            return ALONE_BYTES + of_each + rows
        return BASE_BYTES + self.processes * (WORKER_BYTES + of_each) + rows

    def has_workers(self, stretches: int) -> bool:
        """Whether other processes work, so that Prefect is needed."""
        return stretches > 1 and (self.processes > 1 or self.engine.name == "ray")

    @contextmanager
    def each(self, out: Path, *, rows: int | None, stretches: int, at_once: int) -> Iterator[tuple[Each, Ledger]]:
        """The workers on the stretches of a pool: processes, or `at_once` threads of this process; and a ledger.

        It holds the parts of what is written at `out`; they stay where a `root` is given.
        """
        run = Run(
            workspace=Workspace.at(parts_beside(out) if self.root is None else self.root),
            seed=0,
            processes=self.threads,
            engine=self.engine,
            progress=Progress(quiet=self.quiet),
            pairs=rows,
            recent=RecentTables(max_bytes=0),
        )
        in_process = nullcontext(InProcess(run=run, threads=at_once))
        with open_workers(run, self.processes) if self.has_workers(stretches) else in_process as engine:
            yield engine, run.ledger


def written_facts(
    out: Path,
    kind: type[StampedFile],
    wanted: Mapping[str, Any],
    write: Callable[[], Mapping[str, Any]],
    *,
    overwrite: bool,
    unwritten: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The facts of the file `out`, which `write` makes where it is not there yet with what is `wanted`.

    With them what `write` says of its work, or `unwritten`. Raises WriterError while another process writes `out`.
    """
    with writing_alone(out):
        facts, work = finished_facts(out, wanted, kind, overwrite=overwrite), unwritten or {}
        is_reused = facts is not None
        if facts is None:
            work = write()
            facts = dict(kind.at(out).facts)
        return {"out": str(out), "reused": is_reused, **work, **facts}


@dataclass(frozen=True, kw_only=True)
class PoolParts:
    """The parts that one command keeps in a ledger.

    step: the name that their tables stand under. key: what rows depend on besides the stretch that they are of.
    """

    ledger: Ledger
    step: str
    key: str

    def of(
        self, stretch: Mapping[str, Any], make: Callable[[], Iterable[tuple[pa.Table, pa.Table | None]]]
    ) -> tuple[list[StoredPart], int]:
        """The parts of a stretch in order, as stored or of the tables with sums of `make`; and how many rows are new.

        Sums: what a part gives to those over the pool.
        """
        if (stored := self._stored(stretch)) is not None:
            return stored, 0
        rows = list[int]()

        def keep(numbered: tuple[int, tuple[Any, Any]]) -> StoredPart:
            number, ((table, sums), following) = numbered
            rows.append(table.num_rows)
            names = [_NAME if name == "uid" else name for name in table.column_names]
            tables = {_TABLE: table.rename_columns(names).combine_chunks()}
            output = StepOutput(tables=tables, partial=sums, notes={"is_last": following is None})
            key, started = self._part_key(stretch, number), datetime.now(UTC)
            return self.ledger.store_part(key, self.step, output, uids=None, started=started)

        return list(in_order(keep, enumerate(pairwise(chain(make(), [None]))), 1)), sum(rows)

    def read(self, part: StoredPart) -> pa.Table:
        """The rows of a part. Raises DamagedError where they have changed since they were stored."""
        table = self.ledger.part_table(part, self.step, _TABLE)
        return table.rename_columns(["uid" if name == _NAME else name for name in table.column_names])

    def sums(self, part: StoredPart) -> pa.Table:
        """The sums of a part, which add up over the pool."""
        return self.ledger.partials(self.step, [part])[0]

    def _stored(self, stretch: Mapping[str, Any]) -> list[StoredPart] | None:
        parts = list[StoredPart]()
        while not parts or not parts[-1].tally.notes["is_last"]:
            part = self.ledger.find_part(self._part_key(stretch, len(parts)), self.step)
            if part is None:
                return None
            parts.append(part)
        return parts

    def _part_key(self, stretch: Mapping[str, Any], number: int) -> str:
        return content_hash({"step": self.step, "key": self.key, "of": stretch, "rows": matches.ROWS, "part": number})


Group = tuple[int, int]
"""A file of matches and one of its row groups, both by number."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPool:
    """Files of matches of one list, and what is counted over all of them: counts (L, E).

    place: what other processes are given of it; they open the files and count once each.
    """

    place: tuple[Any, ...]
    files: Sequence[MatchFile]
    concepts: pa.Array
    languages: tuple[str, ...]
    counts: Floats

    @classmethod
    def at(cls, paths: Sequence[Path], entries: str | None = None, *, per_language: bool) -> "MatchedPool":
        """The files as they are now, counted; entries: the list, where its texts do not lie beside the matches.

        Raises InputError for matches of different lists or modes, or of one pool twice.
        """
        paths = tuple(path.absolute() for path in paths)
        if entries not in {None, *BUNDLED}:  # workers may be in other folders
            entries = str(Path(str(entries)).expanduser().absolute())
        read = [file for path in paths for file in (path, *MatchFile(path=path, facts={}).beside)]
        read += [] if entries in {None, *BUNDLED} else [Path(str(entries))]
        return _opened(paths, entries, per_language, tuple(concept_version(str(file)) for file in read))

    def __reduce__(self) -> tuple[Callable[..., "MatchedPool"], tuple[Any, ...]]:
        return _opened, self.place

    @property
    def identity(self) -> dict[str, Any]:
        """The inputs of the result besides rule and seed."""
        state = hashlib.sha256("\n".join(self.languages).encode())
        state.update(self.counts.astype("<f8").tobytes())
        of_each = [{name: file.facts[name] for name in ("pool", "counts", "rows")} for file in self.files]
        facts = self.files[0].facts
        return {"list": facts["list"], "mode": facts["mode"], "matches": of_each, "counts": state.hexdigest()}

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(int(file.facts["rows"]) for file in self.files)

    @property
    def held_bytes(self) -> int:
        """The memory that all rows take as pairs without names, at most."""
        return 25 * self.rows + 4 * int(self.counts.sum())

    @property
    def groups(self) -> list[Group]:
        """The row groups of all files in order."""
        return [(number, group) for number, file in enumerate(self.files) for group in range(file.n_groups)]

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """The row groups of all files in order, some columns of them."""
        for file in self.files:
            yield from file.groups(columns)

    def table(self, group: Group, columns: list[str]) -> pa.Table:
        """One row group, some columns of it."""
        file, number = group
        return next(self.files[file].groups(columns, number))

    def pairs(self, table: pa.Table) -> MatchedPairs:
        """The rows of a group as pairs, which need no names to be counted."""
        language = None
        if self.languages != ("",):
            language = pc.fill_null(table["language"].combine_chunks(), "")
            if not pc.all(pc.is_in(language, pa.array(self.languages))).as_py():
                raise DamagedError("matches must hold the languages that they name; they hold others. Match again.")
        uids = table["uid"].combine_chunks() if "uid" in table.column_names else pa.nulls(table.num_rows)
        return MatchedPairs.of(
            uids, table["entries"].combine_chunks(), self.concepts, language=language, languages=self.languages
        )


@lru_cache(maxsize=1)
def _opened(paths: tuple[Path, ...], entries: str | None, per_language: bool, versions: object) -> MatchedPool:  # noqa: FBT001 - named in `at`
    files = [MatchFile.at(path) for path in paths]
    _check_alike(files)
    if per_language and any(file.facts["columns"]["language"] is None for file in files):
        raise RuleError("thresholds per language need matches with languages. Match with --language-column.")
    names = {name for file in files for name in file.facts["languages"]} or {""}
    languages = tuple(sorted(names)) if per_language else ("",)
    counts = np.zeros((len(languages), files[0].n_entries))
    for file in files:
        table = file.counts()
        codes = np.zeros(table.num_rows, dtype=np.int64)
        if per_language:
            codes = pc.index_in(table["language"].cast(pa.string()).combine_chunks(), pa.array(languages)).to_numpy()
        np.add.at(counts, (codes, table["entry"].to_numpy()), table["captions"].to_numpy())
    return MatchedPool(
        place=(paths, entries, per_language, versions),
        files=files,
        concepts=_texts(files, entries),
        languages=languages,
        counts=counts,
    )


def _check_alike(files: Sequence[MatchFile]) -> None:
    """Raise InputError for matches of different lists or modes, or of one pool twice."""
    if not files:
        raise InputError("`matches` must be at least one file; got none. Name what `evenly match` wrote.")
    first = files[0]
    for number, file in enumerate(files):
        for name in ("list", "mode", "plurals"):
            if file.facts[name] != first.facts[name]:
                values = [match_file.facts[name] for match_file in (first, file)]
                shown = [value["identity"] if isinstance(value, dict) else value for value in values]
                raise InputError(
                    f"matches must be of one {name}; got {shown[0]} at `{first.path}` and {shown[1]} at `{file.path}`. "
                    "Match them alike."
                )
        if any(file.facts["pool"] == earlier.facts["pool"] for earlier in files[:number]):
            raise InputError(f"matches must be of different pools; got one twice, at `{file.path}`. Leave one out.")


def _texts(files: Sequence[MatchFile], entries: str | None) -> pa.Array:
    """The texts of the list's entries."""
    wanted = files[0].facts["list"]
    if entries is not None:
        concepts = recipe_concepts(entries)
        texts = concepts.table["entry"].combine_chunks()
        if texts_hash(texts) != wanted["texts"]:
            raise InputError(
                f"`entries` must be the list of the matches, {wanted['identity']}; got {concepts.identity} at "
                f"`{entries}`. Name the list that was matched."
            )
        return texts.cast(pa.large_string())
    for file in files:
        texts = file.texts()
        if texts is not None:
            return texts.cast(pa.large_string())
    raise InputError(
        f"the texts of the entries must lie beside `{files[0].path}`; they do not. Name the list with --entries."
    )
