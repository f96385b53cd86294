"""Observations on disk: per shard a tar of original bytes, and a Parquet file of records that makes it count.

`<shard>.tar` is a webdataset: one member per picture, named by key and true extension. `<shard>.parquet` is moved into
place last, whole and flushed; a tar without one is what an interrupted run left. A shard is named by the hash of what
it was asked to fetch. Each record is one observation of one URL; a later attempt is another record in another shard.

In an object store the records are created where there are none, and a tar's name ends in letters of its writer's own:
of two writers of one shard that know nothing of each other, one is recorded, with its own tar.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError
from evenly.storage.records import sync_folder
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, check_file, open_checked
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows
from evenly.storage.tables.partitions import MAX_BITS
from evenly.storage.web.errors import DownloadError, may_pass
from evenly.storage.web.rule import RIGHTS, Retry

RECORDS = pa.schema(
    [
        ("url", pa.string()),
        ("attempt", pa.int32()),  # tries made on this URL, those of earlier runs included
        ("outcome", pa.string()),  # "success", or the reason word
        ("verdict", pa.string()),  # kept, dropped, failed
        ("http_status", pa.int32()),
        ("final_url", pa.string()),  # after redirects
        ("content_type", pa.string()),  # as the server claims
        ("n_bytes", pa.int64()),  # of the body, where one came
        ("image_id", pa.string()),  # sha256 of the bytes; of kept ones only, as all that follow
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),  # as decoded: jpeg, png, webp, gif, bmp, avif
        ("tar", pa.string()),  # file name below the folder
        ("key", pa.string()),  # the sample's key in the tar: hash of the URL
        ("offset", pa.int64()),  # where in the tar the bytes begin
        ("size", pa.int64()),
        ("evidence", pa.string()),  # the header, line or message that shows the outcome
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("reservation", pa.string()),  # the mechanisms that reserve rights, respected or not; "": none; null: not read
        ("reservation_evidence", pa.string()),  # when, and for each the header, line or value that says so
        ("picture_copyright", pa.string()),  # as the file names it
        ("picture_license", pa.string()),
    ],
    metadata=PARQUET_MARK,
)
PENDING_BY = ("url", "attempt", "outcome", "fetched_at")
"""The columns of records that decide whether a URL is still to be fetched."""
URLS = pa.schema([("url", pa.string()), ("key", pa.string()), ("first_attempt", pa.int32())])

PARTIAL = ".partial"
REMEDY = "Restore the file, or remove it to fetch its URLs again."
ABANDONED_AFTER_S = 24 * 3600.0
_TOGETHER = 64  # shards whose records are in memory at once
_OF_PART = 250  # the same where records are cut by a key: those of a quarter of a million pictures or so
_END_BYTES = 1 << 10  # of records: their seal, or the end of the Parquet footer
_SHARD = re.compile(r"[0-9a-f]{32}")


def url_key(url: str) -> str:
    """32 hex digits that stand for a URL, in whatever shard it lies."""
    return hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def url_keys(urls: pa.Array) -> pa.Array:
    """The `url_key` of each URL."""
    return pa.array([url_key(url) for url in urls.to_pylist()], pa.string())


def shard_name(urls: pa.Table) -> str:
    """32 hex digits that stand for a shard: its URLs and the number of their first attempt."""
    attempts = pc.binary_join_element_wise(" ", urls["first_attempt"].cast(pa.string()), "\n", "")
    lines = pc.binary_join_element_wise(urls["key"], attempts, "").to_pylist()
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def tar_name(folder: Path, shard: str) -> str:
    """The name of the tar of a shard that is to be published in `folder`."""
    return f"{shard}.{secrets.token_hex(4)}.tar" if isinstance(folder, ObjectPath) else f"{shard}.tar"


def publish_shard(
    folder: Path, name: str, *, tar: Path | None, records: Path, measured: Path | None = None, tar_as: str | None = None
) -> None:
    """Move a finished shard into `folder`; it counts once the records have their name. Durable when it returns.

    `tar_as`: the name of the tar in the records, as `tar_name` gave it; default: the shard's.
    """
    with records.open("r+b") as stream:
        append_sums(stream)
    place = folder / (tar_as or f"{name}.tar")
    if isinstance(folder, ObjectPath):
        _upload(measured, folder / f"{name}.measured.parquet")
        _upload(tar, place)
        if not (folder / f"{name}.parquet").create(records.read_bytes()):
            place.unlink(missing_ok=True)  # another writer was faster; its records name its own tar
        return
    if measured is not None:
        measured.replace(folder / f"{name}.measured.parquet")
    if tar is not None:
        _flush(tar)
        tar.replace(place)
        sync_folder(folder)
    _flush(records)
    records.replace(folder / f"{name}.parquet")
    sync_folder(folder)


def _upload(file: Path | None, place: Path) -> None:
    if file is not None and isinstance(place, ObjectPath):
        with file.open("rb") as stream:
            place.write_stream(stream)


def clean_folder(folder: Path) -> None:
    """Remove what an interrupted run left: work in progress, and what lies beside records that are not there.

    In an object store only what is older than a day: there a writer may live that nobody knows of.
    """
    if isinstance(folder, ObjectPath):
        oldest = time.time() - ABANDONED_AFTER_S
        recorded = set(shard_names(folder))
        for path in _beside_records(folder):
            if path.name.partition(".")[0] not in recorded and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
        return
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    for path in _beside_records(folder):
        if not (folder / f"{path.name.partition('.')[0]}.parquet").exists():
            path.unlink()


def _beside_records(folder: Path) -> list[Path]:
    paths = (*folder.glob("*.tar"), *folder.glob("*.measured.parquet"))
    return [path for path in paths if _SHARD.fullmatch(path.name.partition(".")[0])]


def shard_names(folder: Path) -> list[str]:
    """The finished shards, in a fixed order."""
    return sorted(path.stem for path in folder.glob("*.parquet") if _SHARD.fullmatch(path.stem))


def read_downloads(folder: Path, columns: Sequence[str] | None = None, *, urls: pa.Array | None = None) -> pa.Table:
    """The latest observation of each URL, sorted by url; columns as in RECORDS, or the named ones.

    Of `urls` alone, where these are given: of others, those of a few shards are in memory at once.
    """
    wanted = list(columns) if columns is not None else RECORDS.names
    tables = each_records(folder, list(dict.fromkeys(["url", "attempt", *wanted])))
    if urls is not None:
        tables = (table.filter(pc.is_in(table["url"], urls)) for table in tables)
    return latest_records(pa.concat_tables(tables)).select(wanted)


def each_records(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Every observation, with columns of RECORDS, in the order of shards: tables of a few shards each, at least one."""
    for shards in each_shards(folder):
        yield read_shards(folder, shards, columns)


