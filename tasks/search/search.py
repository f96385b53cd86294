"""The pairs of a build nearest to a query: exact, in memory that does not grow with the build.

The few that may be nearest come out of any number: pairs and features are each read once. Both are cut by the id of the
features into files that are removed afterwards, a partition of which fits into memory. Of features only scores in
single precision go there: the pairs that these leave are compared exactly.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.retrieve import least_contender, rough_scores
from evenly.features.search.nearest import nearest_rows
from evenly.features.unit_rows import Single
from evenly.storage.builds import encoder_of
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.storage.tables.partitions import MAX_BITS
from evenly.tasks.run import Run
from evenly.tasks.search.index import BINARY, NEAREST, FeatureIndex
from evenly.tasks.search.pairs import (
    CAPTIONS,
    COMPARED,
    PICTURES,
    REGIONS,
    WITHIN,
    Query,
    SearchedPairs,
    Selection,
    encode_query,
)
from evenly.tasks.search.regions import nearest_regions

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


PAIRS_AT_ONCE = 1 << 20
"""Pairs whose ids are held together; of more, those that may be the nearest are found first."""
_MOST_CANDIDATES = 20_000  # of an index; then all is searched exactly
_STORED_AS = {PICTURES: "images", CAPTIONS: "texts"}
_RANKED = COMPARED.append(pa.field("score", pa.float64()))


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The nearest pairs, best first, of equal scores the smaller uid, and what was looked through.

    within: pictures, captions or regions. rows: rank, uid, score (the cosine of that and the query; of a region also
    region, region_label and box), caption, verdict, step, reason, value, into, image_id and what else people know a
    pair by. pairs: how many the build has; matched: of the selection; without_picture (or without_caption) and
    without_features: of these those that cannot be compared; searched: the others, of regions the pairs that have any.
    With an index, which is then there with its facts, searched are the pairs of its candidates
    alone; `unindexed` pictures are newer than it.
    """

    build: str
    rows: list[dict[str, Any]]
    pairs: int
    matched: int
    searched: int
    within: str = PICTURES
    without_picture: int | None = None
    without_caption: int | None = None
    without_features: int | None = None
    index: dict[str, Any] | None = None
    unindexed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return dict(vars(self))

    @property
    def notes(self) -> list[str]:
        """Sentences on what was looked through and what could not be."""
        notes = [f"{self.searched:,} of {self.pairs:,} pairs searched"]
        if self.index is not None:
            recall = ", ".join(f"{share:.3f} of {kind}" for kind, share in self.index["recall"].items())
            share = self.index["looks_at"]["shortlist"]
            notes.append(
                f"by the index {self.index['kind']}, which finds {recall} among the nearest ten, "
                f"by a shortlist of {share:.2%} of the rows".replace("%", " %")
            )
        if self.unindexed:
            treatment = (
                "not searched: run `evenly index` again"
                if self.index and self.index["kind"] == BINARY
                else "searched beside it"
            )
            notes.append(f"{self.unindexed:,} pictures are newer than the index, and {treatment}")
        if self.matched < self.pairs:
            notes.append(f"{self.pairs - self.matched:,} are not of the rows that were asked for")
        if self.without_picture:
            notes.append(f"{self.without_picture:,} have no picture: they went before it was fetched or read")
        if self.without_caption:
            notes.append(f"{self.without_caption:,} have no caption")
        if self.without_features:
            notes.append(f"{self.without_features:,} went before their {self.within[:-1]} was encoded")
        if self.without_picture or self.without_features:
            notes.append("no search finds these: `evenly why`, by file name, URL or uid, says why each is out")
        return notes


def search_build(
    run: Run,
    manifest: Mapping[str, Any],
    query: Query,
    *,
    selection: Selection | None = None,
    top: int = 20,
    index: str | None = None,
    within: str = PICTURES,
) -> SearchResult:
    """The `top` pairs of a selection whose pictures, or captions, are nearest to a query; fewer where there are fewer.

    The answer is that of scoring every pair, whatever the partitions and block sizes; with an `index`, of scoring its
    candidates, or all where these give too few pairs of the selection. Raises InputError.
    """
    if top < 1:
        raise InputError(f"`top` must be at least 1; got {top}. Ask for some.")
    if within not in WITHIN:
        raise InputError(f"`in` must be pictures, captions or regions; got `{within}`. Choose one.")
    if index is not None and within != PICTURES:
        raise InputError(f"`index` must be left out where {within} are searched; got `{index}`, which is of pictures.")
    pairs = SearchedPairs(run.workspace, manifest, selection or Selection())
    row = encode_query(run, manifest, query)
    if within == REGIONS:
        nearest, searched = nearest_regions(run, manifest, row, pairs, top)
        facts = pairs.facts(sorted({hit["uid"] for hit in nearest}))
        return SearchResult(
            build=str(manifest["build"]),
            rows=[{"rank": rank} | hit | facts[hit["uid"]] for rank, hit in enumerate(nearest, 1)],
            pairs=int(manifest["samples"]["rows"]),
            matched=pairs.matched,
            searched=searched,
            within=within,
        )
    store = FeatureStore(run.workspace, encoder_of(manifest), _STORED_AS[within])
    opened = None if index is None else FeatureIndex(run.workspace, encoder_of(manifest), index)
    if opened is not None:
        candidates = _of_candidates(opened, store, row, pairs, top)
        if candidates is not None:
            return SearchResult(
                build=str(manifest["build"]),
                rows=_with_facts(_best(candidates, top), pairs),
                pairs=int(manifest["samples"]["rows"]),
                matched=pairs.matched,
                searched=candidates.num_rows,
                index=opened.facts.to_dict(),
                unindexed=opened.unindexed,
            )
    ranked, counts = _ranked(run, store, row, pairs, top=top, within=within)
    return SearchResult(
        build=str(manifest["build"]),
        rows=_with_facts(ranked, pairs),
        pairs=int(manifest["samples"]["rows"]),
        matched=pairs.matched,
        searched=counts.searched,
        within=within,
        without_picture=counts.without_any if within == PICTURES else None,
        without_caption=counts.without_any if within == CAPTIONS else None,
        without_features=counts.without_features,
    )


