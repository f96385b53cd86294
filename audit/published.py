"""A published build as the ledger holds it: manifest, step records in order, their tables, the sample table.

Original bytes of its pictures are handed in; one that is gone does not hide the others.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import IncompleteBuildError
from evenly.curation.concepts.judgement import MATCH_CONCEPTS
from evenly.storage.errors import StorageError
from evenly.storage.ledger import DECISION_COLUMNS, Ledger, StepRecord
from evenly.storage.removal.forget import FORGOTTEN, ForgetList, read_forgotten
from evenly.storage.samples import BuildSamples
from evenly.storage.stores.files import each_stored
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.tables.partitions import Partition, partition_of
from evenly.storage.workspace import Workspace

_UID = re.compile("[0-9a-f]{32}")
SHOWN = ("uid", "url", "file_name", "source_id", "caption")
"""What people know pairs by."""
_JUDGED = ("verdict", "reason", "value", "into")
_AT_ONCE = 4  # partitions in memory
Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""A bar with a title for so many pieces of work, as `Progress.bar` of the tasks is."""
T = TypeVar("T")


@contextmanager
def no_bar(_title: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar that nobody sees."""
    yield lambda _: None


class PublishedBuild:
    """Reads what one manifest names; steps that the recipe switched off are simply not there."""

    def __init__(self, workspace: Workspace, manifest: Mapping[str, Any], bar: Bar = no_bar) -> None:
        self.workspace = workspace
        self.bar = bar
        self.manifest = manifest
        self._recent = RecentTables()
        self.ledger = Ledger(workspace, recent=self._recent)
        self._samples = BuildSamples(workspace, manifest)
        self._schemas = dict[tuple[str, str], pa.Schema]()

    @property
    def name(self) -> str:
        """The build id."""
        return str(self.manifest["build"])

    @cached_property
    def records(self) -> tuple[StepRecord, ...]:
        """The step records in order.

        Raises IncompleteBuildError if the ledger lacks one.
        """
        steps, records = self.manifest["steps"], list[StepRecord]()
        for step, record in zip(steps, self.ledger.find_all([step["key"] for step in steps]), strict=True):
            if record is None:
                raise IncompleteBuildError(
                    f"step `{step['name']}` of build `{self.name}` must be in the ledger; `{step['key']}` is not. "
                    f"Was the workspace moved in part? `evenly verify {self.name}` lists what is missing."
                )
            records.append(record)
        return tuple(records)

    @cached_property
    def deciding(self) -> tuple[StepRecord, ...]:
        """The steps that judged rows, in order."""
        return tuple(record for record in self.records if "decisions" in record.hashes)

    def forgotten(self, uid: str) -> str:
        """The hash by which the rows of a pair on the forget list stand in this build; "" where it refused none."""
        forget, masked = self._forgotten
        name = forget.masked_uid(uid)
        return name if name in masked else ""

    @cached_property
    def _forgotten(self) -> tuple[ForgetList, frozenset[str]]:
        first = self.deciding[0]
        if FORGOTTEN not in first.inputs:
            return ForgetList(), frozenset()
        rows = self.ledger.table(first, "arrivals", ["uid"], where=pc.field("reason") == FORGOTTEN)
        return read_forgotten(self.workspace), frozenset(rows["uid"].drop_null().to_pylist())

    def step(self, name: str) -> StepRecord | None:
        """The record of the step of this name, or None where it was switched off."""
        return next((record for record in self.records if record.name == name), None)

    def table(
        self, step: str, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table | None:
        """A child table of a step, or None where step or table are not part of this build."""
        record = self.step(step)
        if record is None or name not in record.hashes:
            return None
        return self.ledger.table(record, name, columns, where)

    def schema(self, record: StepRecord, name: str) -> pa.Schema:
        """The columns of a step's table, without reading rows."""
        if (record.key, name) not in self._schemas:
            self._schemas[record.key, name] = self.ledger.schema(record, name)
        return self._schemas[record.key, name]

    def plain_columns(self, record: StepRecord, name: str = "decisions") -> list[str]:
        """The columns of a step's table that people can read: no verdicts, no vectors, no bytes."""
        verdicts = DECISION_COLUMNS if name == "decisions" else ()
        fields = self.schema(record, name)
        return [field.name for field in fields if field.name not in verdicts and not _is_opaque(field.type)]

    @property
    def is_kept(self) -> str:
        """An SQL filter for the pairs of the build."""
        return f"{self.deciding[-1].name}_verdict = 'kept'"

    @cached_property
    def sample_columns(self) -> frozenset[str]:
        """The names of the columns that the sample table of this build has."""
        return frozenset(self._samples.columns)

    def samples(self, columns: Iterable[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows of the sample table as published, sorted by uid; columns that this build lacks are left out."""
        wanted = None if columns is None else [name for name in columns if name in self.sample_columns]
        return self._samples.read(wanted, where)

    def batches(self, columns: Iterable[str] | None = None, where: str | None = None) -> Iterator[pa.Table]:
        """The rows of `samples` in tables of bounded size, each read when it is asked for."""
        wanted = None if columns is None else [name for name in columns if name in self.sample_columns]
        return self._samples.batches(wanted, where)

    def first(self, columns: Iterable[str], where: str, limit: int) -> pa.Table:
        """The first `limit` rows of what `samples` gives; no more is read."""
        tables, rows = list[pa.Table](), 0
        for table in self.batches(columns, where):
            tables.append(table)
            rows += table.num_rows
            if rows >= limit:
                break
        return pa.concat_tables(tables).slice(0, limit)

    def giver(self, column: str) -> StepRecord | None:
        """The step whose values of a column count, the last that gives it; None where none does."""
        return next((record for record in reversed(self.deciding) if column in record.columns), None)

    def file_names(self) -> dict[str, str]:
        """The uid of each pair by its file name; nothing for pools without file names."""
        record = self.giver("file_name")
        rows = None if record is None else self.ledger.decisions(record, ["file_name", "uid"])
        return {} if rows is None else dict(zip(rows["file_name"].to_pylist(), rows["uid"].to_pylist(), strict=True))

    def around(self, uid: str) -> Ledger:
        """The ledger for the partition in which the rows of a pair lie; all of it for what is no uid."""
        bits = max((record.bits for record in self.deciding), default=0) if is_uid(uid) else 0
        return Ledger(self.workspace, part=Partition(bits=bits, number=partition_of(uid, bits)))

    def pair(self, uid: str, columns: Iterable[str] | None = None) -> dict[str, Any] | None:
        """Verdicts and values of a pair, under the names of the sample table; None for one that the build never saw.

        Read from the tables of the steps, of each that says something the file that the pair lies in; `columns`: only
        these, those that a pair of this build has.
        """
        wanted = None if columns is None else set(columns)
        ledger, row = self.around(uid), dict[str, Any](uid=uid)
        steps = list[tuple[StepRecord, dict[str, str]]]()
        for record in self.deciding:
            names = {f"{record.name}_{name}": name for name in _JUDGED} | {name: name for name in record.columns}
            names = names if wanted is None else {wide: name for wide, name in names.items() if wide in wanted}
            if names or record is self.deciding[0]:
                steps.append((record, names))

        def judged_by(step: tuple[StepRecord, dict[str, str]]) -> list[dict[str, Any]]:
            read = list(dict.fromkeys(["verdict", *step[1].values()]))
            rows: list[dict[str, Any]] = ledger.decisions(step[0], read, pc.field("uid") == uid).to_pylist()
            return rows

        place = 0
        for place, judged in enumerate(each_stored(judged_by, steps, self.workspace.root)):
            record, names = steps[place]
            if not judged and record is self.deciding[0]:
                return None
            row |= {wide: judged[0][name] if judged else None for wide, name in names.items()}
            if not judged or judged[0]["verdict"] != "kept":
                break
        return row | {wide: None for _, names in steps[place + 1 :] for wide in names}

    def shown(self, uids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Names of the pairs `uids`: those of SHOWN that a pair of this build has."""
        ledgers = {ledger.part: ledger for ledger in map(self.around, sorted(set(uids)))}
        rows: dict[str, dict[str, Any]] = {uid: {"uid": uid} for uid in uids}
        for column in SHOWN[1:]:
            if (record := self.giver(column)) is None:
                continue
            for part, ledger in ledgers.items():
                part_uids = [uid for uid in rows if self.around(uid).part == part]
                table = ledger.decisions(record, ["uid", column], pc.field("uid").isin(part_uids))
                values = dict(zip(table["uid"].to_pylist(), table[column].to_pylist(), strict=True))
                for uid in part_uids:
                    rows[uid][column] = values.get(uid)
        return rows

    def keep(self, record: StepRecord, name: str, table: pa.Table) -> None:
        """Keep a table that was read whole in memory, to be read from there, where each table of its step is a file."""
        files = self.ledger.files(record)
        if len(files) == len(record.hashes):
            self._recent.add(files[list(record.hashes).index(name)], table)

    def partitions(self) -> Iterator[Ledger]:
        """The ledger for each partition in which the pairs of this build are cut."""
        parts = Partition.all(self.deciding[0].bits)
        return (Ledger(self.workspace, recent=self._recent, part=part) for part in parts)

    def each(self, title: str, function: Callable[[Ledger], T]) -> list[T]:
        """Results of `function` for each partition, in their order; a few are worked on at once, in threads."""
        return list(self.each_partition(title, Partition.all(self.deciding[0].bits), function))

    def each_partition(
        self, title: str, partitions: Sequence[Partition], function: Callable[[Ledger], T]
    ) -> Iterator[T]:
        """Results of `function` for these partitions, in their order, each as soon as it is there."""
        ledgers = [Ledger(self.workspace, recent=self._recent, part=part) for part in partitions]
        with self.bar(title, len(ledgers)) as advance, ThreadPoolExecutor(_AT_ONCE) as pool:
            for result in pool.map(function, ledgers):
                advance(1)
                yield result

    @cached_property
    def concepts(self) -> list[str] | None:
        """The entries that matching looked for, by number, or None where the build lists none."""
        table = self.table(MATCH_CONCEPTS.name, "concepts", ["entry"])
        return None if table is None else [str(entry) for entry in table["entry"].to_pylist()]


def name_of(pair: Mapping[str, Any]) -> str:
    """Names of a pair beside its uid: its id in the pool, and its file name or else its URL."""
    names = (pair.get("source_id"), pair.get("file_name") or pair.get("url"))
    return "  ".join(str(name) for name in names if name is not None)


def is_uid(text: str) -> bool:
    """Whether a text is written as uids are."""
    return _UID.fullmatch(text) is not None


def _is_opaque(kind: pa.DataType) -> bool:
    """Whether values of this type are vectors or bytes."""
    vector = pa.types.is_fixed_size_list(kind) or (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))
    return bool(vector or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


ReadBytes = Callable[[Sequence[str]], Iterable[bytes]]
"""From image ids to their original bytes, in the order given; raises where one of them is missing."""

_BATCH = 256
_GONE = (StorageError, OSError, LookupError, ValueError)


def each_image(read_bytes: ReadBytes, image_ids: Sequence[str]) -> Iterator[tuple[str, bytes | str]]:
    """Yield each image id with its bytes, or with a sentence that says why there are none."""
    for start in range(0, len(image_ids), _BATCH):
        batch = image_ids[start : start + _BATCH]
        try:
            contents: list[bytes | str] = list(read_bytes(batch))
        except _GONE:
            contents = []
        if len(contents) != len(batch):
            contents = [_read_one(read_bytes, image_id) for image_id in batch]
        yield from zip(batch, contents, strict=True)


def _read_one(read_bytes: ReadBytes, image_id: str) -> bytes | str:
    try:
        return next(iter(read_bytes([image_id])), "nothing came back")
    except _GONE as error:
        return f"{type(error).__name__}: {error}"