def each_shards(folder: Path) -> Iterator[Sequence[str]]:
    """The finished shards in lists, at least one, each of so many that their records may be in memory together."""
    names = shard_names(folder)
    for start in range(0, max(len(names), 1), _TOGETHER):
        yield names[start : start + _TOGETHER]


def record_bits(folder: Path) -> int:
    """By how many leading bits of a key all records are cut, for those of one part to fit in memory."""
    return min(int(len(shard_names(folder)) / _OF_PART).bit_length(), MAX_BITS)


def count_unrecorded(urls: Iterable[pa.Array], folder: Path, exchange: Path, *, bits: int) -> int:
    """The number of different URLs among all these that have no record.

    They meet the records below `exchange`, in 2**bits parts or more: never are all of either in memory.
    """
    bits, count = max(bits, record_bits(folder)), 0
    with open_exchange(exchange, "urls") as sent:
        wanted, recorded = sent / "asked", sent / "recorded"
        send_rows(wanted, "all", bits, "key", (pa.table({"key": url_keys(part.unique())}) for part in urls))
        send_rows(recorded, "all", bits, "key", each_records(folder, ["key"]))
        for number in range(1 << bits):
            if tables := received_rows(wanted, number):
                keys = pa.concat_tables(tables)["key"].unique()
                stored = pa.concat_tables([URLS.empty_table().select(["key"]), *received_rows(recorded, number)])["key"]
                count += len(keys) - (pc.sum(pc.is_in(keys, stored.combine_chunks())).as_py() or 0)
    return count


def failures_due(folder: Path, retry: Retry, wanted_urls: Iterable[pa.Array] | None = None) -> pa.Table:
    """The latest records [PENDING_BY] of URLs that are asked again, sorted by URL; `wanted_urls`: of these URLs alone.

    URLs are read only of shards in which a record failed for such a reason: without any, two small columns are.
    """
    urls = list[pa.Array]()
    for shards in each_shards(folder):
        is_candidate = is_due(read_shards(folder, shards, ["outcome", "fetched_at"]), retry)
        if pc.any(is_candidate).as_py():
            urls.append(read_shards(folder, shards, ["url"])["url"].filter(is_candidate).combine_chunks())
    if not urls:
        return pa.schema([RECORDS.field(name) for name in PENDING_BY]).empty_table()
    latest = read_downloads(folder, PENDING_BY, urls=pa.concat_arrays(urls).unique())
    latest = latest.filter(is_due(latest, retry)).combine_chunks()
    if wanted_urls is None or not latest.num_rows:
        return latest
    failing = latest["url"].combine_chunks()
    shown = [part.filter(pc.is_in(part, value_set=failing)) for part in wanted_urls]
    return latest.filter(pc.is_in(failing, value_set=pa.concat_arrays([failing.slice(0, 0), *shown])))


