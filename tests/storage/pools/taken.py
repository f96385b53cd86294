"""Pictures at hand, taken as a rebuild takes them: those that have no record yet."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.pools.local_pictures import LocatedPicture, WantedPictures, take_missing_pictures
from evenly.storage.web.shards import read_downloads


def take_pictures(
    wanted: Collection[str],
    read_held: Callable[[], Iterable[LocatedPicture]],
    rule: DownloadRule,
    *,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
    threads: int = 1,
) -> int:
    """Store and record each of `wanted`, addresses LOCAL + image_id; how many were new."""
    distinct = pa.array(list(wanted), pa.string()).unique()
    recorded = read_downloads(folder, ["url"], urls=distinct)["url"].combine_chunks()
    missing = distinct.filter(pc.invert(pc.is_in(distinct, recorded)))
    progress(len(distinct) - len(missing))
    take_missing_pictures(WantedPictures([missing]), read_held, rule, folder=folder, threads=threads, progress=progress)
    return len(missing)
