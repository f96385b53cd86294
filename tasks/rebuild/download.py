"""Download: fetch each URL once, take pictures at hand, then say of each pair what was observed of its URL."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.decisions import Decisions
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.features import SIZES, as_size
from evenly.storage.pools.local_pictures import LocatedPicture, take_features, take_pictures
from evenly.storage.pools.local_rows import FEATURES, LOCAL, LOCAL_ADDRESS
from evenly.storage.pools.source import local_pictures
from evenly.storage.tables.hashing import table_hash
from evenly.storage.web import DownloadWorkers, FailureRule, PoolDownload, download_images, read_downloads
from evenly.tasks.decoding import FINGERPRINT
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step

OBSERVED = ("http_status", "final_url", "content_type", "n_bytes", "image_id", "width", "height", "format")


def fetch_images(run: Run, upstream: Records, rule: PoolDownload) -> None:
    """Fetch or take what is not recorded yet; records are durable shard by shard."""
    urls = run.ledger.alive(upstream, ["url"])["url"].combine_chunks().unique()
    local, features = (urls.filter(pc.starts_with(urls, kind)) for kind in (LOCAL, FEATURES))
    web = urls.filter(pc.invert(pc.match_substring_regex(urls, LOCAL_ADDRESS))).to_pylist()
    if len(local):
        with run.progress.bar("taking pictures", len(local)) as advance:
            folder = run.workspace.downloads
            pictures, threads = partial(_held, run), run.processes
            take_pictures(
                local.to_pylist(), pictures, rule, folder=folder, threads=threads, measure=FINGERPRINT, progress=advance
            )
    if len(features):
        take_features(features, folder=run.workspace.downloads)
    if not web:
        return
    with run.progress.bar("downloading", len(web)) as advance:
        download_images(
            web,
            rule,
            folder=run.workspace.downloads,
            connect=run.connect,
            workers=DownloadWorkers(processes=run.processes, threads=run.threads),
            failures=FailureRule(retry_failed=run.retry_failed, tolerate=rule.tolerate),
            measure=FINGERPRINT,
            progress=advance,
        )


def _held(run: Run) -> Iterator[LocatedPicture]:
    """The pictures of the sources that are at hand: image_id, and where the bytes lie."""
    for source in run.sources:
        for row in local_pictures(source):
            if row.image_id is not None and row.place is not None:
                yield row.image_id, row.place


def hash_observations(run: Run, upstream: Records, _rule: PoolDownload) -> dict[str, str]:
    """The content of what was observed of the URLs of this step's pairs."""
    urls = run.ledger.alive(upstream, ["url"])["url"].combine_chunks().unique()
    columns = ["url", "outcome", "verdict", *OBSERVED]
    return {"observations": table_hash(read_downloads(run.workspace.downloads, columns, urls=urls))}


def judge_downloads(run: Run, upstream: Records, _rule: PoolDownload) -> StepOutput:
    """The recorded outcome of each pair's URL; the reason says why a picture is not there."""
    pairs = run.ledger.alive(upstream, ["url"])
    urls, columns = pairs["url"].combine_chunks(), ["url", "outcome", "verdict", *OBSERVED, "evidence"]
    table = read_downloads(run.workspace.downloads, columns, urls=urls)
    rows = table.take(pc.index_in(urls, table["url"].combine_chunks()))
    kept = pc.equal(rows["verdict"], "kept")
    decisions = Decisions.of(
        reason=pc.if_else(kept, "", rows["outcome"]).combine_chunks(),
        value=rows["http_status"].cast(pa.float64()).combine_chunks(),
        failed=pc.equal(rows["verdict"], "failed").combine_chunks(),
    ).to_table(pairs["uid"])
    for name in (*OBSERVED, "evidence"):
        decisions = decisions.append_column(name, rows[name])
    decisions = _with_told_sizes(run, upstream, pairs["url"], decisions)
    return StepOutput(decisions=decisions)


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
    name="download", rule=PoolDownload, observe=fetch_images, inputs=hash_observations, compute=judge_downloads
)
