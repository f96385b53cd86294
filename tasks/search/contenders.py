"""The few pairs that may be nearest to a query, out of any number: pairs and features are each read once.

Both are cut by the id of the features into files that are removed afterwards, a partition of which fits into memory. Of
features only scores in single precision go there: the pairs that these leave are for who compares exactly.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.retrieve import least_contender, rough_scores
from evenly.features.unit_rows import Single
from evenly.storage.feature_store import FeatureStore
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.tasks.search.pairs import COMPARED

_PAIRS, _ROWS = "pairs", "rows"
_WRITER = "search"


@dataclass(kw_only=True)
class SearchedCounts:
    """Pairs that were compared, and those that could not be: without a picture or caption, or without its features."""

    searched: int = 0
    without_any: int = 0
    without_features: int = 0


@dataclass(frozen=True, kw_only=True)
class ContenderSearch:
    """A query (d,), the features that are compared with it, and how many of the nearest are asked for.

    exchange: a folder for files that are removed. bits: of the 2**bits parts into which pairs and features are cut.
    """

    query: Single
    store: FeatureStore
    top: int
    exchange: Path
    bits: int

    def contenders(self, pairs: Iterable[pa.Table], counts: SearchedCounts) -> pa.Table:
        """The pairs (uid, feature_id) that may have one of the `top` nearest rows, sorted by uid; more, if any.

        All pairs are counted. Held is a part of the pairs at a time, and of the answer what scores alike.
        """
        with open_exchange(self.exchange, _WRITER) as folder:
            send_rows(folder / _PAIRS, _WRITER, self.bits, "feature_id", _with_id(pairs, counts))
            send_rows(folder / _ROWS, _WRITER, self.bits, "id", self._scored())
            best, left = np.zeros(0, np.float32), list[pa.Table]()
            for part in range(1 << self.bits):
                shown = _joined(received_rows(folder / _PAIRS, part), received_rows(folder / _ROWS, part), counts)
                if shown is None:
                    continue
                by_row = shown.group_by("feature_id").aggregate([("score", "min")])["score_min"].to_numpy()
                best = np.sort(np.concatenate([best, by_row]))[-self.top :]
                least = least_contender(best, self.top)
                left = [table.filter(pc.greater_equal(table["score"], least)) for table in (*left, shown)]
        if not left:
            return COMPARED.empty_table()
        return pa.concat_tables(left).select(COMPARED.names).cast(COMPARED).sort_by("uid")

    def _scored(self) -> Iterator[pa.Table]:
        """Id and score of all rows."""
        for ids, rows in self.store.each():
            yield pa.table({"id": ids, "score": rough_scores(self.query[None], rows)[0]})


def _with_id(pairs: Iterable[pa.Table], counts: SearchedCounts) -> Iterator[pa.Table]:
    for table in pairs:
        shown = table.filter(pc.is_valid(table["feature_id"]))
        counts.without_any += table.num_rows - shown.num_rows
        yield shown


def _joined(pairs: list[pa.Table], rows: list[pa.Table], counts: SearchedCounts) -> pa.Table | None:
    """The pairs of a part that have features, with their scores; None where there are no pairs."""
    if not pairs:
        return None
    shown = pa.concat_tables(pairs)
    if not rows:
        counts.without_features += shown.num_rows
        return None
    scored = pa.concat_tables(rows).combine_chunks()
    places = pc.index_in(shown["feature_id"].combine_chunks(), scored["id"].combine_chunks())
    has_features = pc.is_valid(places)
    counts.without_features += places.null_count
    counts.searched += shown.num_rows - places.null_count
    return shown.filter(has_features).append_column("score", scored["score"].take(places.drop_null()))
