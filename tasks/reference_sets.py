"""Pictures that a recipe names beside its pool: evaluation sets to stay clear of, a target set to be like."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import column, fixed_rows
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.fingerprints import fingerprint_table
from evenly.curation.exclusions.decontaminate import Pictures
from evenly.features import to_unit_rows
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.features import is_feature_file, read_feature_rows
from evenly.storage.files.image_folders import Picture, read_pictures
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.decoding import PictureReader
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.run import Run

BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """The features of a set's pictures, their `names` and `image_ids` (None: known by features alone).

    `unreadable` counts the files that are no pictures.
    """

    pictures: Pictures
    names: Sequence[str]
    image_ids: Sequence[str | None]
    unreadable: int


def read_references(run: Run, location: str, *, features: bool) -> References:
    """Read a folder, picture or Parquet of pictures, or a file of features made by the run's encoder.

    Raises InputError where it holds no picture that could be read, and where features have other lengths than the
    encoder's.
    """
    path = Path(run.locate(location))
    if not is_feature_file(path):
        return _of_pictures(run, path, features=features)
    if not features:
        raise InputError(f"`{path}` holds features, which the recipe compares none by. Give pictures, or a cosine.")
    return _of_features(run, path)


def references_hash(run: Run, location: str) -> str:
    """The hash of the content of a set: of the file of features, or of each picture's name and bytes."""
    path = Path(run.locate(location))
    if is_feature_file(path):
        return file_hash(path)
    digest = hashlib.sha256()
    for picture in read_pictures(path):
        for text in (picture.name, hashlib.sha256(picture.content).hexdigest()):
            encoded = text.encode("utf-8", "surrogateescape")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def check_references(run: Run, location: str) -> None:
    """Raise InputError where there is nothing that could be read; nothing is."""
    path = Path(run.locate(location))
    if not is_feature_file(path):
        read_pictures(path)


def _of_features(run: Run, path: Path) -> References:
    feature_rows = read_feature_rows(path)
    n, d = feature_rows.rows.shape
    if d != open_encoder(run).dimension:
        raise InputError(
            f"features `{path}` must have {open_encoder(run).dimension} columns, as the recipe's encoder gives; got "
            f"{d}. Extract them with the same encoder."
        )
    pictures = Pictures(
        hashes=np.zeros(n, np.uint64),
        colours=np.zeros((n, COLOUR_BYTES), np.uint8),
        decoded=np.zeros(n, np.bool_),
        rows=feature_rows.rows.astype(np.float16),
    )
    return References(pictures=pictures, names=feature_rows.names, image_ids=[None] * n, unreadable=0)


def _of_pictures(run: Run, path: Path, *, features: bool) -> References:
    names, image_ids, tables = list[str](), list[str](), list[pa.Table]()
    total = 0
    with run.progress.bar(f"reading {path.name}", None) as advance, PictureReader(run) as reader:
        for batch in _batches(read_pictures(path)):
            total += len(batch)
            readable = [picture for picture in batch if not picture.error]
            reads = list(reader.read([picture.content for picture in readable]))
            readable = [picture for picture, read in zip(readable, reads, strict=True) if not read.error]
            contents = [picture.content for picture in readable]
            ids = [hashlib.sha256(content).hexdigest() for content in contents]
            names += [picture.name for picture in readable]
            image_ids += ids
            tables.append(fingerprint_table([read.fingerprint for read in reads if not read.error]))
            if features:
                _store(run, ids, contents)
            advance(len(batch))
    if not names:
        raise InputError(f"`{path}` must hold pictures that decode; got none of {total}. Correct the path.")
    table = pa.concat_tables(tables)
    has_hash = column(table, "phash", pa.uint64()).is_valid().to_numpy(zero_copy_only=False)
    pictures = Pictures(
        hashes=column(table, "phash", pa.uint64()).fill_null(0).to_numpy(),
        colours=fixed_rows(table, "colour", pa.uint8(), COLOUR_BYTES),
        decoded=has_hash,
        rows=FeatureStore(run.workspace, encoder_identity(run), "images").read(image_ids)[0] if features else None,
    )
    return References(pictures=pictures, names=names, image_ids=image_ids, unreadable=total - len(names))


def _batches(pictures: Iterator[Picture]) -> Iterator[list[Picture]]:
    while batch := list(islice(pictures, BATCH)):
        yield batch


def _store(run: Run, ids: Sequence[str], contents: Sequence[bytes]) -> None:
    """Encode the pictures that have no features yet; they are stored by the hash of their bytes, as the pool's are."""
    encoder = open_encoder(run)
    store = FeatureStore(run.workspace, encoder.identity, "images")
    by_id = dict(zip(ids, contents, strict=True))
    missing = store.missing(ids)
    if missing:
        rows = to_unit_rows(encoder.encode_images([by_id[image_id] for image_id in missing]))
        store.append(missing, *rows, device=encoder.device_name)
