"""The recall of a search over partitions: drawn rows are compared with those of every partition.

Rows that a previous search drew are compared with what is searched anew alone: changed pairs, and those that have lost
an end of an edge, which may have been one of several equal ones before. Other duplicates that it found still are some.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Flags, Ints, Words
from evenly.curation.duplicates.incremental import uid_places
from evenly.curation.duplicates.recall import Recall, drawn_count, recall_among
from evenly.tasks.rebuild.duplicates.kinds import PairSearch
from evenly.tasks.rebuild.duplicates.search import FirstRows
from evenly.tasks.run import Each, Run


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedBefore:
    """Rows that were compared with all before, and the duplicates (k, 2) of these that still are; both by number."""

    rows: Words
    duplicates: Words

    @classmethod
    def of(cls, search: PairSearch, counts: Sequence[int], compared: pa.Table | None, each: Each) -> "ComparedBefore":
        """What stands of a previous table `compared`."""
        none = np.empty(0, np.uint64)
        if compared is None:
            return cls(rows=none, duplicates=none.reshape(0, 2))
        uids = pa.concat_arrays([compared[name].combine_chunks() for name in ("uid", "twin")]).drop_null().unique()
        parts = each.partitions(f"{search.kind.step}: compared before", partial(_rows_of, search, counts, uids))
        places, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        row_of = np.zeros(len(uids), np.uint64)
        row_of[places] = rows
        stands = np.zeros(len(uids), np.bool_)
        stands[places] = True
        drawn = uid_places(compared["uid"], uids)
        twins = uid_places(compared["twin"], uids)
        both = stands[drawn] & (twins >= 0) & stands[twins]
        pairs = np.stack([row_of[drawn[both]], row_of[twins[both]]], axis=1)
        return cls(rows=np.unique(row_of[drawn[stands[drawn]]]), duplicates=np.sort(pairs, axis=1))


def measured_recall(
    search: PairSearch, firsts: Sequence[FirstRows], compared: pa.Table | None, linked: tuple[Words, Ints], each: Each
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
    before = ComparedBefore.of(search, counts, compared, each)
    known = np.isin(drawn, before.rows)
    compare = partial(_duplicates_of, search, counts, drawn, known)
    stand = before.duplicates[np.isin(before.duplicates, drawn[known]).any(axis=1)]
    parts = [stand, *each.partitions(f"{search.kind.step}: recall", compare)]
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
    found = uid_places(pa.chunked_array([search.files.column("uid", rows)]), uids)
    return found[found >= 0], rows[found >= 0]


def _duplicates_of(search: PairSearch, counts: Sequence[int], drawn: Words, known: Flags, run: Run) -> Words:
    """The duplicates (k, 2), by number, of drawn rows among those of a partition; of `known` ones those not known."""
    own, _ = search.rows_where(run.part.number, "first", counts[run.part.number])
    anew = own[search.files.numbers("anew", own)] if known.any() else own[:0]
    wanted = own if not known.all() else anew
    rows = np.union1d(drawn, wanted)
    compared, pairs = search.kind.compared(search.files, rows), [np.empty((0, 2), np.uint64)]
    for some, others in ((drawn[~known], own), (drawn[known], anew)):
        if len(some) and len(others):
            left, right = compared.all_duplicates(np.searchsorted(rows, some), np.searchsorted(rows, others))
            pairs.append(np.stack([rows[left], rows[right]], axis=1))
    return np.concatenate(pairs)
