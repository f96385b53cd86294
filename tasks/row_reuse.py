"""Reuse of rows that an earlier run of a step judged with the same input.

A step that names what it `reads` judges each row by itself, so the verdict of a row whose columns are the same stands.
Only the other rows are computed; put together, the tables equal those of a run over all rows to the bit. A step that
can `resume` gets the earlier run and says itself what of it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import one_array, places_in, rows_with, sorted_order
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec


@dataclass(frozen=True, kw_only=True)
class Reusable:
    """An earlier run, and the rows of now: those whose verdicts it gives, and those that are `left` to compute."""

    record: StepRecord
    same: pa.Array
    left: pa.Array

    @property
    def work(self) -> dict[str, int]:
        """Counts of rows that are computed and that are taken over."""
        return {"computed": len(self.left), "reused": len(self.same)}


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """A run of the same step by the same rule, and the records that it came after, in order."""

    record: StepRecord
    upstream: Sequence[StepRecord]


def earlier_runs(ledger: Ledger, spec: StepSpec, upstream: Sequence[str]) -> list[EarlierRun]:
    """The runs of a step by the same rule after the same steps, named `upstream`, the newest first."""
    records = ledger.records()
    outputs = {(record.name, record.output_hash): record for record in records}
    runs = [record for record in records if record.name == spec.name]
    matching = []
    for record in sorted(runs, key=lambda run_record: run_record.ended, reverse=True):
        earlier = _upstream(record, spec, upstream, outputs)
        if earlier is not None:
            matching.append(EarlierRun(record=record, upstream=earlier))
    return matching


def find_reusable(
    ledger: Ledger, runs: Sequence[EarlierRun], upstream: Sequence[StepRecord], reads: Sequence[str]
) -> Reusable | None:
    """The first of the earlier runs with at least one row in common."""
    rows = None
    for run in runs:
        rows = ledger.alive(upstream, reads) if rows is None else rows
        is_same = same_rows(rows, ledger.alive(run.upstream, reads), reads)
        if pc.any(is_same).as_py():
            uids = one_array(rows["uid"])
            return Reusable(record=run.record, same=uids.filter(is_same), left=uids.filter(pc.invert(is_same)))
    return None


def joined_output(ledger: Ledger, reusable: Reusable, fresh: StepOutput | None) -> StepOutput:
    """The output for all rows: `fresh` for those that were left (None: none were), the earlier run's for the others.

    Tables with a column uid hold rows of pairs and are put together; others are the same for every row.
    """
    tables = {name: _taken_over(ledger, reusable, name) for name in reusable.record.hashes}
    notes = reusable.record.notes
    if fresh is not None:
        notes = fresh.notes
        fresh_tables = dict(fresh.tables) | ({} if fresh.decisions is None else {"decisions": fresh.decisions})
        tables = {name: _merged(tables[name], table) for name, table in fresh_tables.items()}
    decisions = tables.pop("decisions", None)
    return StepOutput(decisions=decisions, tables=tables, notes=notes)


def _upstream(
    record: StepRecord, spec: StepSpec, upstream: Sequence[str], outputs: Mapping[tuple[str, str], StepRecord]
) -> list[StepRecord] | None:
    """The records that `record` came after, in order; None where it is no run of `spec` but for the rows.

    outputs: a run of each step and output; equal hashes are equal tables, so any will do.
    """
    fields = ("name", "version", "rule", "model", "seed")
    if any(getattr(record, name) != getattr(spec, name) for name in fields):
        return None
    further = {name: value for name, value in spec.inputs.items() if name not in upstream}
    if set(record.inputs) != {*upstream, *further} or any(record.inputs[name] != further[name] for name in further):
        return None
    earlier = [outputs.get((name, record.inputs[name])) for name in upstream]
    return None if None in earlier else [step_record for step_record in earlier if step_record is not None]


def same_rows(rows: pa.Table, earlier: pa.Table, reads: Sequence[str]) -> pa.BooleanArray:
    """True for each of `rows` that stands in `earlier` with equal columns; nulls equal nulls."""
    index = places_in(rows["uid"], earlier["uid"])
    is_same = pc.is_valid(index)
    for name in reads:
        current, earlier_values = one_array(rows[name]), one_array(earlier[name]).take(index)
        equal = pc.fill_null(_equal(current, earlier_values), False)
        is_same = pc.and_(is_same, pc.or_(equal, pc.and_(pc.is_null(current), pc.is_null(earlier_values))))
    return is_same


def _equal(current: pa.Array, earlier_values: pa.Array) -> pa.BooleanArray:
    """Whether each two values are equal, those of lists and structs too; null or False where one is null."""
    if not pa.types.is_nested(current.type):
        return pc.equal(current, earlier_values)
    if not pa.types.is_fixed_size_list(current.type):
        pairs = zip(current.to_pylist(), earlier_values.to_pylist(), strict=True)
        return pa.array([value == earlier for value, earlier in pairs], pa.bool_())
    equal = (_list_bytes(current) == _list_bytes(earlier_values)).all(axis=1)
    return pc.and_(pa.array(equal), pc.and_(pc.is_valid(current), pc.is_valid(earlier_values)))


def _list_bytes(lists: pa.FixedSizeListArray) -> npt.NDArray[np.unsignedinteger]:
    """The bytes (n, k) of lists of numbers, in words where they fill words; whatever lies there for a null."""
    size = lists.type.list_size
    values = lists.values.slice(lists.offset * size, len(lists) * size)
    numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
    rows: npt.NDArray[np.uint8] = numbers.view(np.uint8).reshape(len(lists), size * numbers.itemsize)
    return rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows


def _taken_over(ledger: Ledger, reusable: Reusable, name: str) -> pa.Table:
    table = ledger.table(reusable.record, name)
    return rows_with(table, reusable.same) if "uid" in table.column_names else table


def _merged(earlier: pa.Table, fresh: pa.Table) -> pa.Table:
    if "uid" not in fresh.column_names:
        return fresh
    rows = pa.concat_tables([earlier.cast(fresh.schema), fresh])
    return rows.take(sorted_order(rows.select(["uid"])))
