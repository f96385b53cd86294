"""The ledger of a build as it would be by other rules: tables of steps judged again lie over the stored ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import taken_rows
from evenly.curation.step import Judged
from evenly.keys import places_in, rows_with
from evenly.storage.ledger import DECISION_COLUMNS, Ledger, StepRecord


class Overlay(Ledger):
    """Reads stored tables, and in the place of those that were laid over them, these; it writes nothing.

    The pairs of which too little is known are alive for no step: see `Ledger`, only.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.workspace)
        self._over = dict[tuple[str, str], pa.Table]()

    def table(
        self, record: StepRecord, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """See Ledger."""
        table = self._over.get((record.name, name))
        if table is None:
            return super().table(record, name, columns, where)
        table = table if where is None else table.filter(where)
        return table if columns is None else table.select(list(columns))

    def lay(self, record: StepRecord, tables: Mapping[str, pa.Table]) -> None:
        """Lay tables over those of a step."""
        for name, table in tables.items():
            self._over[record.name, name] = table

    def lay_judged(self, record: StepRecord, judged: Judged, totals: Mapping[str, pa.Table]) -> StepRecord:
        """Lay what a step says of pairs over what it has stored of them; the record of the step as it then is."""
        decisions = judged.decisions.to_table(judged.uids)
        if (record.name, "decisions") in self._over:
            stored = taken_rows(self.decisions(record), judged.uids)
            for name in stored.column_names:
                if name not in DECISION_COLUMNS and name not in judged.columns:
                    decisions = decisions.append_column(name, stored[name])
        for name, values in judged.columns.items():
            decisions = decisions.append_column(name, values)
        tables = {**judged.tables, **totals, "decisions": decisions}
        self.lay(record, tables)
        columns = [name for name in decisions.column_names if name not in DECISION_COLUMNS]
        return replace(record, columns=columns, hashes={**record.hashes, **dict.fromkeys(tables, "")})

    def stored_rows(
        self,
        runs: Sequence[StepRecord],
        uids: pa.Array,
        alike: Callable[[StepRecord, pa.Array], pa.BooleanArray] | None = None,
    ) -> dict[str, pa.Table]:
        """The rows of pairs in the decisions and the tables of the first of these runs that judged each pair.

        alike: whether each of these pairs was judged in a run as it would be now.
        """
        parts: dict[str, list[pa.Table]] = {}
        for record in runs:
            rows = rows_with(super().table(record, "decisions"), uids)
            if parts and not len(rows):
                continue
            if alike is not None and len(rows):
                rows = rows.filter(alike(record, rows["uid"].combine_chunks()))
            judged = rows["uid"].combine_chunks()
            uids = uids.filter(places_in(uids, judged).is_null())
            parts.setdefault("decisions", []).append(rows)
            for name in record.hashes:
                if name != "decisions" and "uid" in self.schema(record, name).names:
                    parts.setdefault(name, []).append(rows_with(super().table(record, name), judged))
            if not len(uids):
                break
        return {name: _sorted(pa.concat_tables(tables, promote_options="default")) for name, tables in parts.items()}


def _sorted(table: pa.Table) -> pa.Table:
    """The rows by uid, those of one pair in their order."""
    table = table.combine_chunks()
    uids = table["uid"].combine_chunks() if len(table) else table["uid"]
    if len(table) < 2 or pc.all(pc.less_equal(uids[:-1], uids[1:])).as_py():
        return table
    rows = pa.table({"uid": uids, "row": pa.array(np.arange(len(table)))})
    return table.take(pc.sort_indices(rows, sort_keys=[("uid", "ascending"), ("row", "ascending")]))
