"""The judgement of a step: all that it says of itself, and how verdicts follow again from stored tables.

Replay and verification come from here, so that they are the same for every step. A judgement reads what finished steps
left behind, as the ledger shows it, and gives what the step must have said; nothing is downloaded, encoded or asked.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import taken_rows
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.keys import rows_with

T = TypeVar("T")
ReplayLabel = Literal["recomputed", "re-checked", "observed"]
"""What a verdict that was judged again rests on: the pair alone; results of all pairs; a recording made once."""


Need = Literal["pictures", "bytes", "features", "matches"]
"""Pictures or features of them; the bytes of pictures; features of pictures; the concepts that captions name."""


class FinishedStep(Protocol):
    """The record of a step that is done."""

    @property
    def name(self) -> str:
        """The step's name."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it gave to pairs, beside its verdicts."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """The hash of each of its tables, by name."""


S = TypeVar("S", bound=FinishedStep)
S_contra = TypeVar("S_contra", bound=FinishedStep, contravariant=True)


class StepTables(Protocol[S_contra]):
    """Reads the tables of finished steps, as the ledger does."""

    def alive(self, records: Sequence[S_contra], columns: Sequence[str], /) -> pa.Table:
        """The pairs that all `records` kept, sorted by uid: [uid, *columns]."""

    def table(self, record: S_contra, name: str, columns: Sequence[str] | None = None, /) -> pa.Table:
        """A table of a step in its stored order; its `columns`, or all."""

    def decisions(self, record: S_contra, columns: Sequence[str] | None = None, /) -> pa.Table:
        """The decisions of a step, sorted by uid; their `columns`, or all."""


class Part(Protocol):
    """A part of a pool."""

    @property
    def number(self) -> int:
        """Its number, from 0."""


class PartTables(StepTables[Any], Protocol):
    """Reads the tables of finished steps of a part."""

    @property
    def part(self) -> Part:
        """The part."""


class EachPart(Protocol):
    """Work on all parts of a pool."""

    def __call__(self, title: str, function: Callable[[PartTables], T], /) -> list[T]:
        """The result of `function` for the tables of each part, in order."""


class Exchange(Protocol):
    """Rows on their way to another cut."""

    def send(self, name: str, part: int, key: str, rows: pa.Table, /) -> object:
        """Send rows of a part, each to the part of its `key`."""

    def received(self, name: str, part: int, /) -> list[pa.Table]:
        """The rows that were sent to a part."""


def gives(records: Sequence[FinishedStep], column: str) -> bool:
    """Whether one of the steps gave the column."""
    return any(column in record.columns for record in records)


