"""A published build as the ledger holds it: manifest, step records in order, their tables, the sample table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import IncompleteBuildError
from evenly.storage.ledger import DECISION_COLUMNS, Ledger, StepRecord
from evenly.storage.samples import Samples
from evenly.storage.tables.partitions import Partition
from evenly.storage.workspace import Workspace


class PublishedBuild:
    """Reads what one manifest names; steps that the recipe switched off are simply not there."""

    def __init__(self, workspace: Workspace, manifest: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.manifest = manifest
        self.ledger = Ledger(workspace)

    @property
    def name(self) -> str:
        """The build id."""
        return str(self.manifest["build"])

    @cached_property
    def records(self) -> tuple[StepRecord, ...]:
        """The step records in order.

        Raises IncompleteBuildError if the ledger lacks one.
        """
        records = []
        for step in self.manifest["steps"]:
            record = self.ledger.find(step["key"])
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
        return self.ledger.schema(record, name)

    def plain_columns(self, record: StepRecord, name: str = "decisions") -> list[str]:
        """The columns of a step's table that people can read: no verdicts, no vectors, no bytes."""
        verdicts = DECISION_COLUMNS if name == "decisions" else ()
        fields = self.schema(record, name)
        return [field.name for field in fields if field.name not in verdicts and not _is_opaque(field.type)]

    @cached_property
    def sample_columns(self) -> frozenset[str]:
        """The names of the columns that the sample table of this build has."""
        return frozenset(self.samples(where="false").column_names)

    def samples(self, columns: Iterable[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows of the sample table as published, sorted by uid; columns that this build lacks are left out."""
        samples = Samples(self.workspace, str(self.manifest["recipe_name"]))
        wanted = None if columns is None else [name for name in columns if name in self.sample_columns]
        return samples.read(int(self.manifest["samples"]["version"]), wanted, where)

    def batches(self, columns: Iterable[str] | None = None, where: str | None = None) -> Iterator[pa.Table]:
        """What `samples` gives, in tables of bounded size, each read when it is asked for."""
        samples = Samples(self.workspace, str(self.manifest["recipe_name"]))
        wanted = None if columns is None else [name for name in columns if name in self.sample_columns]
        return samples.batches(int(self.manifest["samples"]["version"]), wanted, where)

    def first(self, columns: Iterable[str], where: str, limit: int) -> pa.Table:
        """The first `limit` rows of what `samples` gives; no more is read."""
        tables, rows = list[pa.Table](), 0
        for table in self.batches(columns, where):
            tables.append(table)
            rows += table.num_rows
            if rows >= limit:
                break
        return pa.concat_tables(tables).slice(0, limit)

    def partitions(self) -> Iterator[Ledger]:
        """The ledger for each partition in which the pairs of this build are cut."""
        return (Ledger(self.workspace, part=part) for part in Partition.all(self.deciding[0].bits))

    @cached_property
    def concepts(self) -> list[str] | None:
        """The entries that matching looked for, by number, or None where the build lists none."""
        table = self.table("match_concepts", "concepts", ["entry"])
        return None if table is None else [str(entry) for entry in table["entry"].to_pylist()]

    def outcomes(self, where: str | None = None) -> pa.Table:
        """Where each collected pair ended, sorted by uid: uid, step and reason; both "" for the pairs of the build."""
        names = [record.name for record in self.deciding]
        wide = self.samples(["uid", *(f"{name}_{column}" for name in names for column in ("verdict", "reason"))], where)
        step = reason = pa.repeat(pa.scalar(""), wide.num_rows)
        for name in reversed(names):
            verdict = wide[f"{name}_verdict"].combine_chunks()
            goes = pc.fill_null(pc.not_equal(verdict, "kept"), False)
            step = pc.if_else(goes, name, step)
            reason = pc.if_else(goes, wide[f"{name}_reason"].combine_chunks(), reason)
        return pa.table({"uid": wide["uid"].combine_chunks(), "step": step, "reason": reason})


def sql_equals(column: str, value: str) -> str:
    """An SQL filter for rows whose text `column` is exactly `value`; quotes in it are doubled, nothing else acts."""
    quoted = value.replace("'", "''")
    return f"{column} = '{quoted}'"


def sql_in(column: str, values: Iterable[str]) -> str:
    """An SQL filter for rows whose text `column` is one of `values`."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})" if quoted else "false"


def _is_opaque(kind: pa.DataType) -> bool:
    """Whether values of this type are vectors or bytes."""
    vector = pa.types.is_fixed_size_list(kind) or (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))
    return bool(vector or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
