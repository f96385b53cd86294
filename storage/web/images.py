"""The original bytes of downloaded pictures, read straight from where they lie in the tars."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.stores.files import FileRanges
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.storage.tables.partitions import partition_of
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.shards import RECORDS, each_records, record_bits

PLACES = ["image_id", "tar", "offset", "size"]
"""Columns of a table that says where the bytes of pictures lie; tar is null where only features are there."""
_OPEN_TARS = 16


def read_images(folder: Path, image_ids: Sequence[str], places: pa.Table | None = None) -> Iterator[bytes]:
    """Yield the original bytes of each picture, in the order given; a picture is named by the sha256 of its bytes.

    `places` says where they lie (PLACES), and may say so of others; None: as `find_places` gives it, which reads the
    records of all: ask once for several batches. Raises DownloadError where one is not there, or is not what its name
    says.
    """
    if places is None:
        places = find_places(folder, image_ids)
    if places["tar"].null_count == 0 and places["image_id"].to_pylist() == list(image_ids):
        return _as_named(folder, image_ids, places)  # nothing to look for, which takes longer than a picture's reading
    places = places.filter(pc.is_in(places["image_id"], pa.array(image_ids, pa.string())))
    has_bytes = pc.is_valid(places["tar"])
    bare, (places, known_ids) = places.filter(pc.invert(has_bytes)), _distinct(places.filter(has_bytes))
    wanted = np.asarray(list(image_ids), dtype="S64")
    indices = np.minimum(np.searchsorted(known_ids, wanted), max(len(known_ids) - 1, 0))
    absent = wanted[known_ids[indices] != wanted] if len(known_ids) else wanted
    if len(absent):
        is_bare = pc.all(pc.is_in(pa.array(absent.astype(str)), bare["image_id"].combine_chunks())).as_py()
        remedy = "They came as features alone: choose what needs no pictures, such as the export parquet."
        raise DownloadError(
            f"`image_ids` must be of pictures in `{folder}`; got `{absent[0].decode()}` ({len(absent)} are missing). "
            f"{remedy if is_bare else 'Download them first.'}"
        )
    return _as_named(folder, image_ids, places.take(pa.array(indices)))


def reader(folder: Path) -> Callable[[Sequence[str]], Iterator[bytes]]:
    """A function from a few image ids to their original bytes, in order."""
    located, places = set[str](), None

    def read(image_ids: Sequence[str]) -> Iterator[bytes]:
        nonlocal located, places
        if places is None or not located.issuperset(image_ids):  # after a batch, single ones of it may be asked for
            located, places = set(image_ids), find_places(folder, image_ids)
        return read_images(folder, image_ids, places)

    return read


def find_places(folder: Path, image_ids: Sequence[str] | pa.Array) -> pa.Table:
    """Where the bytes of these pictures lie (PLACES); records of all are read, a few shards' at a time."""
    wanted = pa.array(image_ids, pa.string())
    tables = map(places_of, each_records(folder, [*PLACES, "verdict"]))
    return pa.concat_tables([table.filter(pc.is_in(table["image_id"], wanted)) for table in tables])


@contextmanager
def open_pictures(folder: Path, exchange: Path) -> Iterator[Callable[[Sequence[str]], Iterator[bytes]]]:
    """A function as `read_images`, of ids that begin alike: it looks where these lie among those that begin so.

    What is needed for that lies below `exchange` until the end.
    """
    bits = record_bits(folder)
    with open_exchange(exchange, "places") as sent:
        send_rows(sent, "all", bits, "image_id", map(places_of, each_records(folder, [*PLACES, "verdict"])))

        @lru_cache(maxsize=1)
        def sent_to(part: int) -> pa.Table:
            empty = pa.schema([RECORDS.field(name) for name in PLACES]).empty_table()
            return pa.concat_tables([empty, *received_rows(sent, part)])

        def read(image_ids: Sequence[str]) -> Iterator[bytes]:
            parts = sorted({partition_of(image_id, bits) for image_id in image_ids})
            return read_images(folder, image_ids, pa.concat_tables([sent_to(part) for part in parts]))

        yield read


def _as_named(folder: Path, image_ids: Sequence[str], places: pa.Table) -> Iterator[bytes]:
    tars = places["tar"].to_pylist()
    for image_id, tar, data in zip(image_ids, tars, read_image_bytes(folder, places), strict=True):
        if sha256(data).hexdigest() != image_id:
            raise DownloadError(
                f"shard `{folder / tar}` must hold the bytes of picture {image_id}; it holds others. {_remedy(tar)}"
            )
        yield data


def read_image_bytes(folder: Path, records: pa.Table) -> Iterator[bytes]:
    """Yield the original bytes of each record (columns tar, offset, size), in the order of the rows.

    Every record must be of a kept picture. Rows sorted by tar and offset are read fastest.
    """
    rows = records.select(["tar", "offset", "size"]).to_pylist()
    if isinstance(folder, ObjectPath):
        yield from _read_objects(folder, rows)
        return
    opened: dict[str, FileRanges] = {}
    try:
        for row in rows:
            yield _read_range(folder, opened, row["tar"], row["offset"], row["size"])
    finally:
        for file in opened.values():
            file.close()


def _read_objects(folder: ObjectPath, rows: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """As many at once as one store should be asked, and never more than those in memory."""

    def read(row: dict[str, Any]) -> bytes:
        try:
            data = (folder / _name_of_tar(row["tar"])).read_range(row["offset"], row["size"])
        except FileNotFoundError as error:
            raise _unreadable(folder / row["tar"], error) from None
        return _complete(folder / row["tar"], row["offset"], row["size"], data)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(rows), AT_ONCE):
            yield from pool.map(read, rows[start : start + AT_ONCE])


def _read_range(folder: Path, opened: dict[str, FileRanges], tar: str | None, offset: int, size: int) -> bytes:
    name = _name_of_tar(tar)
    if name not in opened:
        if len(opened) >= _OPEN_TARS:
            opened.pop(next(iter(opened))).close()
        try:
            opened[name] = FileRanges(folder / name)
        except OSError as error:
            raise _unreadable(folder / name, error) from error
    return _complete(folder / name, offset, size, opened[name].pread(size, offset))


def _name_of_tar(tar: str | None) -> str:
    if tar is None:
        raise DownloadError("`records` must be of kept pictures; got one without bytes. Filter by verdict first.")
    return tar


def _complete(path: Path, offset: int, size: int, data: bytes) -> bytes:
    if len(data) != size:
        raise DownloadError(f"shard `{path}` must hold {size} bytes at {offset}; got {len(data)}. {_remedy(path.name)}")
    return data


def _unreadable(path: Path, error: OSError) -> DownloadError:
    return DownloadError(f"shard `{path}` must be readable; {error}. {_remedy(path.name)}")


def _remedy(tar: str) -> str:
    records = f"{tar.partition('.')[0]}.parquet"
    return f"Restore it from a backup, or remove it and `{records}` beside it to fetch its URLs again."


def places_of(records: pa.Table) -> pa.Table:
    """Of records (PLACES and verdict), where the bytes of kept pictures lie (PLACES)."""
    return records.filter(pc.equal(records["verdict"], "kept")).select(PLACES)


def _distinct(places: pa.Table) -> tuple[pa.Table, npt.NDArray[np.bytes_]]:
    """Where each picture lies first (tar, offset, size), and its id, in the order of these."""
    ids = np.frombuffer(b"".join(places["image_id"].cast(pa.binary()).to_pylist()), dtype="S64")
    unique_ids, first = np.unique(ids, return_index=True)
    return places.select(["tar", "offset", "size"]).take(pa.array(first)), unique_ids
