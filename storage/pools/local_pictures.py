"""Pictures at hand taken into the workspace: checked and recorded as downloads are, bytes as they are, no network."""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import StorageError
from evenly.storage.pools.local_rows import FEATURES, LOCAL, Place
from evenly.storage.web.decoding import EXTENSIONS, Measure, PictureChecks
from evenly.storage.web.download import SHARD_SIZE
from evenly.storage.web.errors import FetchError, verdict_of
from evenly.storage.web.measured import write_measured
from evenly.storage.web.rule import WebRule
from evenly.storage.web.shards import (
    RECORDS,
    URLS,
    publish_shard,
    shard_name,
    tar_name,
    url_key,
    url_keys,
)
from evenly.storage.web.working_folder import hold_folder

_WITHOUT_BYTES = 100_000  # records of a shard that holds no picture
LocatedPicture = tuple[str, Place]
"""An image_id and where its bytes lie."""
Recorded = tuple[dict[str, Any], bytes, bytes | None]
"""The record of a picture as RECORDS; of one that is kept also its bytes, and what was measured of it."""


class WantedPictures:
    """Pictures that are to be taken, each once; of an id 17 bytes are held.

    wanted: distinct addresses, LOCAL + image_id, in one array or more.
    """

    def __init__(self, wanted: Iterable[pa.Array]) -> None:
        parts = [_words(pc.utf8_slice_codeunits(urls, len(LOCAL))) for urls in wanted]
        words = np.concatenate([np.empty((0, 2), np.uint64), *parts])
        self._words = words[np.lexsort((words[:, 1], words[:, 0]))]
        self._left = np.ones(len(words), np.bool_)

    def __len__(self) -> int:
        return int(self._left.sum())

    def take(self, image_id: str) -> bool:
        """Whether a picture is wanted; from now on it is not."""
        first, second = (np.uint64(int(image_id[start : start + 16], 16)) for start in (0, 16))
        place = int(np.searchsorted(self._words[:, 0], first))
        while place < len(self._words) and self._words[place, 0] == first:
            if self._words[place, 1] == second:
                is_left, self._left[place] = bool(self._left[place]), False
                return is_left
            place += 1
        return False

    def first(self) -> str:
        """The beginning of the address of the first picture that was not taken."""
        high, low = self._words[int(np.argmax(self._left))].tolist()
        return f"{LOCAL}{high:016x}{low:016x}"