def is_due(records: pa.Table, retry: Retry) -> pa.ChunkedArray:
    """Whether each of the latest records [outcome, fetched_at] is of a failure that is asked again."""
    outcomes = records["outcome"]
    passing = [word for word in outcomes.unique().to_pylist() if word and may_pass(word, retry.reasons)]
    due = pc.is_in(outcomes, value_set=pa.array(passing, pa.string()))
    if retry.until is None:
        return due
    end = pa.scalar(retry.until, RECORDS.field("fetched_at").type)
    return pc.and_(due, pc.fill_null(pc.less_equal(records["fetched_at"], end), False))


def read_shards(folder: Path, shards: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Every observation in some shards, in their order, with columns of RECORDS."""
    schema = pa.schema([RECORDS.field(name) for name in columns])
    paths = [folder / f"{name}.parquet" for name in shards]
    if isinstance(folder, ObjectPath):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tables = list(pool.map(partial(_read_records, columns=list(columns)), paths))
    else:
        tables = [_read_records(path, list(columns)) for path in paths]
    return pa.concat_tables([schema.empty_table(), *tables])


def latest_records(table: pa.Table) -> pa.Table:
    """The observation of the last attempt on each URL, of those in `table`, sorted by URL."""
    return table.combine_chunks().take(_latest(table["url"], table["attempt"]))


def records_hash(folder: Path) -> str:
    """SHA-256, in hex, over which shards there are and how the records of each end: with a sum of their bytes."""
    names = shard_names(folder)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = pool.map(lambda name: _end(folder / f"{name}.parquet"), names)
        digest = hashlib.sha256()
        for name, end in zip(names, ends, strict=True):
            digest.update(name.encode() + end)
    return digest.hexdigest()


def _end(path: Path) -> bytes:
    size = path.stat().st_size
    offset = max(0, size - _END_BYTES)
    if isinstance(path, ObjectPath):
        end: bytes = path.read_range(offset, size - offset)
    else:
        with path.open("rb") as stream:
            stream.seek(offset)
            end = stream.read()
    return size.to_bytes(8, "little") + end


def _latest(urls: pa.ChunkedArray, attempts: pa.ChunkedArray) -> pa.Array:
    """The places of the last attempt on each URL, sorted by URL."""
    keys = pa.table({"url": urls, "attempt": attempts}).combine_chunks()
    order = pc.sort_indices(keys, sort_keys=[("url", "ascending"), ("attempt", "ascending")])
    if len(order) < 2:
        return order
    in_order = keys["url"].take(order)
    is_last = pc.not_equal(in_order.slice(0, len(order) - 1), in_order.slice(1))
    return order.filter(pa.concat_arrays([*_chunks(is_last), pa.array([True])]))


def read_urls(records: Path) -> pa.ChunkedArray:
    """The URLs that a shard's records are of. Raises DownloadError where these cannot be read."""
    return _read_records(records, ["url"])["url"]


def check_records(path: Path) -> None:
    """Compare all bytes of a shard's records with their checksums, and read them. Raises StorageError."""
    check_file(path, REMEDY)
    _read_records(path, RECORDS.names)


def _read_records(path: Path, columns: list[str]) -> pa.Table:
    try:
        with open_checked(path, REMEDY) as source:
            file = pq.ParquetFile(source)
            stored = [name for name in columns if name not in RIGHTS or name in file.schema_arrow.names]
            table = file.read(columns=stored)
        for name in columns:
            if name not in stored:
                table = table.append_column(RECORDS.field(name), pa.nulls(table.num_rows, pa.string()))
        return table.select(columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise DownloadError(f"records `{path}` must be readable; {first_line(error)}. {REMEDY}") from None
    except DamagedError as error:
        raise DownloadError(str(error)) from None


def _chunks(array: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return list(array.chunks) if isinstance(array, pa.ChunkedArray) else [array]


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
