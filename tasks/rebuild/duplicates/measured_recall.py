"""The recall of a search over partitions: drawn rows are compared with those of every partition."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, Words
from evenly.curation.duplicates.recall import Recall, drawn_count, recall_among
from evenly.tasks.moves import Each
from evenly.tasks.rebuild.duplicates.pair_search import PairSearch
from evenly.tasks.rebuild.duplicates.search import FirstRows
from evenly.tasks.run import Run


def measured_recall(
    search: PairSearch, firsts: Sequence[FirstRows], linked: Words, component: Ints, each: Each
) -> tuple[dict[str, Any], pa.Table | None]:
    """The notes and the table `compared` of a search, whose `linked` rows are of these components; none of an exact."""
    comparisons = search.kind.comparisons
    if comparisons is None:
        return {}, None
    draws = np.concatenate([first.draws for first in firsts])
    order = np.argsort(draws, kind="stable")[: drawn_count(sum(first.searched for first in firsts), comparisons)]
    drawn = np.sort(np.concatenate([first.drawn for first in firsts])[order])
    counts = [first.n for first in firsts]
    compare = partial(_duplicates_of, search, counts, drawn)
    pairs = np.concatenate(each.partitions(f"{search.kind.step}: recall", compare))
    recall = _recall(search, drawn, np.unique(pairs, axis=0), linked, component)
    return recall.notes, recall.compared


def _duplicates_of(search: PairSearch, counts: Sequence[int], drawn: Words, run: Run) -> Words:
    """The duplicates (k, 2), by number, of drawn rows among those of a partition."""
    own, _ = search.rows_where(run.part.number, "first", counts[run.part.number])
    rows = np.union1d(drawn, own)
    compared = search.kind.compared(search.files, rows)
    left, right = compared.all_duplicates(np.searchsorted(rows, drawn), np.searchsorted(rows, own))
    return np.stack([rows[left], rows[right]], axis=1)


def _recall(search: PairSearch, drawn: Words, pairs: Words, linked: Words, component: Ints) -> Recall:
    """The recall over pairs (k, 2), by number: a row that is not linked is alone in its component."""
    rows = np.union1d(drawn, pairs.ravel())
    of_row = -1 - np.arange(len(rows))
    places = np.searchsorted(linked, rows)
    is_linked = places < len(linked)
    is_linked[is_linked] = linked[places[is_linked]] == rows[is_linked]
    of_row[is_linked] = component[places[is_linked]]
    uids = search.files.column("uid", rows)
    return recall_among(uids, np.searchsorted(rows, drawn), np.searchsorted(rows, pairs).reshape(-1, 2), of_row)