def take_missing_pictures(
    wanted: WantedPictures,
    read_held: Callable[[], Iterable[LocatedPicture]],
    rule: WebRule,
    *,
    folder: Path,
    threads: int = 1,
    measure: Measure | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Store and record each of the pictures, of which there is no record yet.

    `read_held` gives the pictures at hand. May be interrupted at any time: finished shards count. Raises StorageError
    where a picture is no longer there, or has other bytes.
    """
    with hold_folder(folder) as work:
        if len(wanted):
            checks = PictureChecks(
                max_pixels=rule.max_pixels, measure=measure, read_rights=rule.picture_reader, processes=threads
            )
            with checks, ThreadPoolExecutor(max_workers=threads) as pool:
                for shard in _shards(read_held(), wanted):
                    pieces = (shard[start : start + threads] for start in range(0, len(shard), threads))
                    recorded = (
                        pool.map(lambda pair: _record(pair[0], pair[1], rule, checks), piece) for piece in pieces
                    )
                    _write(
                        (folder, work),
                        [LOCAL + image_id for image_id, _ in shard],
                        chain.from_iterable(recorded),
                        measure,
                    )
                    progress(len(shard))
        if len(wanted):
            raise StorageError(
                f"pictures of the sources must stay as they are while a rebuild runs; {len(wanted)} are gone, first "
                f"`{wanted.first()}...`. Run again."
            )


def record_features(parts: Iterable[pa.Array], *, folder: Path) -> None:
    """Record addresses, FEATURES + hash, of which there is no record yet, as there without bytes."""
    with hold_folder(folder) as work:
        work.mkdir(exist_ok=True)
        for part in parts:
            ordered = part.sort()
            for start in range(0, len(ordered), _WITHOUT_BYTES):
                urls = ordered.slice(start, _WITHOUT_BYTES)
                keys = url_keys(urls)
                name = _name(urls, keys)
                pq.write_table(_records_without_bytes(urls, keys), work / f"{name}.parquet")
                publish_shard(folder, name, tar=None, records=work / f"{name}.parquet")


def _words(image_ids: pa.Array) -> npt.NDArray[np.uint64]:
    """The first 16 bytes of each id (n, 2), which is hex."""
    raw = np.frombuffer(bytes.fromhex("".join(image_ids.to_pylist())), np.uint8).reshape(-1, 32)
    words: npt.NDArray[np.uint64] = np.ascontiguousarray(raw[:, :16]).view(">u8").astype(np.uint64)
    return words


def _records_without_bytes(urls: pa.Array, keys: pa.Array) -> pa.Table:
    """Records of pictures, addresses FEATURES + hash, of which only features are there."""
    n = len(urls)
    values = {"attempt": 1, "outcome": "success", "verdict": "kept", "fetched_at": datetime.now(UTC)}
    columns = {name: pa.repeat(pa.scalar(value, RECORDS.field(name).type), n) for name, value in values.items()}
    columns |= {"url": urls, "key": keys, "image_id": pc.utf8_slice_codeunits(urls, len(FEATURES))}
    empty = {field.name: pa.nulls(n, field.type) for field in RECORDS}
    return pa.table(empty | columns, schema=RECORDS)


def _blank(url: str) -> dict[str, Any]:
    fetched_at = datetime.now(UTC)
    return dict.fromkeys(RECORDS.names) | {"url": url, "attempt": 1, "key": url_key(url), "fetched_at": fetched_at}


def _shards(pictures: Iterable[LocatedPicture], wanted: WantedPictures) -> Iterator[list[LocatedPicture]]:
    """The wanted pictures in lists of SHARD_SIZE; taken from `wanted` as they come."""
    shard: list[LocatedPicture] = []
    for image_id, place in pictures:
        if wanted.take(image_id):
            shard.append((image_id, place))
            if len(shard) == SHARD_SIZE:
                yield shard
                shard = []
    if shard:
        yield shard


def _record(image_id: str, place: Place, rule: WebRule, checks: PictureChecks) -> Recorded:
    record = _blank(LOCAL + image_id) | {"n_bytes": place.size}
    try:
        content = _bytes(image_id, place, rule)
        checked = checks.check(content)
    except FetchError as error:
        outcome, evidence = error.outcome, error.evidence.encode("utf-8", "replace").decode()[:1000]
        return record | {"outcome": outcome, "verdict": verdict_of(outcome), "evidence": evidence or None}, b"", None
    record |= {"outcome": "success", "verdict": "kept", "image_id": image_id, "size": len(content)}
    record |= rule.stored_rights((), checked.rights, record["fetched_at"])  # by which each rule judges for itself
    return record | vars(checked.facts), content, checked.measured


def _bytes(image_id: str, place: Place, rule: WebRule) -> bytes:
    if place.size > rule.max_bytes:
        raise FetchError("too_many_bytes", f"{place.size} bytes, more than {rule.max_bytes}")
    content = place.read()
    if sha256(content).hexdigest() != image_id:
        raise StorageError(
            f"picture `{place.path}` must stay as it is while a rebuild runs; it has changed. Run again."
        )
    return content


def _write(
    places: tuple[Path, Path], urls: list[str], recorded: Iterable[Recorded], measure: Measure | None = None
) -> None:
    """Publish a shard: the bytes in a tar, where each picture begins in its record.

    places: the folder of finished shards, and the one to work in.
    """
    folder, work = places
    addresses = pa.array(urls, pa.string())
    name = _name(addresses, url_keys(addresses))
    tar_as = tar_name(folder, name)
    work.mkdir(exist_ok=True)
    tar, records, values = work / f"{name}.tar", list[dict[str, Any]](), dict[str, bytes | None]()
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as stream:
        for record, content, measured in recorded:
            if content:
                values[record["image_id"]] = measured
                header = tarfile.TarInfo(f"{record['key']}.{EXTENSIONS[record['format']]}")
                header.size = len(content)
                record |= {"tar": tar_as, "offset": stream.offset + tarfile.BLOCKSIZE}
                stream.addfile(header, BytesIO(content))
            records.append(record)
    pq.write_table(pa.Table.from_pylist(records, RECORDS), work / f"{name}.parquet")
    measured_file = work / f"{name}.measured.parquet" if values and measure else None
    if measured_file and measure:
        write_measured(measured_file, measure.name, values)
    publish_shard(
        folder,
        name,
        tar=tar if values else None,
        records=work / f"{name}.parquet",
        measured=measured_file,
        tar_as=tar_as,
    )


def _name(urls: pa.Array, keys: pa.Array) -> str:
    return shard_name(pa.table([urls, keys, pa.repeat(pa.scalar(1, pa.int32()), len(urls))], schema=URLS))
