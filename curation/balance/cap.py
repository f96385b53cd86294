"""Cap: at most so many pairs of each value of a column, by one draw per pair, so that a larger cap holds smaller ones.

A pair's draw is a number in [0, 1) of (seed, step, uid). Of the pairs of a value, those with the smallest draws stay;
of equal draws, the smaller uid comes first. A pair without a value, and one of a value with no more pairs, stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge

from evenly.bounds import PairColumn, check_bounds
from evenly.curation.arrays import Floats, column
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws
from evenly.curation.errors import RuleError
from evenly.curation.step import (
    ByLedger,
    FinishedStep,
    Given,
    Judged,
    Judgement,
    PartTables,
    StepTables,
    always,
    require_column,
)

STEP = "cap"
_COUNTS = pa.schema([("value", pa.string()), ("pairs", pa.int64())])
_DRAWN = pa.schema([("value", pa.string()), ("draw", pa.float64()), ("uid", pa.string())])
CAPS = pa.schema(
    [
        ("value", pa.string()),
        ("pairs", pa.int64()),
        ("kept", pa.int64()),
        ("threshold", pa.float64()),  # what a draw must be below: that of the first pair that goes
        ("first_out", pa.string()),  # its uid, which decides between equal draws
    ]
)
"""The values that have more pairs than the cap, sorted."""


@dataclass(frozen=True, kw_only=True)
class CapRule:
    """At most `most` pairs of each value of `column`, a column of the pool or of a step before."""

    column: PairColumn
    most: Annotated[int, Ge(1)]

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


def count_values(values: pa.Array) -> pa.Table:
    """The number of pairs of each value, [value, pairs]; null is none."""
    counted = pc.value_counts(values.drop_null())
    return pa.table([counted.field("values"), counted.field("counts")], schema=_COUNTS)


def values_over(counts: Sequence[pa.Table], most: int) -> pa.Table:
    """The values that have more than `most` pairs in all parts together, [value, pairs], sorted."""
    summed = pa.concat_tables([_COUNTS.empty_table(), *counts]).group_by("value").aggregate([("pairs", "sum")])
    summed = summed.select(["value", "pairs_sum"]).rename_columns(_COUNTS.names)
    return summed.filter(pc.greater(summed["pairs"], most)).sort_by("value")


def first_drawn(uids: pa.Array, values: pa.Array, over_cap: pa.Table, most: int, *, seed: int) -> pa.Table:
    """Of each value in `over_cap`, the `most` + 1 pairs of smallest draws, [value, draw, uid], sorted by all three."""
    inside = pc.is_in(values, over_cap["value"])
    uids, values = uids.filter(inside), values.filter(inside)
    return _smallest(pa.table([values, pa.array(_draws(uids, seed)), uids], schema=_DRAWN), most + 1)


def cut_values(over_cap: pa.Table, drawn: Sequence[pa.Table], most: int) -> pa.Table:
    """The table CAPS, of the values over the cap and each part's table of `first_drawn`."""
    smallest = _smallest(pa.concat_tables([_DRAWN.empty_table(), *drawn]), most + 1)
    first_out = smallest.take(pa.array(np.arange(most, len(smallest), most + 1)))
    kept = pa.array(np.full(len(over_cap), most, np.int64))
    return pa.table([over_cap["value"], over_cap["pairs"], kept, first_out["draw"], first_out["uid"]], schema=CAPS)


def cap_by(uids: pa.Array, values: pa.Array, caps: pa.Table, *, seed: int) -> tuple[Decisions, pa.Array]:
    """Decide each pair by where its value is cut: over_cap where it goes; with it the threshold of its draw.

    The value is the draw, null where the pair has no value. The threshold is null where nothing is cut.
    """
    drawn = pc.if_else(values.is_valid(), pa.array(_draws(uids, seed)), None)
    cut = caps.take(pc.index_in(values, caps["value"].combine_chunks(), skip_nulls=True))
    threshold, first_out = column(cut, "threshold", pa.float64()), column(cut, "first_out", pa.string())
    at_end = pc.and_(pc.equal(drawn, threshold), pc.greater_equal(uids, first_out))
    goes = pc.fill_null(pc.or_(pc.greater(drawn, threshold), at_end), False)
    return Decisions.of(reason=pc.if_else(goes, "over_cap", ""), value=drawn), threshold


def _smallest(drawn: pa.Table, most: int) -> pa.Table:
    """The first `most` rows of each value of a table [value, draw, uid], sorted by all three."""
    ordered = drawn.sort_by([(name, "ascending") for name in _DRAWN.names])
    runs = pc.run_end_encode(column(ordered, "value", pa.string())) if len(ordered) else None
    ends = np.array([], np.int64) if runs is None else np.asarray(runs.run_ends, np.int64)
    sizes = np.diff(ends, prepend=0)
    ranks = np.arange(len(ordered)) - np.repeat(ends - sizes, sizes)
    return ordered.filter(pa.array(ranks < most))


def _draws(uids: pa.Array, seed: int) -> Floats:
    names = uids.to_pylist()
    return draws(seed=seed, step=STEP, uids=names, entries=[""] * len(names))


def _pairs(upstream: Sequence[FinishedStep], name: str, tables: StepTables[Any]) -> tuple[pa.Array, pa.Array]:
    """The uids of a part, and their values of the column as text."""
    pairs = tables.alive(upstream, [name])
    return column(pairs, "uid", pa.string()), column(pairs, name, pa.string())


def _counted(upstream: Sequence[FinishedStep], name: str, tables: PartTables) -> pa.Table:
    return count_values(_pairs(upstream, name, tables)[1])


def _drawn(settings: tuple[Sequence[FinishedStep], CapRule, int], over_cap: pa.Table, tables: PartTables) -> pa.Table:
    upstream, rule, seed = settings
    return first_drawn(*_pairs(upstream, rule.column, tables), over_cap, rule.most, seed=seed)


def _caps(inputs: Given) -> pa.Table:
    """The table CAPS, counted again or as it is stored."""
    rule: CapRule = inputs.rule
    require_column(inputs.upstream, "cap.column", rule.column)
    if not inputs.recounts:
        return inputs.tables.table(inputs.record, "caps")
    over_cap = values_over(inputs.each("counting values", partial(_counted, inputs.upstream, rule.column)), rule.most)
    if not len(over_cap):
        return CAPS.empty_table()
    settings = (inputs.upstream, rule, inputs.seed)
    return cut_values(over_cap, inputs.each("finding caps", partial(_drawn, settings, over_cap)), rule.most)


def _capped(inputs: Given, caps: pa.Table, tables: PartTables) -> Judged:
    """Each pair by its value: the value is its draw, `cap_threshold` the bound of the draw."""
    uids, values = _pairs(inputs.upstream, inputs.rule.column, tables)
    decisions, threshold = cap_by(uids, values, caps, seed=inputs.seed)
    basis = "of all pairs ranked again" if inputs.recounts else "as stored"
    columns = {"cap_threshold": threshold}
    return Judged(uids=uids, decisions=decisions, columns=columns, detail=f"draw made again, threshold {basis}")


def _totals(_inputs: Given, caps: pa.Table) -> dict[str, pa.Table]:
    return {"caps": caps}


CAP = Judgement(
    name=STEP,
    question="Is it among the pairs drawn of its value?",
    value="draw",
    section="cap",
    rule=CapRule,
    rejudge=ByLedger(facts=_caps, judge=_capped, totals=_totals),
    of_all=always,
    seeded=True,
)
