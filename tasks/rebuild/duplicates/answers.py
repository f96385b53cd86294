"""What comes back from a search: survivors and edges by uid, captions of merged pairs, verdicts by partition, recall.

Recall: drawn rows are compared with those of every partition. Rows that a previous search drew are compared with what
is searched anew alone: changed pairs, and those that have lost an end of an edge, which may have been one of several
equal ones before. Other duplicates that it found still are some.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints, Words, column
from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.kind import Kind
from evenly.curation.duplicates.lsh import Recall, drawn_count, recall_among
from evenly.curation.duplicates.merging import CAPTIONS, choose_survivors, components, uid_places
from evenly.storage.errors import StorageError
from evenly.storage.ledger import StepOutput
from evenly.storage.tables.exchange import new_exchange
from evenly.storage.tables.partitions import rows_of
from evenly.storage.tables.row_files import row_numbers, row_places
from evenly.tasks.rebuild.duplicates.pair_search import (
    ComparedFeatures,
    PairSearch,
    PreviousEdges,
    compare_pairs,
    in_parts,
    take_over,
)
from evenly.tasks.rebuild.duplicates.search import (
    FirstRows,
    link_cells,
    link_equal,
    link_tables,
    send_keys,
    write_firsts,
    write_rows,
)
from evenly.tasks.row_reuse import EarlierRun
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged

MOST_EDGES = 100_000_000
"""Edges of all clusters together, which one process holds."""
TABLES_AT_ONCE = 24
"""Tables whose keys are on the disk at a time."""
RuleT = TypeVar("RuleT")


@dataclass(frozen=True, kw_only=True)
class Answers(Exchanged):
    """Where the answers of a search lie, by partition, and what it says of itself.

    counts: the pairs of each partition. changed: those that changed since the run of which edges were taken over.
    """

    search: PairSearch
    counts: Sequence[int]
    changed: Sequence[int] | None
    notes: Mapping[str, Any]
    compared: pa.Table | None = field(compare=False)


def merging(kind_of: type[Kind], features: ComparedFeatures | None = None) -> dict[str, Any]:
    """What a step does that merges duplicates of a kind, by features where it compares any: fields of Step."""
    search = partial(_search, kind_of, features)
    of_all = {"resolve": search, "resume": search, "work": _work}
    return {**of_all, "judge": _judge, "shared": _shared}


def _search(  # noqa: PLR0917 - as Step has it
    kind_of: type[Kind],
    features: ComparedFeatures | None,
    run: Run,
    upstream: Records,
    rule: RuleT,
    engine: Each,
    earlier: EarlierRun | None = None,
    reads: Sequence[str] = (),
) -> Answers:
    """Find the duplicates among all pairs, and send each partition what it must know of them.

    What an earlier run found is taken over where it still holds.
    """
    kind, changed, compared, candidates = kind_of(rule=rule, seed=run.seed), None, None, 0
    name, n_tables = kind.step, 0 if kind.masks is None else len(kind.masks)
    with ExitStack() as undone:
        exchange = undone.enter_context(new_exchange(run.exchange, name, run.bits))
        search = PairSearch(kind=kind, features=features, exchange=exchange, resumes=earlier is not None)
        search.prepare(run, upstream)
        counts = engine.partitions(f"{name}: reading", partial(write_rows, search, upstream))
        engine.partitions(f"{name}: equal rows", partial(link_equal, search))
        if earlier is not None:
            previous = PreviousEdges(run=earlier, reads=reads)
            changed = take_over(search, previous, upstream, counts, engine)
            compared = previous.compared(run.ledger)
        firsts = engine.partitions(f"{name}: codes", partial(write_firsts, search, counts))
        for start in range(0, n_tables, TABLES_AT_ONCE):
            tables = range(start, min(start + TABLES_AT_ONCE, n_tables))
            engine.partitions(f"{name}: keys", partial(send_keys, search, counts, tables))
            candidates += sum(engine.partitions(f"{name}: tables", partial(link_tables, search, tables)))
            search.exchange.forget("keys")
        link_cells(search, firsts, engine)
        recall = measured_recall(search, firsts, compared, _merge(search), engine)
        engine.partitions(f"{name}: captions", partial(_send_captions, search, upstream))
        undone.pop_all()
    notes = kind.notes(candidates) | ({} if recall is None else recall.notes)
    compared = None if recall is None else recall.compared
    return Answers(search=search, counts=counts, changed=changed, notes=notes, compared=compared)


def _merge(search: PairSearch) -> tuple[Words, Ints]:
    """Send partitions their edges and which of their rows are merged; the rows that have edges, and their components.

    Raises StorageError where there are more edges than a process can hold.
    """
    left, right, _ = search.forest().edges()
    if len(left) > MOST_EDGES:
        raise StorageError(
            f"duplicates must have at most {MOST_EDGES:,} edges; step `{search.kind.step}` has {len(left):,}. Merge "
            "less at a time: make the rule stricter, or run an exact step before."
        )
    rows, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    component = components(len(rows), *np.split(places.astype(np.int64), 2))
    area = search.files.numbers("area", rows)
    survivors = rows[choose_survivors(component, area, np.zeros(len(rows)))]
    is_merged = survivors != rows
    search.send("merged", "all", row=rows[is_merged], survivor=survivors[is_merged])
    search.send("uid_edges", "all", left=left, right=right)
    return rows, component


def _send_captions(search: PairSearch, upstream: Records, run: Run) -> None:
    """Send the captions of merged pairs, and those that these had taken over, to the partitions of their survivors."""
    rows, survivors = search.received("merged", run.part.number, ["row", "survivor"])
    if not len(rows):
        return
    pairs = run.ledger.alive(upstream, ["caption"]).take(pa.array(row_places(search.bits, rows)))
    targets = _uids(search, survivors)
    captions = pa.table({"uid": targets, "caption": column(pairs, "caption", pa.string()), "from_uid": pairs["uid"]})
    tables = [run.ledger.table(record, "captions") for record in upstream if "captions" in record.hashes]
    earlier = pa.concat_tables([CAPTIONS.empty_table(), *tables])
    moves = pc.index_in(earlier["uid"].combine_chunks(), column(pairs, "uid", pa.string()))
    moved = pa.table({"uid": targets.take(moves), "caption": earlier["caption"], "from_uid": earlier["from_uid"]})
    sent = [captions, moved.filter(pc.is_valid(moves)).cast(captions.schema)]
    search.exchange.send("captions", run.part.number, "uid", sent)


def _judge(run: Run, upstream: Records, _rule: object, answers: Answers) -> StepOutput:
    """The verdicts on the pairs of a partition, the edges that begin with them, and what survivors take over."""
    search, partition = answers.search, run.part.number
    uids = search.files.column("uid", row_numbers(search.bits, partition, np.arange(answers.counts[partition])))
    tables = {"edges": _edges(search, partition), "captions": _captions(run, upstream, search, uids)}
    if answers.compared is not None:
        tables["compared"] = rows_of(answers.compared, run.part)
    return StepOutput(decisions=_decisions(search, partition, uids).to_table(uids), tables=tables)


def _decisions(search: PairSearch, partition: int, uids: pa.Array) -> Decisions:
    rows, survivors = search.received("merged", partition, ["row", "survivor"])
    measured, reasons = [np.empty(0)], [pa.array([], pa.string())]
    for part in in_parts(len(rows)):
        compared, _, sides = compare_pairs(search, rows[part], survivors[part])
        measured.append(compared.measure(*sides))
        reasons.append(search.kind.reasons(search.files, rows[part], survivors[part]))
    places = np.full(len(uids), len(rows))
    places[row_places(search.bits, rows)] = np.arange(len(rows))
    goes = places < len(rows)
    value = np.full(len(uids), np.nan)
    value[goes] = np.concatenate(measured)[places[goes]]
    return Decisions.of(
        reason=pa.concat_arrays([*reasons, pa.array([""])]).take(pa.array(places)),
        value=pa.array(value, mask=~goes),
        into=_uids(search, survivors).take(pa.array(places, mask=~goes)),
    )


def _edges(search: PairSearch, partition: int) -> pa.Table:
    left, right = search.received("uid_edges", partition, ["left", "right"])
    tables = list[pa.Table]()
    for part in (slice(0), *in_parts(len(left))):  # the first for its columns: there may be no edges
        compared, _, sides = compare_pairs(search, left[part], right[part])
        n, distance = len(left[part]), compared.measure(*sides)
        colour = compared.colour_of(*sides) if hasattr(compared, "colour_of") else None
        table = pa.table(
            {
                "uid_a": _uids(search, left[part]),
                "uid_b": _uids(search, right[part]),
                "kind": pa.repeat(pa.scalar(search.kind.edge), n),
                "distance": pa.array(distance, pa.float64()),
                "colour": pa.nulls(n, pa.float64()) if colour is None else pa.array(colour, pa.float64()),
            }
        )
        tables.append(search.kind.edges(table, compared, *sides))
    return pa.concat_tables(tables)


def _captions(run: Run, upstream: Records, search: PairSearch, uids: pa.Array) -> pa.Table:
    """The captions [uid, image_id, caption, from_uid], sorted, that survivors among `uids` take over from merged pairs.

    image_id is the survivor's.
    """
    tables = search.exchange.received("captions", run.part.number)
    if not tables:
        return CAPTIONS.empty_table()
    rows = pa.concat_tables(tables)
    images = pa.nulls(len(uids), pa.string())
    if any("image_id" in record.columns for record in upstream):
        images = column(run.ledger.alive(upstream, ["image_id"]), "image_id", pa.string())
    image_ids = images.take(pc.index_in(rows["uid"].combine_chunks(), uids))
    rows = rows.append_column("image_id", image_ids).select(CAPTIONS.names)
    return rows.sort_by([("uid", "ascending"), ("from_uid", "ascending")])


def _work(run: Run, answers: Answers) -> dict[str, int]:
    """How many pairs of a partition were searched anew, and how many were as before."""
    if answers.changed is None:
        return {}
    n, changed = answers.counts[run.part.number], answers.changed[run.part.number]
    return {"computed": changed, "reused": n - changed}


def _shared(_run: Run, _upstream: Records, _rule: object, answers: Answers) -> StepOutput:
    """How duplicates were looked for."""
    return StepOutput(notes=answers.notes)


def _uids(search: PairSearch, rows: Words) -> pa.Array:
    """The uids (n,) of rows in any order."""
    numbers, places = np.unique(rows, return_inverse=True)
    return search.files.column("uid", numbers).take(pa.array(places))


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedBefore:
    """Rows that were compared with all before, and the duplicates (k, 2) of these that still are; both by number."""

    rows: Words
    duplicates: Words

    @classmethod
    def of(cls, search: PairSearch, counts: Sequence[int], compared: pa.Table | None, engine: Each) -> "ComparedBefore":
        """What stands of a previous table `compared`."""
        no_rows = np.empty(0, np.uint64)
        if compared is None:
            return cls(rows=no_rows, duplicates=no_rows.reshape(0, 2))
        uids = pa.concat_arrays([compared[name].combine_chunks() for name in ("uid", "twin")]).drop_null().unique()
        parts = engine.partitions(f"{search.kind.step}: compared before", partial(_rows_of, search, counts, uids))
        places, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        row_of = np.zeros(len(uids), np.uint64)
        row_of[places] = rows
        stands = np.zeros(len(uids), np.bool_)
        stands[places] = True
        drawn = uid_places(compared["uid"], uids)
        twins = uid_places(compared["twin"], uids)
        both_stand = stands[drawn] & (twins >= 0) & stands[twins]
        pairs = np.stack([row_of[drawn[both_stand]], row_of[twins[both_stand]]], axis=1)
        return cls(rows=np.unique(row_of[drawn[stands[drawn]]]), duplicates=np.sort(pairs, axis=1))


def measured_recall(
    search: PairSearch, firsts: Sequence[FirstRows], compared: pa.Table | None, linked: tuple[Words, Ints], engine: Each
) -> Recall | None:
    """The recall of a search, whose `linked` rows are of these components; None of an exact one.

    compared: the table of that name of a run before.
    """
    comparisons = search.kind.comparisons
    if comparisons is None:
        return None
    draws = np.concatenate([first.draws for first in firsts])
    order = np.argsort(draws, kind="stable")[: drawn_count(sum(first.searched for first in firsts), comparisons)]
    drawn = np.sort(np.concatenate([first.drawn for first in firsts])[order])
    counts = [first.n for first in firsts]
    previous = ComparedBefore.of(search, counts, compared, engine)
    is_compared = np.isin(drawn, previous.rows)
    compare = partial(_duplicates_of, search, counts, drawn, is_compared)
    stand = previous.duplicates[np.isin(previous.duplicates, drawn[is_compared]).any(axis=1)]
    parts = [stand, *engine.partitions(f"{search.kind.step}: recall", compare)]
    pairs = np.unique(np.concatenate(parts), axis=0)
    rows = np.union1d(drawn, pairs.ravel())
    uids, component = search.files.column("uid", rows), _components_of(rows, *linked)
    return recall_among(uids, np.searchsorted(rows, drawn), np.searchsorted(rows, pairs).reshape(-1, 2), component)


def _components_of(rows: Words, linked: Words, component: Ints) -> Ints:
    """The components of rows, by those of linked ones; a row that is not linked is alone in its own."""
    of_row = -1 - np.arange(len(rows))
    places = np.searchsorted(linked, rows)
    is_linked = places < len(linked)
    is_linked[is_linked] = linked[places[is_linked]] == rows[is_linked]
    of_row[is_linked] = component[places[is_linked]]
    return of_row


def _rows_of(search: PairSearch, counts: Sequence[int], uids: pa.Array, run: Run) -> tuple[Ints, Words]:
    """The places of those of `uids` that a partition has and that are searched as before, and their rows."""
    rows, _ = search.rows_where(run.part.number, "first", counts[run.part.number])
    rows = rows[~search.files.numbers("anew", rows)]
    places = uid_places(pa.chunked_array([search.files.column("uid", rows)]), uids)
    return places[places >= 0], rows[places >= 0]


def _duplicates_of(search: PairSearch, counts: Sequence[int], drawn: Words, is_compared: Flags, run: Run) -> Words:
    """The duplicates (k, 2), by number, of drawn rows in a partition; where `is_compared`, among the new rows alone."""
    firsts, _ = search.rows_where(run.part.number, "first", counts[run.part.number])
    anew = firsts[search.files.numbers("anew", firsts)] if is_compared.any() else firsts[:0]
    wanted = firsts if not is_compared.all() else anew
    rows = np.union1d(drawn, wanted)
    compared, pairs = search.kind.compared(search.files, rows), [np.empty((0, 2), np.uint64)]
    for left_rows, right_rows in ((drawn[~is_compared], firsts), (drawn[is_compared], anew)):
        if len(left_rows) and len(right_rows):
            left, right = compared.all_duplicates(np.searchsorted(rows, left_rows), np.searchsorted(rows, right_rows))
            pairs.append(np.stack([rows[left], rows[right]], axis=1))
    return np.concatenate(pairs)
