"""Rows of the pairs that steps kept, out of the decisions of each step.

A step judges all pairs that the one before it kept, in the order of their uids, and a commit makes sure of that. So
rows of several steps are brought together by their places, without reading and comparing uids.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import one_array, places_in
from evenly.storage.step_records import StepRecord

Decisions = Callable[[StepRecord, Sequence[str]], pa.Table]
"""Reads columns of a step's decisions."""


def alive_rows(
    decisions: Decisions, deciding: Sequence[StepRecord], columns: Sequence[str], *, only: pa.Array | None
) -> pa.Table:
    """The pairs that each step of `deciding` kept, with `columns`: see `Ledger.alive`. only: of these uids alone."""
    last = decisions(deciding[-1], ["uid", "verdict"])
    places = kept_places(last["verdict"])
    if only is not None:
        places = places[places_in(last["uid"].take(pa.array(places)), only).is_valid().to_numpy(zero_copy_only=False)]
    arrays: dict[str, pa.Array] = {"uid": _taken(last["uid"], places)}
    wanted, n_judged = [name for name in columns if name != "uid"], last.num_rows
    for number, record in reversed(list(enumerate(deciding))):
        if all(name in arrays for name in wanted):
            break
        names = [name for name in wanted if name not in arrays and name in record.columns]
        table = decisions(record, [*(["verdict"] if number < len(deciding) - 1 else []), *names])
        if number < len(deciding) - 1:
            kept = kept_places(table["verdict"])
            if len(kept) != n_judged:
                return _by_uid(decisions, deciding[: number + 1], arrays, wanted)
            places, n_judged = kept[places], table.num_rows
        arrays |= {name: _taken(table[name], places) for name in names}
    return pa.table(_in_order(arrays, wanted))


def kept_places(verdicts: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The places (k,) of the rows that a step kept; a null is none."""
    return np.flatnonzero(one_array(pc.fill_null(pc.equal(verdicts, "kept"), False)).to_numpy(zero_copy_only=False))


def _by_uid(
    decisions: Decisions, deciding: Sequence[StepRecord], arrays: dict[str, pa.Array], wanted: Sequence[str]
) -> pa.Table:
    """The pairs of `arrays` with the columns that are left, where steps judged others than were kept."""
    for record in reversed(deciding):
        if names := [name for name in wanted if name not in arrays and name in record.columns]:
            table = decisions(record, ["uid", *names])
            aligned = table.take(places_in(arrays["uid"], table["uid"]))
            arrays |= {name: one_array(aligned[name]) for name in names}
    return pa.table(_in_order(arrays, wanted))


def _in_order(arrays: dict[str, pa.Array], wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Raises KeyError for columns that no step gave."""
    if missing := [name for name in wanted if name not in arrays]:
        raise KeyError(f"no step before gave the columns {missing}")
    return {name: arrays[name] for name in ["uid", *wanted]}


def _taken(column: pa.ChunkedArray, places: npt.NDArray[np.int64]) -> pa.Array:
    """The values at `places`, which rise; those of all rows are not copied."""
    if len(places) == len(column):
        return one_array(column)
    is_taken = np.zeros(len(column), np.bool_)
    is_taken[places] = True
    return one_array(column.filter(pa.array(is_taken)))