def _of_candidates(
    index: FeatureIndex, store: FeatureStore, query: Single, pairs: SearchedPairs, top: int
) -> pa.Table | None:
    """The pairs of a selection that show an index's candidates; None where even many give fewer than `top`."""
    count = index.facts.candidates * -(-top // NEAREST)
    while count <= min(_MOST_CANDIDATES, index.facts.rows):
        ids = pa.array(sorted(set(index.candidates(query, count))), pa.string())
        places, scores = nearest_rows(query, store.stored_batches(ids), len(ids))
        images = ids.take(pa.array(places))
        shown = pairs.with_image_ids(images)
        if shown.num_rows >= top:
            numbers = pc.index_in(shown["image_id"].combine_chunks(), images)
            scored = shown.append_column("score", pa.array(scores).take(numbers))
            return scored.rename_columns(_RANKED.names).cast(_RANKED)
        count *= 8
    return None


def _ranked(
    run: Run, store: FeatureStore, query: Single, pairs: SearchedPairs, *, top: int, within: str
) -> tuple[pa.Table, SearchedCounts]:
    """The best pairs of a selection, and how many were compared; the features are read once."""
    counts = SearchedCounts()
    gathered = _gathered(pairs.compared(within), PAIRS_AT_ONCE)
    if gathered is not None:
        return _best(_nearest(store, query, gathered, top, counts), top), counts
    rows = max(int(pairs.manifest["samples"]["rows"]), store.count())
    bits = min(MAX_BITS, (2 * rows // PAIRS_AT_ONCE).bit_length())
    search = ContenderSearch(query=query, store=store, top=top, exchange=run.exchange, bits=bits)
    contenders = search.contenders(pairs.compared(within), counts)
    ranked = _RANKED.empty_table()
    for start in range(0, contenders.num_rows, PAIRS_AT_ONCE):
        batch = contenders.slice(start, PAIRS_AT_ONCE)
        ranked = _best(pa.concat_tables([ranked, _nearest(store, query, batch, top, SearchedCounts())]), top)
    return ranked, counts


def _nearest(store: FeatureStore, query: Single, pairs: pa.Table, top: int, counts: SearchedCounts) -> pa.Table:
    """The best of some pairs, and perhaps more with the same pictures or captions.

    These are ordered by the first uid that has them: so the best pairs all have one of the `top` first.
    """
    having = pairs.filter(pc.is_valid(pairs["feature_id"]))
    stored = having["feature_id"].combine_chunks().dictionary_encode()
    has_features = np.zeros(len(stored.dictionary), np.bool_)

    def noted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for places, vectors in store.stored_batches(stored.dictionary):
            has_features[places] = True
            yield places, vectors

    places, scores = nearest_rows(query, noted(), top)
    numbers = stored.indices.to_numpy()
    searched = int(has_features[numbers].sum())
    counts.searched += searched
    counts.without_any += pairs.num_rows - having.num_rows
    counts.without_features += having.num_rows - searched
    by_row = np.full(len(stored.dictionary), np.nan)
    by_row[places] = scores
    by_pair = by_row[numbers]
    chosen = np.flatnonzero(~np.isnan(by_pair))
    return having.take(pa.array(chosen)).append_column("score", pa.array(by_pair[chosen])).cast(_RANKED)


def _best(ranked: pa.Table, top: int) -> pa.Table:
    return ranked.sort_by([("score", "descending"), ("uid", "ascending")]).slice(0, top)


def _with_facts(ranked: pa.Table, pairs: SearchedPairs) -> list[dict[str, Any]]:
    facts = pairs.facts(ranked["uid"].to_pylist())
    return [
        {"rank": rank, "uid": row["uid"], "score": row["score"]} | facts[row["uid"]]
        for rank, row in enumerate(ranked.to_pylist(), 1)
    ]


def _gathered(tables: Iterable[pa.Table], most: int) -> pa.Table | None:
    """Tables put together, COMPARED, where they have fewer rows than `most`; None where they have more."""
    gathered, count = [COMPARED.empty_table()], 0
    for table in tables:
        gathered.append(table)
        count += table.num_rows
        if count >= most:
            return None
    return pa.concat_tables(gathered).combine_chunks()


_PAIRS, _ROWS = "pairs", "rows"
