"""Download: fetch each URL once, take pictures at hand, then say of each pair what was observed of its URL."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation import collecting
from evenly.curation.decisions import Decisions
from evenly.curation.reservations.mechanisms import SITE_NOT_READ, refused_by
from evenly.curation.reservations.rule import PoolDownload
from evenly.keys import LOCAL_ADDRESS
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.features import SIZES, as_size
from evenly.storage.pools.local_pictures import (
    LocatedPicture,
    WantedPictures,
    record_features,
    take_missing_pictures,
)
from evenly.storage.pools.local_rows import FEATURES, LOCAL
from evenly.storage.pools.source import local_pictures
from evenly.storage.removal.forget import FORGOTTEN, ForgetList, read_forgotten
from evenly.storage.stores.writer_lock import described_holder, lock_holder, waited_lock
from evenly.storage.tables.hashing import table_hash
from evenly.storage.tables.partitions import Partition
from evenly.storage.web.decoding import CheckedPicture, PictureChecks
from evenly.storage.web.download import DownloadWorkers, FailureRule, download_pending, pending_urls
from evenly.storage.web.images import PLACES, read_images
from evenly.storage.web.rule import NO_RIGHTS, RIGHTS
from evenly.storage.web.shards import (
    PENDING_BY,
    URLS,
    failures_due,
    latest_records,
    read_downloads,
    records_hash,
)
from evenly.tasks.decoding import FINGERPRINT
from evenly.tasks.pictures.sent_rows import (
    URL_KEY,
    SentRows,
    alive,
    rows_of_uids,
    send_observed,
    send_partitions,
    send_records,
    with_url_keys,
)
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.server.limits import limits_of
from evenly.tasks.step import Step

OBSERVED = ("http_status", "final_url", "content_type", "n_bytes", "image_id", "width", "height", "format")
_FILES = 256  # in memory at once
DOWNLOADING = ".downloading.json"
"""The name of the lock of the run that downloads."""
JUDGED = ("outcome", "verdict", *OBSERVED, "evidence")


def fetch_images(run: Run, upstream: Records, rule: PoolDownload, engine: Each) -> None:
    """Fetch or take what is not recorded yet, once no other run downloads; records are durable shard by shard."""
    lock = run.workspace.locks / DOWNLOADING
    while (holder := _fetch(run, upstream, rule, engine, lock)) is not None:
        run.progress.say(f"{DOWNLOAD.name:<24} waits for the folder of downloads: {described_holder(holder)}")
        with waited_lock(lock):
            pass  # what the other has fetched is looked up, not fetched again


def _fetch(run: Run, upstream: Records, rule: PoolDownload, engine: Each, lock: Path) -> Mapping[str, Any] | None:
    """Fetch or take what is not recorded yet; where another run downloads nothing, and its holder of the `lock`."""
    with run.progress.bar("looking up URLs", None), _pending(run, upstream, engine) as pending:
        counts = _Counts.summed(engine.partitions("counting URLs", partial(_counts, pending)))
        if not counts.local + counts.features + counts.web:
            return None
        with lock_holder(lock) as holder:
            if holder is None:
                _say_asked_again(run, counts.failed)
                _fetch_pending(run, pending, counts, rule)
            return holder


def _fetch_pending(run: Run, pending: SentRows, counts: "_Counts", rule: PoolDownload) -> None:
    of_kind = partial(_parts, run, pending)
    if counts.local:
        with run.progress.bar("taking pictures", counts.local) as advance:
            take_missing_pictures(
                WantedPictures(part["url"].combine_chunks() for part in of_kind(LOCAL)),
                partial(_held, run),
                rule,
                folder=run.workspace.downloads,
                threads=run.processes,
                measure=FINGERPRINT,
                progress=advance,
            )
    if counts.features:
        parts = (part["url"].combine_chunks() for part in of_kind(FEATURES))
        record_features(parts, folder=run.workspace.downloads)
    if counts.web:
        limits = limits_of("web", run.progress, longest_s=rule.timeout_s)
        with run.progress.bar("downloading", counts.web) as advance:
            download_pending(
                of_kind(""),
                rule,
                folder=run.workspace.downloads,
                connect=run.connect,
                workers=DownloadWorkers(processes=run.processes, threads=run.threads, limits=limits),
                failures=FailureRule(tolerate=rule.tolerate),
                measure=FINGERPRINT,
                progress=advance,
            )


class _Counts(NamedTuple):
    """Counts of addresses to be asked for, by kind; failed: of those that failed before, by the reason."""

    local: int
    features: int
    web: int
    failed: Counter[str]

    @classmethod
    def summed(cls, counts: "Sequence[_Counts]") -> "_Counts":
        local, features, web = (sum(numbers) for numbers in zip(*(count[:3] for count in counts), strict=True))
        return cls(local, features, web, failed=sum((count.failed for count in counts), Counter[str]()))


def _say_asked_again(run: Run, failed: Counter[str]) -> None:
    """Note what is asked again for the run's entry in the journal, and say it."""
    run.asked_again.update(failed)
    if failed and run.retry is not None:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.most_common())
        limit = "" if run.retry.until is None else f", recorded by {run.retry.until:%Y-%m-%d %H:%M} UTC"
        run.progress.say(f"{DOWNLOAD.name:<24} asks {failed.total():,} URLs again that failed{limit}: {reasons}")