def require_column(records: Sequence[FinishedStep], field: str, column: str) -> None:
    """Raise RuleError for a column, named by a field of a rule, that none of the steps gave."""
    if not gives(records, column):
        columns = ", ".join(sorted({name for record in records for name in record.columns}))
        raise RuleError(
            f"`{field}` must be a column of the pool or of a step before; got {column!r}. There are {columns}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """Inputs of a judgement: the record of the step and those before it, its rule, seed and notes, and all tables.

    recounts: whether what is known of all pairs is made again of these; else it is read as the step stored it. reads:
    the columns that its judgement says its verdict depends on. tables: those of all parts. each: work on every
    part. exchange: rows to be sent between parts; None where there is one part. features: stored
    ones of "images" by their ids, or of "texts"; None where nobody reads them.
    """

    record: FinishedStep
    upstream: Sequence[Any]
    rule: Any
    seed: int
    notes: Mapping[str, Any]
    recounts: bool = True
    reads: Sequence[str] = ()
    tables: StepTables[Any]
    each: EachPart
    exchange: Callable[[], AbstractContextManager[Exchange]] | None = None
    features: Callable[[Literal["images", "texts"], pa.Array], np.ndarray] | None = None

    def has(self, column: str) -> bool:
        """Whether a step before this one gave the column."""
        return gives(self.upstream, column)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The judgement of pairs: decisions in the order of `uids`, further columns, rows of other tables.

    tables: rows of pairs, each with a column `uid`. partial: what these pairs give to a sum over all. detail: what was
    done for it, in words.
    """

    uids: pa.Array
    decisions: Decisions
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    partial: pa.Table | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class NoRule:
    """The rule of a step that has nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class Rejudging:
    """A step to be judged again: `judge` the pairs of a part that a ledger shows, `totals` the tables of all pairs.

    totals: of the partials of all parts; None where the step stores none that follows from them. notes: those that the
    step must have made of all pairs.
    """

    judge: Callable[[PartTables], Judged]
    totals: Callable[[Sequence[pa.Table]], Mapping[str, pa.Table]] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def _no_facts(_inputs: Given) -> None:
    return None


def _no_notes(_inputs: Given, _facts: object) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class ByLedger:
    """A step that judges pairs by the ledger alone: as it runs, and again whenever somebody asks.

    Functions of a module, so that workers can be given them. facts: what must be known of all pairs, counted in
    every part where `inputs.recounts`, else read of the tables that the step stored. judge: the pairs of a part, by
    these. totals: tables of all pairs that the step stores, each by its name. notes: of all pairs.
    """

    judge: Callable[[Given, Any, PartTables], Judged]
    facts: Callable[[Given], Any] = _no_facts
    totals: Callable[[Given, Any], Mapping[str, pa.Table]] | None = None
    notes: Callable[[Given, Any], Mapping[str, Any]] = _no_notes

    @property
    def has_facts(self) -> bool:
        """Whether a verdict depends on other pairs."""
        return self.facts is not _no_facts

    def __call__(self, inputs: Given) -> "Opened":
        """The step to be judged again."""
        facts = self.facts(inputs)
        judge, notes = partial(self.judge, inputs, facts), self.notes(inputs, facts)
        tables = self.totals
        totals = None if tables is None else lambda _: tables(inputs, facts)
        return nullcontext(Rejudging(judge=judge, totals=totals, notes=notes))


Opened = AbstractContextManager[Rejudging]
Stored = Mapping[str, Any]
Reads = Callable[[Sequence[FinishedStep], Any], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All that a step says of itself.

    question: what it asks of a pair, for people who have not seen the recipe. value: what its value means; None where
    that says nothing. label: what judging again rests on. rule: the class of its rule. load: the rule out of what the
    ledger stores, where that is not the rule's fields. section: the section of `curate` in a recipe that switches it
    on; "" where another part of the recipe does. reads: the columns of a pair that its verdict depends on, of the steps
    before and the rule; None where rows depend on each other in a way that must be found anew. With it, pairs that an
    earlier run judged are taken over. rejudge: how verdicts follow again from what is stored; None where they are
    recordings, made once, which `observed` describes. needs: what it needs of a pool or of other steps, by what asks
    for it: "" for the step, else a field of its rule (".colour"). seeded: whether it draws, by the seed of its record.
    decides: the part of its rule, as stored, that decided a pair, by what it stored of this: reason, value, source and
    the columns that it gave.

    What says how it is judged by another rule: measures: whether, after the steps before and by the rule, its values
    were measured or observed, so that nothing is known of a pair which it has not judged. measured_of: the
    columns of pairs that were measured; None: what it reads. fixed: the fields in which
    two rules, as stored, differ and by which values are measured. search: how any pairs are merged, by what is stored
    of them and their pictures. grouped: whether its values are also those of pairs that were merged into a pair.
    fitted: what it fits to all pairs, in words. of_all: whether by its rule a verdict depends on which pairs there are.
    moved: by the rule and what was judged, how many of these pairs may leave and how many may come back where so many
    more pairs, of which nothing is known, may be judged with them.

    A step that judges by the ledger alone (`ByLedger`), by a rule that is all of its section, is its judgement: recipe,
    run, report and audit take the rest from here. version: of such a step, raised whenever the same inputs would now
    give another result.
    """

    name: str
    question: str
    value: str | None = None
    label: ReplayLabel = "recomputed"
    load: Callable[[Mapping[str, Any]], Any] | None = None
    reads: Reads | None = None
    rejudge: Callable[[Given], Opened] | None = None
    observed: str = ""
    needs: Callable[[Any], Mapping[str, Collection[Need]]] = lambda _: {}
    seeded: bool = False
    decides: Callable[[Stored, Stored], Stored] = lambda rule, _: rule
    measures: Callable[[Sequence[FinishedStep], Any], bool] = lambda *_: False
    measured_of: Reads | None = None
    fixed: Callable[[Stored, Stored], Collection[str]] = lambda *_: ()
    search: Callable[[Given], "Opened"] | None = None
    grouped: Callable[[Stored], bool] = lambda _: False
    fitted: Callable[[Stored], str] = lambda _: ""
    of_all: Callable[[Any], bool] = lambda _: False
    moved: Callable[[Any, Judged, int], tuple[int, int]] | None = None
    section: str = ""
    rule: type[Any] = NoRule
    version: int = 1

    def stored_rule(self, stored: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of its own class
        """The rule that a record of the step stores. Raises errors of the rule; TypeError where a field is missing."""
        if self.load is not None:
            return self.load(stored)
        names = {entry.name for entry in fields(self.rule)}
        return self.rule(**{name: value for name, value in stored.items() if name in names})


def by_row(
    rows: Callable[[Given], Callable[[pa.Table, PartTables], Judged]],
    recorded: Callable[[Given], Sequence[str]] = lambda _: (),
) -> ByLedger:
    """The `rejudge` of a step that judges each row by itself.

    recorded: columns of its own decisions that were measured or observed, which are read and not made again. rows: what
    judges a table of uid, the columns that the step reads, and these.
    """
    return ByLedger(judge=partial(_judge_rows, rows, recorded))


def _judge_rows(
    rows: Callable[[Given], Callable[[pa.Table, PartTables], Judged]],
    recorded: Callable[[Given], Sequence[str]],
    inputs: Given,
    _facts: None,
    tables: PartTables,
) -> Judged:
    pairs, recordings = tables.alive(inputs.upstream, inputs.reads), list(recorded(inputs))
    if recordings:
        stored = taken_rows(tables.decisions(inputs.record, ["uid", *recordings]), pairs["uid"].combine_chunks())
        for name in recordings:
            pairs = pairs.append_column(name, stored[name])
    return rows(inputs)(pairs, tables)


def rows_of_pairs(tables: PartTables, record: FinishedStep, name: str, uids: pa.Array) -> pa.Table:
    """The rows of a step's table that belong to pairs, in their stored order."""
    return rows_with(tables.table(record, name), uids)


def differing_fields(stored: Stored, supposed: Stored, prefix: str = "") -> list[str]:
    """The fields that two rules, as stored, give different values, nested ones by their dotted name.

    Of an entry that only the second has, each of its fields; of one that only the first has, the entry.
    """
    names = list[str]()
    for name in dict.fromkeys((*stored, *supposed)):
        old, new = stored.get(name), supposed.get(name)
        if isinstance(new, Mapping) and (old is None or isinstance(old, Mapping)):
            names += differing_fields(old or {}, new, f"{prefix}{name}.")
        elif old != new:
            names.append(f"{prefix}{name}")
    return names


def fixed_fields(*names: str) -> Callable[[Stored, Stored], list[str]]:
    """The `fixed` of a step whose values were measured by these fields, or fields of them; "" for all."""

    def differing(stored: Stored, supposed: Stored) -> list[str]:
        return [
            path for path in differing_fields(stored, supposed) if any(f"{path}.".startswith(name) for name in dotted)
        ]

    dotted = [f"{name}." if name else "" for name in names]
    return differing


def caption_in_force(upstream: Sequence[FinishedStep], _rule: object) -> list[str]:
    """The column of the captions that were chosen, or of those of the pool."""
    return ["chosen_caption" if gives(upstream, "chosen_caption") else "caption"]


def always(*_: object) -> bool:
    """Whatever the rule."""
    return True


def of_pictures(_rule: object) -> dict[str, Collection[Need]]:
    """The needs of a step that looks at pictures."""
    return {"": ["pictures"]}


def of_features(_rule: object) -> dict[str, Collection[Need]]:
    """The needs of a step that looks at features of pictures."""
    return {"": ["pictures", "features"]}
