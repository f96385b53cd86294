"""The ledger: what every step decided about every row, and the record of each step run.

A step writes its decisions and child tables first and its record last. The record's name is the step's key: a hash of
step name and version, rule, seed, model or prompt identity and the content of its inputs. So a step that would give
the same result is found instead of run, whoever ran it and whenever. A table's name holds the hash of its content, so
a table that several runs of a step share, a concept list say, is stored once.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.code_version import code_version
from evenly.storage.errors import ConservationError, NotFoundError
from evenly.storage.records import content_hash, create_record, read_record, replace_record
from evenly.storage.tables.arrow_files import read_schema, read_table, write_table
from evenly.storage.tables.hashing import table_hash
from evenly.storage.tables.recent import RecentTables
from evenly.storage.workspace import Workspace

FORMAT = 2  # of the tables: raise it where older ones cannot be read, so that their steps run again
VERDICTS = ("kept", "dropped", "failed", "merged")
DECISION_COLUMNS = ("uid", "verdict", "reason", "value", "into")


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """The identity of a step: everything that its result depends on."""

    name: str
    version: int
    rule: Mapping[str, Any]
    inputs: Mapping[str, str]
    model: str | None = None
    seed: int | None = None

    @property
    def key(self) -> str:
        """SHA-256, in hex, of all fields and FORMAT."""
        return content_hash(asdict(self) | {"format": FORMAT})


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """The result of a step.

    `decisions` holds DECISION_COLUMNS and any further columns, sorted by uid, one row per input row; None for a step
    that judges no rows. `judged` replaces it for the count where input rows have no uid yet (collect).
    """

    decisions: pa.Table | None = None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    judged: pa.Table | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One finished step run, as recorded.

    work: rows `computed` and `reused` where an earlier run's were taken over, else empty; no part of any hash.
    """

    key: str
    name: str
    version: int
    rule: Mapping[str, Any]
    inputs: Mapping[str, str]
    model: str | None
    seed: int | None
    output_hash: str
    hashes: Mapping[str, str]
    columns: Sequence[str]
    rows_in: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    notes: Mapping[str, Any]
    code: Mapping[str, Any]
    started: str
    ended: str
    flow_run_id: str | None
    work: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StepRecord":
        """Read back what `asdict` gave; records from before there was `work` have none."""
        return cls(**{item.name: value[item.name] for item in fields(cls) if item.name != "work" or "work" in value})