def _is_due(run: Run, upstream: Records) -> bool:
    """Whether a URL of these pairs that failed is to be asked again."""
    if run.retry is None:
        return False
    return len(failures_due(run.workspace.downloads, run.retry, each_urls(run, upstream))) > 0


def each_urls(run: Run, upstream: Records) -> Iterator[pa.Array]:
    """The URLs of the pairs that are left, partition by partition."""
    return (
        alive(upstream, ["url"], replace(run, part=part))["url"].combine_chunks() for part in Partition.all(run.bits)
    )


def _pending(run: Run, upstream: Records, engine: Each) -> SentRows:
    """The URLs to be asked, as `pending_urls` gives them and `failed_by`, why they failed before; by their keys."""
    with (
        send_partitions(run, engine, "sorting URLs", URL_KEY, partial(_distinct_urls, upstream)) as urls,
        send_records(run, engine, PENDING_BY) as records,
    ):
        return send_partitions(run, engine, "looking up URLs", "key", partial(_pending_of, urls, records))


def _distinct_urls(upstream: Records, run: Run) -> pa.Table:
    return with_url_keys(run, pa.table({"url": run.ledger.alive(upstream, ["url"])["url"].combine_chunks().unique()}))


def _pending_of(sent_urls: SentRows, records: SentRows, run: Run) -> pa.Table:
    urls = sent_urls.of(run)["url"].combine_chunks().unique()
    recorded = records.of(run)
    recorded = latest_records(recorded.filter(pc.is_in(recorded["url"], urls)))
    pending = pending_urls(urls, recorded, run.retry)
    places = pc.index_in(pending["url"].combine_chunks(), recorded["url"].combine_chunks())
    pending = pending.append_column("failed_by", recorded["outcome"].take(places))
    is_web = pc.invert(pc.match_substring_regex(pending["url"], LOCAL_ADDRESS))
    return pending.filter(pc.or_(pc.is_null(places), is_web))  # what is at hand is never asked for again


def _counts(pending: SentRows, run: Run) -> _Counts:
    rows = pending.of(run)
    urls, failed = rows["url"], Counter[str](rows["failed_by"].drop_null().to_pylist())
    local, features = (pc.sum(pc.starts_with(urls, kind)).as_py() or 0 for kind in (LOCAL, FEATURES))
    return _Counts(local=local, features=features, web=len(urls) - local - features, failed=failed)


def _parts(run: Run, pending: SentRows, kind: str) -> Iterator[pa.Table]:
    """Pending rows of a kind, LOCAL, FEATURES or "" for the web's, one partition after the other."""
    for part in Partition.all(run.bits):
        table = pending.of(replace(run, part=part)).select(URLS.names)
        is_local = pc.match_substring_regex(table["url"], LOCAL_ADDRESS)
        yield table.filter(pc.starts_with(table["url"], kind) if kind else pc.invert(is_local))


def _held(run: Run) -> Iterator[LocatedPicture]:
    """The pictures of the sources that are at hand: image_id, and where the bytes lie."""
    for source in run.sources:
        for row in local_pictures(source):
            if row.image_id is not None and row.place is not None:
                yield row.image_id, row.place


def hash_observations(run: Run, upstream: Records, rule: PoolDownload) -> dict[str, str]:
    """The content of what was observed of the URLs of this step's pairs; of all, where the run has partitions.

    And of the forget list, where it has entries: a picture on it is refused wherever it comes from.
    """
    digest = read_forgotten(run.workspace).digest
    listed = {FORGOTTEN: digest} if digest else {}
    if run.bits:
        return {"observations": f"all: {records_hash(run.workspace.downloads)}"} | listed
    urls = run.ledger.alive(upstream, ["url"])["url"].combine_chunks().unique()
    rights = [name for name in RIGHTS if name != "reservation_evidence"] if rule.stores_reservations else []
    columns = ["url", "outcome", "verdict", *OBSERVED, *rights]
    return {"observations": table_hash(read_downloads(run.workspace.downloads, columns, urls=urls))} | listed


def find_observations(run: Run, upstream: Records, rule: PoolDownload, engine: Each) -> SentRows | None:
    """The observation of the URL of each pair, by uid, where the run has partitions."""
    if not run.bits:
        return None
    return send_observed(run, engine, "looking up records", partial(alive, upstream, ["url"]), _judged(rule))


