"""The ledger: what every step decided about every row, and the record of each step run.

A step writes its decisions and child tables first and its record last. The record's name is the step's key: a hash of
step name and version, rule, seed, model or prompt identity and the content of its inputs. So a step that would give
the same result is found instead of run, whoever ran it and whenever. Tables of a large pool are cut into partitions by
the leading bits of the uid; the name of a partition's file holds the hash of its rows, so rows that several runs of a
step share are stored once. A partition that a step has finished has a record of its own, which outlives a kill.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.alive_rows import alive_rows
from evenly.storage.errors import NotFoundError
from evenly.storage.records import canonical_json, content_hash, create_record, read_if_there, replace_record
from evenly.storage.step_records import (
    DECISION_COLUMNS,
    PARTIAL,
    VERDICTS,
    StepOutput,
    StepRecord,
    StepSpec,
    StoredPart,
    StoredTable,
    TableLayout,
    Tally,
    check_covers,
    code_version,
)
from evenly.storage.stores.files import map_paths, missing_files
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.arrow_files import RecentTables, read_schema, read_table, write_table
from evenly.storage.tables.hashing import Node, content_nodes, content_rows, nodes_of, part_digest, root_of, table_hash
from evenly.storage.tables.partitions import ALL, Partition, cut_rows, key_of, partition_of, pieces_of, rows_of
from evenly.storage.workspace import Workspace

__all__ = ["DECISION_COLUMNS", "VERDICTS", "Ledger", "StepOutput", "StepRecord", "StepSpec"]

_SENT_UNASKED = 1 << 20  # bytes that a store has about as fast as it says whether it has them


class Ledger:
    """Step records and their tables in one workspace.

    part: read rows of this partition alone, of tables that are cut. only: no pairs but these uids are `alive`. recent:
    holds tables that this process has just written, to be read from there; without it, all are read from the disk.
    """

    def __init__(
        self,
        workspace: Workspace,
        only: pa.Array | None = None,
        recent: RecentTables | None = None,
        part: Partition = ALL,
    ) -> None:
        self.workspace = workspace
        self.only = only
        self.part = part
        self._recent = RecentTables(max_bytes=0) if recent is None else recent

    def find(self, key: str) -> StepRecord | None:
        """The finished run with this key, or None; one whose tables are not all there is no finished run."""
        return self.find_all([key])[0]

    def find_all(self, keys: Sequence[str]) -> list[StepRecord | None]:
        """The results of `find` for each key."""
        return self._finished([self._record_path(key) for key in keys])

    def get(self, key: str, *, remedy: str = "Was the workspace removed meanwhile?") -> StepRecord:
        """The finished run with this key. Raises NotFoundError where there is none."""
        record = self.find(key)
        if record is None:
            raise NotFoundError(f"step `{key}` must be in the ledger; it is not. {remedy}")
        return record

    def records(self, name: str | None = None) -> list[StepRecord]:
        """All finished runs, or those of one step, in no order that means anything."""
        records = self._finished(sorted(self.workspace.steps.glob("*.json")), name)
        return [record for record in records if record is not None]

    def commit(
        self,
        spec: StepSpec,
        output: StepOutput,
        *,
        uids: pa.Array | None,
        started: datetime,
        bits: int = 0,
        flow_run_id: str | None = None,
        work: Mapping[str, int] | None = None,
    ) -> StepRecord:
        """Store `output`, cut into 2**bits partitions, and acknowledge it.

        Returns the record that is then in force: another writer's, if it was first. Raises ConservationError unless the
        decisions name each of `uids` exactly once with a known verdict.
        """
        if uids is not None:
            check_covers(spec.name, output.decisions, uids)
        tally = Tally.of(spec.name, output, work)
        jobs = [
            (name, rows, partition)
            for name, table in output.all_tables.items()
            for rows, partition in pieces_of(table, bits, is_cut=output.decisions is not None)
        ]
        with ThreadPoolExecutor() as pool:
            stored = list(pool.map(lambda job: self._store(spec.name, *job), jobs))
        pieces: dict[str, list[StoredTable]] = {}
        for (name, rows, _), table in zip(jobs, stored, strict=True):
            pieces.setdefault(name, []).append(table)
            self._recent.add(self._table_path(spec.name, name, table.digest), rows)
        seconds = (datetime.now(UTC) - started).total_seconds()
        return self._acknowledge(spec, pieces, tally, started=started, seconds=seconds, flow_run_id=flow_run_id)

    def store_part(
        self,
        key: str,
        step: str,
        output: StepOutput,
        *,
        uids: pa.Array | None,
        started: datetime,
        work: Mapping[str, int] | None = None,
    ) -> StoredPart:
        """Store what a step gave for this ledger's partition under `key`, and acknowledge it.

        Raises ConservationError as `commit` does.
        """
        if uids is not None:
            check_covers(step, output.decisions, uids)
        tally = Tally.of(step, output, work)
        tables = {}
        for name, table in output.all_tables.items():
            ordered = cut_rows(table, 0)[0]
            tables[name] = self._store(step, name, ordered, self.part if key_of(table.column_names) else ALL)
            self._recent.add(self._table_path(step, name, tables[name].digest), ordered)
        summand = None if output.partial is None else self._store(step, PARTIAL, output.partial, ALL).digest
        seconds = round((datetime.now(UTC) - started).total_seconds(), 3)
        part = StoredPart(tables=tables, tally=tally, partial=summand, seconds=seconds)
        path = self._part_path(key)
        if not create_record(path, asdict(part)):
            replace_record(path, asdict(part))
        return part

    def find_part(self, key: str, step: str) -> StoredPart | None:
        """The part record of a partition under this key; None unless all of its tables are there."""
        record = read_if_there(self._part_path(key))
        part = None if record is None else StoredPart.from_json(record)
        return part if part and not missing_files(self._table_path(step, *file) for file in part.files) else None

    def part_table(self, part: StoredPart, step: str, name: str) -> pa.Table:
        """A table that a step gave for a partition."""
        return read_table(self._table_path(step, name, part.tables[name].digest))

    def partials(self, step: str, parts: Sequence[StoredPart]) -> list[pa.Table]:
        """The partials that the partitions of a step gave to the sums over all."""
        digests = [part.partial for part in parts if part.partial is not None]
        return map_paths(read_table, [self._table_path(step, PARTIAL, digest) for digest in digests])

    def commit_parts(
        self,
        spec: StepSpec,
        parts: Sequence[StoredPart],
        shared: StepOutput,
        *,
        started: datetime,
        seconds: float | None = None,
        flow_run_id: str | None = None,
    ) -> StepRecord:
        """Acknowledge a step whose partitions are all stored; `shared` holds what it gives beside them."""
        pieces = {name: [part.tables[name] for part in parts] for name in parts[0].tables}
        for name, table in shared.all_tables.items():
            pieces[name] = [self._store(spec.name, name, table, ALL)]
        tally = Tally.together([part.tally for part in parts], shared.notes)
        return self._acknowledge(spec, pieces, tally, started=started, seconds=seconds, flow_run_id=flow_run_id)

    def decisions(
        self, record: StepRecord, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """The decisions of a step, sorted by uid."""
        return self.table(record, "decisions", columns, where)

    def table(
        self, record: StepRecord, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """A child table of a step, in its stored order; with `where`, only its rows of which that is true."""
        layout = record.layout[name]
        if self.part.bits <= layout.bits:
            numbers = self.part.numbers_at(layout.bits) if layout.bits else range(1)
            return self._rows(record, name, numbers, columns, where)
        key = key_of(self.schema(record, name).names)
        wanted = columns if columns is None or key is None or key in columns else [*columns, key]
        table = self._rows(record, name, self.part.numbers_at(layout.bits), wanted, where)
        table = rows_of(table, self.part) if key is not None else table
        return table if columns is None else table.select(list(columns))

    def rows_of(self, record: StepRecord, name: str, uids: pa.Array) -> pa.Table:
        """The rows of a table by uid that are of the pairs `uids`, which are sorted; of few partitions few are read."""
        bits = record.layout[name].bits
        first, last = (uids[0].as_py(), uids[-1].as_py()) if len(uids) else ("0" * 32, "0" * 32)
        numbers = range(partition_of(first, bits), partition_of(last, bits) + 1)
        is_between = (pc.field("uid") >= first) & (pc.field("uid") <= last)
        table = self._rows(record, name, numbers, None, is_between).combine_chunks()
        return table.filter(pc.is_in(table["uid"], uids))

    def schema(self, record: StepRecord, name: str) -> pa.Schema:
        """The columns of a step's table, without reading rows."""
        digest = next(iter(record.layout[name].parts.values()))
        return read_schema(self._table_path(record.name, name, digest))

    def files(self, record: StepRecord) -> list[Path]:
        """The files that hold a step's tables."""
        return [
            self._table_path(record.name, name, digest)
            for name in record.hashes
            for digest in record.layout[name].parts.values()
        ]

    def alive(self, records: Sequence[StepRecord], columns: Sequence[str]) -> pa.Table:
        """The pairs that every step in `records` kept, sorted by uid, with `columns`.

        Each column comes from the last step that gave it; rows that this step did not see hold null.
        """
        deciding = [record for record in records if "decisions" in record.hashes]
        return alive_rows(self.decisions, deciding, columns, only=self.only)

    def content_of(self, record: StepRecord, name: str) -> str:
        """The hash of what is content in a table of a step."""
        return record.layout[name].content or record.hashes[name]

    def _rows(
        self,
        record: StepRecord,
        name: str,
        numbers: range,
        columns: Sequence[str] | None,
        where: pc.Expression | None,
    ) -> pa.Table:
        digests = (record.layout[name].digest(number) for number in numbers)
        paths = [self._table_path(record.name, name, digest) for digest in digests if digest is not None]
        if not paths:
            raise NotFoundError(f"step `{record.name}` must hold `{name}` of partition {numbers.start}; it does not.")
        if where is None or len(paths) == 1:
            tables = map_paths(lambda path: self._read(path, columns, where), paths)
        else:
            with ThreadPoolExecutor() as pool:
                tables = list(pool.map(lambda path: self._read(path, columns, where), paths))
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def _read(self, path: Path, columns: Sequence[str] | None, where: pc.Expression | None) -> pa.Table:
        recent = None if where is not None else self._recent.get(path, columns)
        return read_table(path, columns, where) if recent is None else recent

    def _acknowledge(
        self,
        spec: StepSpec,
        pieces: Mapping[str, Sequence[StoredTable]],
        tally: Tally,
        *,
        started: datetime,
        seconds: float | None,
        flow_run_id: str | None,
    ) -> StepRecord:
        hashes, layout = {}, {}
        for name, tables in pieces.items():
            hashes[name], layout[name] = self._whole(spec.name, name, tables)
        record = StepRecord(
            key=spec.key,
            **asdict(spec),
            output_hash=content_hash({"tables": hashes}),
            hashes=hashes,
            layout=layout,
            **vars(tally),
            code=code_version(),
            started=started.isoformat(),
            ended=datetime.now(UTC).isoformat(),
            flow_run_id=flow_run_id,
            seconds=None if seconds is None else round(seconds, 3),
        )
        path, facts = self._record_path(spec.key), asdict(record)
        if not create_record(path, facts):
            if (first := self.find(spec.key)) is not None:
                return first
            replace_record(path, facts)
        return StepRecord.from_json(json.loads(canonical_json(facts)))

    def _whole(self, step: str, name: str, tables: Sequence[StoredTable]) -> tuple[str, TableLayout]:
        """The hash of a table from those of its partitions, and where these lie."""
        bits = len(tables).bit_length() - 1

        def read(numbers: range) -> pa.Table:
            paths = [self._table_path(step, name, tables[number].digest) for number in numbers]
            return pa.concat_tables(map_paths(read_table, paths))

        def read_content(numbers: range) -> pa.Table:
            return content_rows(read(numbers))

        root = root_of([node for table in tables for node in table.nodes], bits, read)
        content = ""
        if any(table.content for table in tables):
            content = root_of([node for table in tables for node in table.content or table.nodes], bits, read_content)
        parts = {str(number): table.digest for number, table in enumerate(tables)}
        return root, TableLayout(bits=bits, parts=parts, content=content)

    def _finished(self, paths: Sequence[Path], name: str | None = None) -> list[StepRecord | None]:
        """The record at each path, of that step alone; None where there is none, or a table of its is gone."""
        records = [
            None if facts is None or name not in (None, facts["name"]) else StepRecord.from_json(facts)
            for facts in map_paths(read_if_there, paths)
        ]
        missing = missing_files(file for record in records if record is not None for file in self.files(record))
        return [record if record is not None and missing.isdisjoint(self.files(record)) else None for record in records]

    def _store(self, step: str, name: str, table: pa.Table, partition: Partition | None) -> StoredTable:
        """Write rows of a partition, in key order, unless they are there; None: those of a table that is not cut."""
        nodes = [Node(table.num_rows, table_hash(table))] if partition is None else nodes_of(table, partition)
        digest = part_digest(nodes)
        path = self._table_path(step, name, digest)
        if (isinstance(path, ObjectPath) and table.nbytes < _SENT_UNASKED) or not path.is_file():
            write_table(path, table)
        content = () if name == PARTIAL or partition is None else content_nodes(table, partition)
        return StoredTable(digest=digest, nodes=nodes, content=content)

    def _record_path(self, key: str) -> Path:
        return self.workspace.steps / f"{key}.json"

    def _part_path(self, key: str) -> Path:
        return self.workspace.steps / "parts" / key[:2] / f"{key}.json"

    def _table_path(self, step: str, name: str, digest: str) -> Path:
        return self.workspace.ledger / step / f"{name}-{digest[:32]}.arrow"
