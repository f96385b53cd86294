"""Steps judged again, by their own judgements and what is stored: all pairs for `verify`, one for `why --replay`.

Each answer for one pair carries its label: "recomputed" (a pure function of the pair, the rule and stored inputs),
"re-checked" (a global result, its own inputs summed or compared again), "observed" (a recording that is not made
twice) and "not replayed" (this code does not know the step or its rule).
"""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.errors import CurationError
from evenly.curation.step import Exchange, Given, Judged, Judgement, Rejudging
from evenly.curation.steps import STEPS
from evenly.keys import rows_with
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.exchange import PartitionExchange, open_exchange
from evenly.storage.tables.hashing import table_hash

ReplayLabel = Literal["recomputed", "re-checked", "observed", "not replayed"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The result of replaying one step for one pair.

    label: "recomputed" from the pair alone by a pure function; "re-checked", the stored result of a global step summed
    or compared again; "observed", a recording that cannot be made again; "not replayed". agrees: whether what was
    computed equals what is stored; None where nothing was computed.
    """

    label: ReplayLabel
    agrees: bool | None
    detail: str


_SHOWN = 120  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A column of a step's table that comes out otherwise for `rows` of the pairs that were judged again.

    computed and stored: the values of the first of them, a list of these where a pair has several rows.
    """

    table: str
    column: str
    rows: int
    computed: object
    stored: object


def mismatch_in_words(mismatch: Mismatch) -> str:
    """A mismatch in words; long values are cut."""
    values = [textwrap.shorten(repr(value), _SHOWN) for value in (mismatch.computed, mismatch.stored)]
    return f"{values[0]} where {values[1]} is stored"


def replay_step(build: PublishedBuild, uid: str, record: StepRecord) -> Replay:
    """The result of judging one pair again by one step, with its label."""
    judgement = STEPS.get(record.name)
    if judgement is None:
        return Replay(label="not replayed", agrees=None, detail="this version of evenly has no such step")
    if judgement.seeded and record.seed is None:
        return Replay(label="not replayed", agrees=None, detail="no seed is stored")
    if judgement.rejudge is None:
        return Replay(label=judgement.label, agrees=None, detail=judgement.observed)
    part = build.around(uid).part
    ledger = Ledger(build.workspace, part=part, only=pa.array([uid], pa.string()))
    try:
        with open_rejudging(build, record, judgement, recounts=False) as rejudging:
            judged = rejudging.judge(ledger)
            differing = [*mismatching_notes(rejudging, record), *mismatches(judged, record, ledger)]
    except (CurationError, TypeError, KeyError) as error:
        # The rule, the columns or the functions have changed since the step ran.
        return Replay(label="not replayed", agrees=None, detail=f"cannot be computed by this code: {error}")
    detail = "; ".join(map(_with_place, differing)) or judged.detail
    return Replay(label=judgement.label, agrees=not differing, detail=detail)


def deciding_rule(record: StepRecord, pair: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a step's rule that decided a pair; all of it where this code does not know the rule."""
    judgement, rule = STEPS.get(record.name), whole_rule(record)
    try:
        return rule if judgement is None else judgement.decides(rule, pair)
    except (CurationError, TypeError, KeyError):  # the rule, or the class that it is of, was another
        return rule


def whole_rule(record: StepRecord) -> Mapping[str, Any]:
    """The rule of a step with the defaults that are not stored (numbers, words, switches), where the step is known."""
    judgement = STEPS.get(record.name)
    plain = () if judgement is None or judgement.load is not None else fields(judgement.rule)
    defaults = {one.name: one.default for one in plain if isinstance(one.default, bool | int | float | str)}
    return {**defaults, **record.rule}


def _with_place(mismatch: Mismatch) -> str:
    place = mismatch.column if mismatch.table == "decisions" else f"{mismatch.table}.{mismatch.column}"
    return f"{place}: {mismatch_in_words(mismatch)}"


@contextmanager
def open_rejudging(
    build: PublishedBuild, record: StepRecord, judgement: Judgement, *, recounts: bool = True
) -> Iterator[Rejudging]:
    """A step of a build, to be judged again: by what all pairs give, or by what the step stored of them.

    Raises what curation raises where its rule is one of another time.
    """
    bits = build.deciding[0].bits

    @contextmanager
    def exchange() -> Iterator[Exchange]:
        with open_exchange(build.workspace.exchange, record.name) as folder:
            yield PartitionExchange(folder=folder, bits=bits)

    if judgement.rejudge is None:
        raise TypeError(f"step `{record.name}` is observed, and not judged again")
    upstream, rule = build.records[: build.records.index(record)], judgement.stored_rule(record.rule)
    inputs = Given(
        record=record,
        upstream=upstream,
        rule=rule,
        seed=int(record.seed or 0),
        notes=record.notes,
        recounts=recounts,
        reads=() if judgement.reads is None else judgement.reads(upstream, rule),
        tables=build.ledger,
        each=build.each,
        exchange=exchange if bits else None,
    )
    with judgement.rejudge(inputs) as rejudging:
        yield rejudging


def mismatching_notes(rejudging: Rejudging, record: StepRecord) -> list[Mismatch]:
    """The notes of a step that come out otherwise."""
    return [
        Mismatch(table="notes", column=name, rows=1, computed=value, stored=record.notes.get(name))
        for name, value in rejudging.notes.items()
        if record.notes.get(name) != value
    ]


def mismatches(judged: Judged, record: StepRecord, ledger: Ledger) -> list[Mismatch]:
    """Where a step stored otherwise of the pairs that a ledger shows, or judged others."""
    decisions = ledger.decisions(record)
    if ledger.only is not None:
        decisions = rows_with(decisions, ledger.only)
    if not decisions["uid"].combine_chunks().equals(judged.uids):
        counts = (len(judged.uids), decisions.num_rows)
        rows = abs(counts[0] - counts[1]) or 1
        return [Mismatch(table="decisions", column="uid", rows=rows, computed=counts[0], stored=counts[1])]
    computed = judged.decisions.to_table(judged.uids).drop(["uid"])
    for name, values in judged.columns.items():
        computed = computed.append_column(name, values)
    compared = [_mismatch("decisions", name, computed, decisions) for name in computed.column_names]
    for name, table in judged.tables.items():
        compared += _child_mismatches(name, table, _stored_rows(record, name, ledger, judged.uids), judged.uids)
    return [mismatch for mismatch in compared if mismatch is not None]


def _mismatch(table: str, name: str, computed: pa.Table, stored: pa.Table) -> Mismatch | None:
    if name not in stored.column_names:
        return Mismatch(table=table, column=name, rows=computed.num_rows, computed=None, stored="no such column")
    if table_hash(computed.select([name])) == table_hash(stored.select([name])):
        return None
    cells = zip(computed[name].to_pylist(), stored[name].to_pylist(), strict=True)
    differing = [(value, stored_value) for value, stored_value in cells if repr(value) != repr(stored_value)]
    value, stored_value = differing[0] if differing else (None, None)
    return (
        Mismatch(table=table, column=name, rows=len(differing), computed=value, stored=stored_value)
        if differing
        else None
    )


def _stored_rows(record: StepRecord, name: str, ledger: Ledger, uids: pa.Array) -> pa.Table | None:
    if name not in record.hashes:
        return None
    return rows_with(ledger.table(record, name), uids)


def _child_mismatches(
    name: str, computed: pa.Table, stored: pa.Table | None, uids: pa.Array
) -> Iterator[Mismatch | None]:
    if stored is None:
        yield Mismatch(table=name, column="", rows=len(uids), computed=None, stored="no such table")
    elif computed["uid"].combine_chunks().equals(stored["uid"].combine_chunks()):
        for column in computed.column_names:
            yield _mismatch(name, column, computed, stored)
    else:
        names = [set(table["uid"].to_pylist()) for table in (computed, stored)]
        differing = sorted(names[0] ^ names[1])
        rows = [table.filter(pc.equal(table["uid"], differing[0] if differing else "")) for table in (computed, stored)]
        values = [table.to_pylist() for table in rows]
        yield Mismatch(table=name, column="uid", rows=len(differing) or 1, computed=values[0], stored=values[1])
