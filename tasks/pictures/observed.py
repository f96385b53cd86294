"""Observations of URLs and pictures, sent to where they are looked for: never all of them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.web.images import PLACES, find_places, places_of
from evenly.storage.web.measured import read_measured
from evenly.storage.web.shards import latest_records, read_shards, shard_names, url_keys
from evenly.tasks.engine import CHUNKS
from evenly.tasks.pictures.sent_rows import Give, SentRows, release_rows, send_items, send_partitions
from evenly.tasks.run import Each, Run

SHARDS = 64  # whose records one worker reads after another, at most
FETCHED = 4  # of these, how many are asked of an object store at once
URL_KEY = "url_key"


def with_url_keys(run: Run, pairs: pa.Table) -> pa.Table:
    """Rows with the column by which those of one URL meet, where a run has partitions."""
    return pairs.append_column(URL_KEY, url_keys(pairs["url"])) if run.bits else pairs


def send_records(run: Run, each: Each, columns: Sequence[str]) -> SentRows:
    """Every observation there is [url, url_key, attempt, columns], by the keys of URLs."""
    wanted = list(dict.fromkeys(["url", "attempt", *columns]))
    return send_items(
        run, each, "sorting records", URL_KEY, give=partial(_records, wanted), items=_chunks(run)
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PicturePlaces:
    """Where the bytes of pictures lie (PLACES): sent by image_id; None: in one partition, looked up as it is needed.

    A small run in a workspace of many pictures never holds the places of all.
    """

    sent: SentRows | None = None

    def of(self, run: Run, image_ids: Sequence[str] | pa.Array) -> pa.Table:
        """Those of pictures of the run's partition, and perhaps of others."""
        return find_places(run.workspace.downloads, image_ids) if self.sent is None else self.sent.of(run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        release_rows(self.sent)


def send_places(run: Run, each: Each) -> PicturePlaces:
    """Where the bytes of pictures lie; used in a `with`, or released at the end."""
    if not run.bits:
        return PicturePlaces()
    return PicturePlaces(sent=send_items(run, each, "sorting places", "image_id", give=_places, items=_chunks(run)))


def send_measured(run: Run, each: Each, measure: str) -> SentRows:
    """[image_id, value] of pictures for which a value of `measure` is stored, by image_id."""
    return send_items(
        run, each, f"sorting {measure}s", "image_id", give=partial(_measured, measure), items=_chunks(run)
    )


def send_observed(run: Run, each: Each, title: str, pairs: Give, columns: Sequence[str]) -> SentRows:
    """[uid, columns] of the last observation of the URL of each pair, by uid; nulls where there is none.

    pairs: gives [uid, url] of a partition.
    """
    with (
        send_partitions(run, each, "sorting URLs", URL_KEY, partial(_keyed, pairs)) as asked,
        send_records(run, each, columns) as records,
    ):
        return send_partitions(run, each, title, "uid", partial(_observed, asked, records, list(columns)))


def rows_of_uids(rows: pa.Table, uids: pa.Array) -> pa.Table:
    """The row of each of `uids`, which are all there, in their order."""
    return rows.take(pc.index_in(uids, rows["uid"].combine_chunks()))


def _keyed(pairs: Give, run: Run) -> pa.Table:
    return with_url_keys(run, pairs(run))


def _observed(asked: SentRows, records: SentRows, columns: list[str], run: Run) -> pa.Table:
    pairs, latest = asked.of(run), latest_records(records.of(run))
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