def judge_downloads(run: Run, upstream: Records, rule: PoolDownload, observed: SentRows | None) -> StepOutput:
    """The recorded outcome of each pair's URL; the reason says why a picture is not there."""
    pairs = run.ledger.alive(upstream, ["url"])
    urls = pairs["url"].combine_chunks()
    if observed is None:
        table = read_downloads(run.workspace.downloads, ["url", *_judged(rule)], urls=urls)
        rows = table.take(pc.index_in(urls, table["url"].combine_chunks()))
    else:
        rows = rows_of_uids(observed.of(run), pairs["uid"].combine_chunks())
    rows = _without_forgotten(rows, read_forgotten(run.workspace))
    reason = pc.if_else(pc.equal(rows["verdict"], "kept"), "", rows["outcome"])
    if rule.stores_reservations:  # what was fetched by another rule may hold what this one respects
        rows = _with_rights_of_files(run, rule, pairs["url"], rows)
        refused = [refused_by(names, rule.respect) for names in rows["reservation"].to_pylist()]
        reason = pc.if_else(pc.equal(reason, ""), pa.array(refused, pa.string()), reason)
    is_failed = pc.or_(pc.equal(rows["verdict"], "failed"), pc.ends_with(reason, "_unreadable"))
    decisions = Decisions.of(
        reason=reason.combine_chunks(),
        value=rows["http_status"].cast(pa.float64()).combine_chunks(),
        failed=is_failed.combine_chunks(),
    ).to_table(pairs["uid"])
    for name in (*OBSERVED, "evidence", *(RIGHTS if rule.stores_reservations else ())):
        decisions = decisions.append_column(name, rows[name])
    decisions = _with_told_sizes(run, upstream, pairs["url"], decisions)
    return StepOutput(decisions=decisions)


def _judged(rule: PoolDownload) -> tuple[str, ...]:
    """The columns of records from which pairs are judged."""
    return (*JUDGED, *RIGHTS, "tar", "offset", "size") if rule.stores_reservations else JUDGED


def _with_rights_of_files(run: Run, rule: PoolDownload, urls: pa.ChunkedArray, rows: pa.Table) -> pa.Table:
    """The records of pairs, with what the files reserve of pictures that a version fetched which did not look."""
    is_unread = pc.and_(pc.is_null(rows["reservation"]), pc.equal(rows["verdict"], "kept"))
    places = rows.filter(pc.and_(is_unread, pc.is_valid(rows["tar"]))).select(PLACES).combine_chunks()
    ids, columns = places["image_id"].unique().to_pylist(), dict[str, dict[str, str | None]]()
    if not ids:
        return rows
    reader = rule.picture_reader
    with PictureChecks(max_pixels=rule.max_pixels, read_rights=reader, processes=run.processes) as checks:
        for start in range(0, len(ids), _FILES):
            batch = ids[start : start + _FILES]
            checked = checks.check_all(list(read_images(run.workspace.downloads, batch, places)))
            for image_id, one in zip(batch, checked, strict=True):
                rights = one.rights if isinstance(one, CheckedPicture) else NO_RIGHTS
                columns[image_id] = rule.stored_rights((), rights, datetime.now(UTC))
    values = rows.select(["image_id", *RIGHTS]).to_pylist()
    for row, url, unread in zip(values, urls.to_pylist(), is_unread.to_pylist(), strict=True):
        if unread and row["image_id"] in columns:
            row.update(columns[row["image_id"]])
            is_local = url.startswith(LOCAL)
            row["reservation"] = ", ".join(filter(None, (row["reservation"], None if is_local else SITE_NOT_READ)))
    for name in RIGHTS:
        column = pa.array([row[name] for row in values], pa.string())
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows


def _without_forgotten(rows: pa.Table, forget: ForgetList) -> pa.Table:
    """Observations, of which those of a picture on the forget list say that alone."""
    is_listed = forget.holds("image_id", rows["image_id"].combine_chunks())
    if not pc.any(is_listed).as_py():
        return rows
    said = {"outcome": FORGOTTEN, "verdict": "dropped"}
    for place, name in enumerate(rows.column_names):
        column = rows[name].combine_chunks()
        rows = rows.set_column(place, name, pc.if_else(is_listed, pa.scalar(said.get(name), column.type), column))
    return rows


def _with_told_sizes(run: Run, upstream: Records, urls: pa.ChunkedArray, decisions: pa.Table) -> pa.Table:
    """The decisions, with the sizes that the pool tells where only features are there and nothing was observed."""
    only_features = pc.starts_with(urls, FEATURES)
    if not pc.any(only_features).as_py():
        return decisions
    for name in SIZES:
        if any(name in record.columns for record in upstream):
            sizes = as_size(run.ledger.alive(upstream, [name])[name])
            column = pc.if_else(only_features, sizes, decisions[name])
            decisions = decisions.set_column(decisions.column_names.index(name), name, column)
    return decisions


DOWNLOAD = Step(
    name=collecting.DOWNLOAD.name,
    rule=PoolDownload,
    observe=fetch_images,
    is_due=_is_due,
    inputs=hash_observations,
    resolve=find_observations,
    judge=judge_downloads,
)
