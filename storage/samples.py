"""The wide sample table: one row per pair, every step's verdict beside it; one Lance dataset per recipe.

Each published build is one version of the dataset, named in its manifest, so that older builds stay readable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import one_array, places_in
from evenly.storage.alive_rows import kept_places
from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.ledger import DECISION_COLUMNS, Ledger, StepRecord
from evenly.storage.tables.lance_commits import commit_fragments, commit_rows, write_fragments
from evenly.storage.tables.lance_rows import check_rows, each_fragment, read_rows
from evenly.storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class SamplePart:
    """Rows of one partition, as they were written."""

    schema: pa.Schema
    fragments: Sequence[str]


class Samples:
    """The sample table of one recipe."""

    def __init__(self, workspace: Workspace, recipe: str) -> None:
        self.path: Path = workspace.samples / f"{recipe}.lance"

        self.remedy = (
            f"Remove `{self.path}` and the recipe's manifests, `{workspace.builds}/{recipe}-*.json`, and run the "
            "rebuild again: what is recorded is reused."
        )

    def write(self, table: pa.Table) -> int:
        """Commit `table` as a new version, with an index on uid; the version's number."""
        return commit_rows(self.path, table, mode="overwrite", index="uid")

    def write_part(self, table: pa.Table) -> SamplePart:
        """Write the rows of a partition, which are no part of the table until all are given to `commit`."""
        return SamplePart(schema=table.schema, fragments=write_fragments(self.path, table))

    def commit(self, parts: Sequence[SamplePart]) -> int:
        """Make the partitions, in this order, a new version; its number."""
        return commit_fragments(self.path, parts[0].schema, [text for part in parts for text in part.fragments])

    def read(self, version: int, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows of a version, sorted by uid; `where` is an SQL filter.

        Raises NotFoundError where there is no table, DamagedError where what is to be read has changed.
        """
        with self._required():
            return read_rows(self.path, self.remedy, version=version, columns=columns, where=where)

    def batches(
        self, version: int, columns: Sequence[str] | None = None, where: str | None = None
    ) -> Iterator[pa.Table]:
        """The rows of `read` in tables of bounded size, each read when it is asked for. Raises as `read` does."""
        with self._required():
            yield from each_fragment(self.path, self.remedy, version=version, columns=columns, where=where)

    def check(self, version: int) -> None:
        """Compare all bytes of a version with their checksums. Raises DamagedError."""
        check_rows(self.path, self.remedy, version=version)

    @contextmanager
    def _required(self) -> Iterator[None]:
        """Say of a table that is not there that it is not, whatever reading it says."""
        try:
            yield
        except (DamagedError, NotFoundError):
            if self.path.exists():
                raise
            raise NotFoundError(
                f"sample table `{self.path}` must exist; it does not. Was the workspace moved in part?"
            ) from None


@dataclass(frozen=True, eq=False)
class BuildSamples:
    """The sample table of a build, at the version that its manifest names."""

    workspace: Workspace
    manifest: Mapping[str, Any]

    @property
    def kept(self) -> str:
        """An SQL filter for the pairs of the build."""
        return f"{self.manifest['samples']['last']}_verdict = 'kept'"

    @cached_property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.read(where="false").column_names)

    def read(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows as `Samples.read` gives them."""
        return self._table.read(self._version, columns, where)

    def batches(self, columns: Sequence[str] | None = None, where: str | None = None) -> Iterator[pa.Table]:
        """Rows as `Samples.batches` gives them."""
        return self._table.batches(self._version, columns, where)

    @property
    def _table(self) -> Samples:
        return Samples(self.workspace, str(self.manifest["recipe_name"]))

    @property
    def _version(self) -> int:
        return int(self.manifest["samples"]["version"])


def wide_table(ledger: Ledger, records: Sequence[StepRecord]) -> pa.Table:
    """All collected pairs, sorted by uid, and for each step its columns.

    These are `<step>_verdict`, `_reason`, `_value`, `_into` and `_step_id`, and what it found besides. A step that
    never saw a pair holds null for it. `merged_captions` lists, where steps recorded them, the captions that a pair
    took over from others: distinct, sorted, without its own.
    """
    deciding = [record for record in records if "decisions" in record.hashes]
    uids = one_array(ledger.decisions(deciding[0], ["uid"])["uid"])
    columns: dict[str, pa.Array] = {"uid": uids}
    judged = np.arange(len(uids))  # the rows that were kept: the step judges all of them
    for record in deciding:
        table = ledger.decisions(record, [*DECISION_COLUMNS[1:], *record.columns])
        is_whole = table.num_rows == len(judged) == len(uids)
        if table.num_rows == len(judged):
            places = np.full(len(uids), -1)
            places[judged] = np.arange(len(judged))
            index = pa.array(places, mask=places < 0)
        else:
            index = places_in(uids, ledger.decisions(record, ["uid"])["uid"])
        for name in table.column_names:
            wide = f"{record.name}_{name}" if name in ("verdict", "reason", "value", "into") else name
            values = one_array(table[name])
            columns[wide] = values if is_whole else values.take(index)
        columns[f"{record.name}_step_id"] = pc.if_else(index.is_valid(), record.key, pa.scalar(None, pa.string()))
        judged = kept_places(columns[f"{record.name}_verdict"])
    tables = [ledger.table(record, "captions", ["uid", "caption"]) for record in records if "captions" in record.hashes]
    if tables:
        columns["merged_captions"] = _merged_captions(uids, columns["caption"], pa.concat_tables(tables))
    return pa.table(columns)


def outcomes_of(table: pa.Table, steps: Sequence[str]) -> pa.Table:
    """Where each row of a sample table ended: verdict, step and reason; kept, "" and "" for the pairs of the build.

    steps: the names of those that judged, in order. Of the columns, `<step>_verdict` and `<step>_reason` are read.
    """
    verdict = pa.repeat(pa.scalar("kept"), table.num_rows)
    step = reason = pa.repeat(pa.scalar(""), table.num_rows)
    for name in reversed(steps):
        step_verdicts = one_array(table[f"{name}_verdict"])
        goes = pc.fill_null(pc.not_equal(step_verdicts, "kept"), False)
        verdict = pc.if_else(goes, step_verdicts, verdict)
        step = pc.if_else(goes, name, step)
        reason = pc.if_else(goes, one_array(table[f"{name}_reason"]), reason)
    return pa.table({"verdict": verdict, "step": step, "reason": reason})


def sql_equals(column: str, value: str) -> str:
    """An SQL filter for rows whose text `column` is exactly `value`; quotes in it are doubled, nothing else acts."""
    quoted = value.replace("'", "''")
    return f"{column} = '{quoted}'"


def sql_in(column: str, values: Iterable[str]) -> str:
    """An SQL filter for rows whose text `column` is one of `values`."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})" if quoted else "false"


def _merged_captions(uids: pa.Array, own_captions: pa.Array, merged: pa.Table) -> pa.Array:
    merged = merged.group_by(["uid", "caption"]).aggregate([]).sort_by([("uid", "ascending"), ("caption", "ascending")])
    owner_rows = pc.index_in(merged["uid"].combine_chunks(), uids)
    differs = pc.fill_null(pc.not_equal(merged["caption"].combine_chunks(), own_captions.take(owner_rows)), True)
    captions, owner_rows = merged["caption"].combine_chunks().filter(differs), owner_rows.filter(differs)
    ends = np.cumsum(np.bincount(owner_rows.to_numpy(), minlength=len(uids)))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.ListArray.from_arrays(offsets, captions.cast(pa.string()))
