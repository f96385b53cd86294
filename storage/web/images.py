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

from evenly.storage.stores.byte_ranges import FileRanges
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.storage.tables.partitions import MAX_BITS, partition_of
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.shards import RECORDS, read_downloads, read_shards, shard_names

PLACES = ["image_id", "tar", "offset", "size"]
"""Columns of a table that says where the bytes of pictures lie."""
_OPEN_TARS = 16
_SHARDS = 64  # whose records are in memory at once
_SHARDS_OF_PART = 250  # whose places are: of a quarter of a million pictures or so


def read_images(folder: Path, image_ids: Sequence[str], places: pa.Table | None = None) -> Iterator[bytes]:
    """Yield the original bytes of each picture, in the order given; a picture is named by the sha256 of its bytes.

    `places` says where they lie (PLACES), and may say so of others; None: this is looked up for all pictures there are.
    Raises DownloadError where one is not there, or is not what its name says.
    """
    if places is None:
        places, known_ids = _places(folder, tuple(shard_names(folder)))
    else:
        places, known_ids = _distinct(places)
    wanted = np.asarray(list(image_ids), dtype="S64")
    indices = np.minimum(np.searchsorted(known_ids, wanted), max(len(known_ids) - 1, 0))
    absent = wanted[known_ids[indices] != wanted] if len(known_ids) else wanted
    if len(absent):
        bare = {image_id.encode() for image_id in _bare_among(folder, absent).to_pylist()}
        remedy = "They came as features alone: choose what needs no pictures, such as the export parquet."
        raise DownloadError(
            f"`image_ids` must be of pictures in `{folder}`; got `{absent[0].decode()}` ({len(absent)} are missing). "
            f"{remedy if bare.issuperset(absent.tolist()) else 'Download them first.'}"
        )
    return _as_named(folder, image_ids, places.take(pa.array(indices)))


def find_places(folder: Path, image_ids: Sequence[str]) -> pa.Table:
    """Where the bytes of these pictures lie (PLACES); records of all are read, a few shards' at a time."""
    wanted, names = pa.array(image_ids, pa.string()), shard_names(folder)
    tables = []
    for start in range(0, max(len(names), 1), _SHARDS):
        places = with_bytes(read_shards(folder, names[start : start + _SHARDS], [*PLACES, "verdict"]))
        tables.append(places.filter(pc.is_in(places["image_id"], wanted)))
    return pa.concat_tables(tables)


@contextmanager
def open_pictures(folder: Path, exchange: Path) -> Iterator[Callable[[Sequence[str]], Iterator[bytes]]]:
    """A function as `read_images`, of ids that begin alike: it looks where these lie among those that begin so.

    What is needed for that lies below `exchange` until the end.
    """
    names = shard_names(folder)
    bits = min(int(len(names) / _SHARDS_OF_PART).bit_length(), MAX_BITS)
    with open_exchange(exchange, "places") as sent:
        shards = (read_shards(folder, [name], [*PLACES, "verdict"]) for name in names)
        send_rows(sent, "all", bits, "image_id", map(with_bytes, shards))

        @lru_cache(maxsize=1)
        def places_of(part: int) -> pa.Table:
            empty = pa.schema([RECORDS.field(name) for name in PLACES]).empty_table()
            return pa.concat_tables([empty, *received_rows(sent, part)])

        def read(image_ids: Sequence[str]) -> Iterator[bytes]:
            parts = sorted({partition_of(image_id, bits) for image_id in image_ids})
            return read_images(folder, image_ids, pa.concat_tables([places_of(part) for part in parts]))

        yield read


def _as_named(folder: Path, image_ids: Sequence[str], places: pa.Table) -> Iterator[bytes]:
    tars = places["tar"].to_pylist()
    for image_id, tar, data in zip(image_ids, tars, read_image_bytes(folder, places), strict=True):
        if sha256(data).hexdigest() != image_id:
            raise DownloadError(
                f"shard `{folder / tar}` must hold the bytes of picture {image_id}; it holds others. {_remedy(tar)}"
            )
        yield data


def _bare_among(folder: Path, image_ids: npt.NDArray[np.bytes_]) -> pa.Array:
    """Those of these ids of which only features are there."""
    wanted, tables = pa.array(image_ids.astype(str)), list[pa.Table]()
    names = shard_names(folder)
    for start in range(0, max(len(names), 1), _SHARDS):
        table = read_shards(folder, names[start : start + _SHARDS], ["image_id", "tar", "verdict"])
        tables.append(table.filter(pc.is_in(table["image_id"], wanted)))
    records = pa.concat_tables(tables)
    return records.filter(pc.and_(pc.equal(records["verdict"], "kept"), pc.is_null(records["tar"])))["image_id"]


def without_bytes(folder: Path) -> pa.Array:
    """The ids of kept pictures of which only features are there."""
    records = read_downloads(folder, ["image_id", "tar", "verdict"])
    bare = pc.and_(pc.equal(records["verdict"], "kept"), pc.is_null(records["tar"]))
    return records["image_id"].filter(bare).combine_chunks()


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


@lru_cache(maxsize=1)
def _places(folder: Path, _shards: tuple[str, ...]) -> tuple[pa.Table, npt.NDArray[np.bytes_]]:
    """Where each picture lies (tar, offset, size) and, in the same order, its id; read anew when shards were added."""
    return _distinct(with_bytes(read_downloads(folder, [*PLACES, "verdict"])))


def with_bytes(records: pa.Table) -> pa.Table:
    """Of records (PLACES and verdict), where the bytes of kept pictures lie (PLACES)."""
    return records.filter(pc.and_(pc.equal(records["verdict"], "kept"), pc.is_valid(records["tar"]))).select(PLACES)


def _distinct(places: pa.Table) -> tuple[pa.Table, npt.NDArray[np.bytes_]]:
    """Where each picture lies first (tar, offset, size), and its id, in the order of these."""
    ids = np.frombuffer(b"".join(places["image_id"].cast(pa.binary()).to_pylist()), dtype="S64")
    unique_ids, first = np.unique(ids, return_index=True)
    return places.select(["tar", "offset", "size"]).take(pa.array(first)), unique_ids
