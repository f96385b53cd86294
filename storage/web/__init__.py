"""Collecting pictures from the web: a guarded client, opt-outs, and img2dataset driven shard by shard.

The web is hostile and this package says so in one place each: `guard` decides which address may be reached, `optout`
what a site's owner forbids, `decoding` what counts as a picture, `fetching` when a second try is worth it. `shards`
makes observations durable, `worker` runs img2dataset's downloader in a process, `download` is what others call.
"""

from evenly.storage.web.decoding import Measure, PictureChecks
from evenly.storage.web.download import (
    PENDING_BY,
    DownloadWorkers,
    FailureRule,
    download_pending,
    pending_urls,
)
from evenly.storage.web.images import (
    PLACES,
    find_places,
    open_pictures,
    places_of,
    read_image_bytes,
    read_images,
    reader,
)
from evenly.storage.web.measured import each_measured, read_measured
from evenly.storage.web.rule import DownloadRule, PoolDownload
from evenly.storage.web.shards import (
    count_unrecorded,
    each_records,
    latest_records,
    read_downloads,
    read_shards,
    records_hash,
    shard_names,
    url_keys,
)

__all__ = [
    "PENDING_BY",
    "PLACES",
    "DownloadRule",
    "DownloadWorkers",
    "FailureRule",
    "Measure",
    "PictureChecks",
    "PoolDownload",
    "count_unrecorded",
    "download_pending",
    "each_measured",
    "each_records",
    "find_places",
    "latest_records",
    "open_pictures",
    "pending_urls",
    "places_of",
    "read_downloads",
    "read_image_bytes",
    "read_images",
    "read_measured",
    "read_shards",
    "reader",
    "records_hash",
    "shard_names",
    "url_keys",
]
