"""Features of pictures that are no part of a build: folders of classes, and pictures to judge."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from evenly.adapters.features import Floats
from evenly.features import to_unit_rows
from evenly.features.batched_rows import ahead
from evenly.features.encoders.stages import READING, timed
from evenly.storage.files.image_folders import Picture
from evenly.tasks.decoding import PictureReader
from evenly.tasks.encoders import open_encoder, open_second
from evenly.tasks.run import Run

_AT_ONCE = 2048
_MOST_BYTES = 256_000_000
"""Pictures that are encoded together: so many, or of so many bytes, so that a folder of any size fits."""
_BATCHES_AHEAD = 16
"""Parts of these that are read ahead, of one picture at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedPictures:
    """Unit rows (n, d) with their lengths (n,) and, with a second backbone, its rows (n, e), by `names`.

    `places` (n,): which of the pictures handed in each row is of, from 0, ascending. `failed`: (name, why) of those
    that could not be read or decoded, in order; theirs are the other places.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    image: Floats
    norms: Floats
    second: Floats | None
    failed: tuple[tuple[str, str], ...]


def encode_pictures(run: Run, pictures: Iterable[Picture], *, total: int | None = None) -> EncodedPictures:
    """Encode pictures, part by part; each is decoded before it is encoded.

    The next part is read while the encoder is opened, and while a part is encoded.
    """
    names: list[tuple[int, str]] = []
    failed: list[tuple[str, str]] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    batch: list[bytes] = []
    n_bytes = 0
    with (
        run.progress.bar("encoding pictures", total) as advance,
        PictureReader(run) as reader,
        closing(_read(reader, pictures)) as reads,
    ):
        begun = list(islice(reads, 1))  # which starts the reading ahead
        open_encoder(run)
        for place, (picture, reason) in enumerate(chain(begun, reads)):
            if reason:
                failed.append((picture.name, reason))
                advance(1)
                continue
            batch.append(picture.content)
            n_bytes += len(picture.content)
            names.append((place, picture.name))
            if len(batch) == _AT_ONCE or n_bytes >= _MOST_BYTES:
                parts.append(_encoded(run, batch, advance))
                batch, n_bytes = [], 0
        if batch:
            parts.append(_encoded(run, batch, advance))
    return EncodedPictures(
        names=tuple(name for _, name in names),
        places=tuple(place for place, _ in names),
        image=_joined([image for image, _, _ in parts]),
        norms=np.concatenate([norms for _, norms, _ in parts]) if parts else np.empty(0, np.float32),
        second=None if run.second is None else _joined([second for _, _, second in parts if second is not None]),
        failed=tuple(failed),
    )


def _encoded(
    run: Run, contents: Sequence[bytes], advance: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rows, norms = to_unit_rows(open_encoder(run).encode_images(contents, progress=advance))
    second = None if run.second is None else to_unit_rows(open_second(run).encode_images(contents))[0]
    return _single(rows), norms, None if second is None else _single(second)


def _single(rows: np.ndarray) -> np.ndarray:
    """Half-precision rows, as a build stores them, as unit rows in single precision."""
    single = rows.astype(np.float32)
    unit: np.ndarray = single / np.linalg.norm(single, axis=1, keepdims=True)
    return unit


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _read(reader: PictureReader, pictures: Iterable[Picture]) -> Generator[tuple[Picture, str], None, None]:
    """Each picture with the reason why it cannot be read, or ""; up to a part is read ahead, until this is closed."""

    def judged(batch: Sequence[Picture]) -> list[tuple[Picture, str]]:
        with timed(READING):
            reads = reader.read([picture.content for picture in batch if not picture.error])
            return [(picture, picture.error or next(reads).error) for picture in batch]

    with ThreadPoolExecutor(1) as pool:
        for batch in ahead(pool, judged, _batches(pictures), _BATCHES_AHEAD):
            yield from batch


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Pictures in parts of a part, by number and bytes."""
    batch: list[Picture] = []
    n_bytes = 0
    for picture in pictures:
        batch.append(picture)
        n_bytes += len(picture.content)
        if len(batch) == _AT_ONCE // _BATCHES_AHEAD or n_bytes >= _MOST_BYTES // _BATCHES_AHEAD:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch
