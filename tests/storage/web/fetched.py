"""Downloads of URLs at hand, as a rebuild makes them of a pool's: what has a record is not asked for again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.web.download import DownloadWorkers, FailureRule, download_pending, pending_urls
from evenly.storage.web.rule import Retry
from evenly.storage.web.shards import PENDING_BY, read_downloads


@dataclass(frozen=True, kw_only=True)
class DownloadSummary:
    """The counts of one download: distinct URLs, those recorded before, and the outcomes of those fetched now."""

    urls: int
    recorded_before: int
    fetched: int
    outcomes: Mapping[str, int]


def download_images(
    urls: Sequence[str],
    rule: DownloadRule,
    *,
    folder: Path,
    failures: FailureRule | None = None,
    retry: Retry | None = None,
    progress: Callable[[int], None] = lambda _: None,
    connect: Mapping[str, str] | None = None,
    workers: DownloadWorkers | None = None,
) -> DownloadSummary:
    """Fetch each of `urls` once into `folder`, those without a record and failures as `retry` says."""
    distinct, counts = pa.array(urls, pa.string()).unique(), Counter[str]()

    def pending():
        recorded = read_downloads(folder, list(PENDING_BY), urls=distinct)
        table = pending_urls(distinct, recorded, retry)
        counts.update(before=len(distinct) - table.num_rows, fetched=table.num_rows)
        progress(counts["before"])
        yield table

    outcomes = download_pending(
        pending(), rule, folder=folder, connect=connect, workers=workers, failures=failures, progress=progress
    )
    return DownloadSummary(
        urls=len(distinct),
        recorded_before=counts["before"],
        fetched=counts["fetched"],
        outcomes=dict(sorted(outcomes.items())),
    )
