"""Rows on their way to another cut and back: those of one picture, or of one URL, meet in a partition of its key.

Among them observations of URLs and pictures, never all at once, and sources of features: vectors, places of bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features import to_unit_rows
from evenly.storage.feature_store import OF_POOL, FeatureStore
from evenly.storage.pools.rows import PoolPiece
from evenly.storage.pools.source import FEATURES_KIND, PoolError, PoolSource, local_features, pool_pieces
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.exchange import RowExchange, new_exchange
from evenly.storage.web.images import PLACES, find_places, places_of
from evenly.storage.web.measured import read_measured
from evenly.storage.web.shards import latest_records, read_shards, shard_names, url_keys
from evenly.tasks.encoders import open_encoder
from evenly.tasks.engine import CHUNKS
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged

ItemT = TypeVar("ItemT")
_ROWS = "sent"
Give = Callable[[Run], pa.Table]
"""What a partition sends; the run says which it is."""


@dataclass(frozen=True, kw_only=True)
class SentRows(Exchanged):
    """Rows of all partitions, parted by a key of theirs.

    empty: a table without rows. exchange: where they lie.
    """

    empty: pa.Table
    exchange: RowExchange

    def of(self, run: Run) -> pa.Table:
        """The rows whose key is in the run's partition; those of one sender as it sent them, senders in order."""
        rows = [table for table in self.exchange.received(_ROWS, run.part.number) if table.num_rows] or [self.empty]
        return pa.concat_tables(rows).combine_chunks()  # a single one is not copied


def alive(upstream: Records, columns: Sequence[str], run: Run) -> pa.Table:
    """The pairs of a run's partition that all records kept, with these columns."""
    return run.ledger.alive(upstream, columns)


def send_partitions(run: Run, engine: Each, title: str, key: str, give: Give) -> SentRows:
    """Send what every partition gives to the partitions of `key`, text that begins with hex digits.

    Partitions give tables of equal columns.
    """
    return _sent(run, key, lambda exchange: engine.partitions(title, partial(_send_partition, exchange, key, give)))


def send_items(
    run: Run,
    engine: Each,
    title: str,
    key: str,
    *,
    give: Callable[[Run, ItemT], Iterable[pa.Table]],
    items: Sequence[ItemT],
) -> SentRows:
    """Send the tables that every one of `items` gives, at least one of them, each of equal columns."""
    queue = list(enumerate(items))
    return _sent(run, key, lambda exchange: list(engine.items(title, partial(_send_item, exchange, key, give), queue)))


def _sent(run: Run, key: str, send: Callable[[RowExchange], Sequence[Sequence[pa.Schema]]]) -> SentRows:
    with ExitStack() as undone:
        exchange = undone.enter_context(new_exchange(run.exchange, key, run.bits))
        schemas = [schema for sent in send(exchange) for schema in sent]
        undone.pop_all()
    return SentRows(empty=schemas[0].empty_table(), exchange=exchange)


def _send_partition(exchange: RowExchange, key: str, give: Give, run: Run) -> list[pa.Schema]:
    return exchange.send(_ROWS, run.part.number, key, give(run))


def _send_item(
    exchange: RowExchange,
    key: str,
    give: Callable[[Run, ItemT], Iterable[pa.Table]],
    run: Run,
    item: tuple[int, ItemT],
) -> list[pa.Schema]:
    number, value = item
    return exchange.send(_ROWS, f"{number:07d}", key, give(run, value))


@dataclass(frozen=True, kw_only=True)
class PicturePlaces(Exchanged):
    """Where the bytes of pictures lie (PLACES): sent by image_id; None: in one partition, looked up as it is needed.

    A small run in a workspace of many pictures never holds the places of all.
    """

    sent: SentRows | None = None

    def of(self, run: Run, image_ids: Sequence[str] | pa.Array) -> pa.Table:
        """The rows of pictures of the run's partition, and perhaps of others."""
        return find_places(run.workspace.downloads, image_ids) if self.sent is None else self.sent.of(run)


@dataclass(frozen=True, kw_only=True)
class PictureSources(Exchanged):
    """Where features of pictures come from: by default they are looked for as they are needed.

    vectors: those of pools of features [image_id, vector, norm], of unit length, by image_id; None: not sent.
    """

    vectors: SentRows | None = None
    places: PicturePlaces = field(default_factory=PicturePlaces)


def send_sources(run: Run, engine: Each) -> PictureSources:
    """The sources of features, sent where the run has partitions."""
    if not run.bits:
        return PictureSources()
    pieces = [
        (source, piece) for source in run.sources if source.kind == FEATURES_KIND for piece in pool_pieces(source)
    ]
    vectors = None
    if pieces:
        give = partial(_vectors, open_encoder(run).dimension)
        vectors = send_items(run, engine, "reading features", "image_id", give=give, items=pieces)
    try:
        return PictureSources(vectors=vectors, places=send_places(run, engine))
    except BaseException:
        PictureSources(vectors=vectors).release()
        raise


def take_vectors(store: FeatureStore, wanted: list[str], vectors: pa.Table) -> None:
    """Store those of the vectors whose pictures are wanted, each once."""
    names = vectors["image_id"].combine_chunks()
    places = pc.index_in(pa.array(wanted, pa.string()), names)
    rows = vectors.take(places.drop_null()).combine_chunks()
    column = rows["vector"].combine_chunks()
    matrix = column.flatten().to_numpy().reshape(len(column), -1)
    store.append(rows["image_id"].to_pylist(), matrix, rows["norm"].to_numpy(), device=OF_POOL)