class Ledger:
    """Step records and their tables in one workspace.

    only: no pairs but these uids are `alive`. recent: holds tables that this process has just written, to be read from
    there; without it, all are read from the disk.
    """

    def __init__(self, workspace: Workspace, only: pa.Array | None = None, recent: RecentTables | None = None) -> None:
        self.workspace = workspace
        self.only = only
        self._recent = RecentTables(max_bytes=0) if recent is None else recent

    def find(self, key: str) -> StepRecord | None:
        """The finished run with this key, or None; one whose tables are not all there is no finished run."""
        path = self._record_path(key)
        return self._finished(path) if path.exists() else None

    def get(self, key: str, *, remedy: str = "Was the workspace removed meanwhile?") -> StepRecord:
        """The finished run with this key. Raises NotFoundError where there is none."""
        record = self.find(key)
        if record is None:
            raise NotFoundError(f"step `{key}` must be in the ledger; it is not. {remedy}")
        return record

    def records(self, name: str | None = None) -> list[StepRecord]:
        """All finished runs, or those of one step, in no order that means anything."""
        records = (self._finished(path) for path in sorted(self.workspace.steps.glob("*.json")))
        return [record for record in records if record is not None and name in (None, record.name)]

    def commit(
        self,
        spec: StepSpec,
        output: StepOutput,
        *,
        uids: pa.Array | None,
        started: datetime,
        flow_run_id: str | None = None,
        work: Mapping[str, int] | None = None,
    ) -> StepRecord:
        """Store `output` and acknowledge it; the record that is then in force (another writer's, if it was first).

        Raises ConservationError unless the decisions name each of `uids` exactly once with a known verdict.
        """
        tables = dict(output.tables)
        if output.decisions is not None:
            tables["decisions"] = output.decisions
        judged = output.judged if output.judged is not None else output.decisions
        if uids is not None:
            _check_covers(spec.name, output.decisions, uids)
        counts, reasons = _count(spec.name, judged)
        with ThreadPoolExecutor() as pool:
            hashes = dict(zip(tables, pool.map(partial(self._store, spec.name), tables, tables.values()), strict=True))
        for name, table in tables.items():
            self._recent.add(self._table_path(spec.name, name, hashes[name]), table)
        record = StepRecord(
            key=spec.key,
            **asdict(spec),
            output_hash=content_hash({"tables": hashes}),
            hashes=hashes,
            columns=_extra_columns(output.decisions),
            rows_in=0 if judged is None else judged.num_rows,
            counts=counts,
            reasons=reasons,
            notes=output.notes,
            code=code_version(),
            started=started.isoformat(),
            ended=datetime.now(UTC).isoformat(),
            flow_run_id=flow_run_id,
            work=work or {},
        )
        path = self._record_path(spec.key)
        if not create_record(path, asdict(record)) and self._finished(path) is None:
            replace_record(path, asdict(record))
        return StepRecord.from_json(read_record(path))

    def decisions(
        self, record: StepRecord, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """The decisions of a step, sorted by uid."""
        return self.table(record, "decisions", columns, where)

    def table(
        self, record: StepRecord, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """A child table of a step, in its stored order; with `where`, only its rows of which that is true."""
        path = self._path(record, name)
        recent = None if where is not None else self._recent.get(path, columns)
        return read_table(path, columns, where) if recent is None else recent

    def schema(self, record: StepRecord, name: str) -> pa.Schema:
        """The columns of a step's table, without reading rows."""
        return read_schema(self._path(record, name))

    def alive(self, records: Sequence[StepRecord], columns: Sequence[str]) -> pa.Table:
        """The pairs that every step in `records` kept, sorted by uid, with `columns`.

        Each column comes from the last step that gave it; rows that this step did not see hold null.
        """
        deciding = [record for record in records if "decisions" in record.hashes]
        last = self.decisions(deciding[-1], ["uid", "verdict"])
        uids = last.filter(pc.equal(last["verdict"], "kept"))["uid"].combine_chunks()
        if self.only is not None:
            uids = uids.filter(pc.is_in(uids, self.only))
        arrays: dict[str, pa.Array] = {"uid": uids}
        wanted = [name for name in columns if name != "uid"]
        for record in reversed(deciding):
            step_columns = [name for name in wanted if name not in arrays and name in record.columns]
            if step_columns:
                table = self.decisions(record, ["uid", *step_columns])
                places = pc.index_in(uids, table["uid"])
                arrays |= {name: table[name].combine_chunks().take(places) for name in step_columns}
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise KeyError(f"no step before gave the columns {missing}")
        return pa.table({name: arrays[name] for name in ["uid", *wanted]})

    def _finished(self, path: Path) -> StepRecord | None:
        """The record at `path`, unless a table of its is gone, or was written in another FORMAT."""
        record = StepRecord.from_json(read_record(path))
        return record if all(self._path(record, name).exists() for name in record.hashes) else None

    def _store(self, step: str, name: str, table: pa.Table) -> str:
        """Write a table unless it is there; its hash."""
        digest = table_hash(table)
        path = self._table_path(step, name, digest)
        if not path.exists():
            write_table(path, table)
        return digest

    def _record_path(self, key: str) -> Path:
        return self.workspace.steps / f"{key}.json"

    def _path(self, record: StepRecord, name: str) -> Path:
        return self._table_path(record.name, name, record.hashes[name])

    def _table_path(self, step: str, name: str, digest: str) -> Path:
        return self.workspace.ledger / step / f"{name}-{digest[:32]}.arrow"


def _extra_columns(decisions: pa.Table | None) -> list[str]:
    """The columns that a step gives beside its verdicts."""
    return [] if decisions is None else [name for name in decisions.column_names if name not in DECISION_COLUMNS]


def _check_covers(step: str, decisions: pa.Table | None, uids: pa.Array) -> None:
    """Refuse decisions that skip, repeat or invent a row, or are not in uid order."""
    if decisions is None or not decisions["uid"].combine_chunks().equals(uids):
        actual = "no decisions" if decisions is None else f"{decisions.num_rows} rows"
        raise ConservationError(
            f"step `{step}` must give one verdict for each of its {len(uids)} input rows, in uid order; got {actual}. "
            "Nothing was committed."
        )


def _count(step: str, judged: pa.Table | None) -> tuple[dict[str, int], dict[str, int]]:
    """Rows per verdict and per reason; refuses verdicts outside VERDICTS and reasons that do not fit them."""
    if judged is None:
        return {}, {}
    verdicts = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(judged["verdict"]).to_pylist()}
    unknown = set(verdicts) - set(VERDICTS)
    kept = pc.equal(judged["verdict"], "kept")
    silent = pc.sum(pc.and_(pc.invert(kept), pc.equal(pc.fill_null(judged["reason"], ""), ""))).as_py() or 0
    if unknown or silent:
        raise ConservationError(
            f"step `{step}` must give each row one of {VERDICTS}, with a reason unless kept; "
            f"got {sorted(unknown)} and {silent} rows without a reason. Nothing was committed."
        )
    removed = judged.filter(pc.invert(kept))
    reasons = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(removed["reason"]).to_pylist()}
    return {name: verdicts.get(name, 0) for name in VERDICTS}, dict(sorted(reasons.items()))