def check_dimension(dimension: int, vectors: np.ndarray, path: str | Path) -> None:
    """Raise PoolError unless vectors (n, d) of a pool are as long as those of the run's encoder."""
    if vectors.shape[1] != dimension:
        raise PoolError(
            f"`vector` must be features of the recipe's encoder, of {dimension} numbers; got {vectors.shape[1]} in "
            f"`{path}`. Name the encoder that made them in `features`."
        )


def _vectors(dimension: int, _run: Run, piece: tuple[PoolSource, PoolPiece]) -> Iterator[pa.Table]:
    source, files = piece
    for rows in local_features(source, files):
        check_dimension(dimension, rows.vectors, source.path)
        usable = rows.ids.is_valid()
        unit, norms = to_unit_rows(rows.vectors[usable.to_numpy(zero_copy_only=False)])
        flat = pa.array(np.ascontiguousarray(unit, dtype=np.float16).reshape(-1))
        yield pa.table(
            {
                "image_id": rows.ids.filter(usable),
                "vector": pa.FixedSizeListArray.from_arrays(flat, unit.shape[1]),
                "norm": pa.array(np.asarray(norms, dtype=np.float32)),
            }
        )


SHARDS = 64  # whose records one worker reads after another, at most
FETCHED = 4  # of these, how many are asked of an object store at once
URL_KEY = "url_key"


def with_url_keys(run: Run, pairs: pa.Table) -> pa.Table:
    """Rows with the column by which those of one URL meet, where a run has partitions."""
    return pairs.append_column(URL_KEY, url_keys(pairs["url"])) if run.bits else pairs


def send_records(run: Run, engine: Each, columns: Sequence[str]) -> SentRows:
    """Every observation there is [url, url_key, attempt, columns], by the keys of URLs."""
    wanted = list(dict.fromkeys(["url", "attempt", *columns]))
    return send_items(
        run, engine, "sorting records", URL_KEY, give=partial(_records, wanted), items=_chunks(run)
    )  # fmt: skip


def send_places(run: Run, engine: Each) -> PicturePlaces:
    """Where the bytes of pictures lie; used in a `with`, or released at the end."""
    if not run.bits:
        return PicturePlaces()
    return PicturePlaces(sent=send_items(run, engine, "sorting places", "image_id", give=_places, items=_chunks(run)))


def send_measured(run: Run, engine: Each, measure: str) -> SentRows:
    """[image_id, value] of pictures for which a value of `measure` is stored, by image_id."""
    return send_items(
        run, engine, f"sorting {measure}s", "image_id", give=partial(_measured, measure), items=_chunks(run)
    )


def send_observed(run: Run, engine: Each, title: str, pairs: Give, columns: Sequence[str]) -> SentRows:
    """[uid, columns] of the last observation of the URL of each pair, by uid; nulls where there is none.

    pairs: gives [uid, url] of a partition.
    """
    with (
        send_partitions(run, engine, "sorting URLs", URL_KEY, partial(_keyed, pairs)) as urls,
        send_records(run, engine, columns) as records,
    ):
        return send_partitions(run, engine, title, "uid", partial(_observed, urls, records, list(columns)))


def rows_of_uids(rows: pa.Table, uids: pa.Array) -> pa.Table:
    """The row of each of `uids`, which are all there, in their order."""
    return rows.take(pc.index_in(uids, rows["uid"].combine_chunks()))


def _keyed(pairs: Give, run: Run) -> pa.Table:
    return with_url_keys(run, pairs(run))


def _observed(urls: SentRows, records: SentRows, columns: list[str], run: Run) -> pa.Table:
    pairs, latest = urls.of(run), latest_records(records.of(run))
    places = pc.index_in(pairs["url"].combine_chunks(), latest["url"].combine_chunks())
    return pa.table({"uid": pairs["uid"], **{name: latest[name].take(places) for name in columns}})


def _records(columns: list[str], run: Run, shards: Sequence[str]) -> Iterator[pa.Table]:
    for names in _together(run, shards):
        yield with_url_keys(run, read_shards(run.workspace.downloads, names, columns))


def _places(run: Run, shards: Sequence[str]) -> Iterator[pa.Table]:
    for names in _together(run, shards):
        yield places_of(read_shards(run.workspace.downloads, names, [*PLACES, "verdict"]))


def _measured(measure: str, run: Run, shards: Sequence[str]) -> Iterator[pa.Table]:
    for names in _together(run, shards):
        yield read_measured(run.workspace.downloads, measure, names)


def _chunks(run: Run) -> list[list[str]]:
    """All shards, in lists that workers read: some for each, and at least one, which may be empty."""
    names = shard_names(run.workspace.downloads)
    size = min(SHARDS, max(1, -(-len(names) // (CHUNKS * run.processes))))
    return [names[start : start + size] for start in range(0, max(1, len(names)), size)]


def _together(run: Run, shards: Sequence[str]) -> Iterator[Sequence[str]]:
    """Shards that are read at once: one, and of an object store a few."""
    size = FETCHED if isinstance(run.workspace.downloads, ObjectPath) else 1
    yield from (shards[start : start + size] for start in range(0, max(1, len(shards)), size))
