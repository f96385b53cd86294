"""Features of pictures that are no part of a build: folders of classes, and pictures to judge."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from evenly.adapters.features import Floats
from evenly.features import to_unit_rows
from evenly.storage.files.image_folders import Picture
from evenly.tasks.decoding import PictureReader
from evenly.tasks.encoders import open_encoder, open_second
from evenly.tasks.pictures.ahead import read_ahead
from evenly.tasks.run import Run

_AT_ONCE = 256
"""Pictures whose pixels are kept for a second backbone."""


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
    """Encode pictures, which are read and decoded ahead: while the encoder is opened, and while others are encoded."""
    names: list[tuple[int, str]] = []
    failed: list[tuple[str, str]] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    with (
        run.progress.bar("encoding pictures", total) as advance,
        PictureReader(run, run.encoder.resize) as reader,
        read_ahead(reader, pictures, threads=run.processes) as reads,
    ):

        def decoded() -> Iterator[np.ndarray]:
            for place, (name, picture) in enumerate(reads):
                if picture.pixels is None:
                    failed.append((name, picture.error))
                    advance(1)
                    continue
                names.append((place, name))
                yield picture.pixels

        encoder = open_encoder(run)
        if run.second is None:
            parts.append((*to_unit_rows(encoder.encode_images(decoded(), progress=advance)), None))
        else:
            waiting = decoded()
            while part := list(islice(waiting, _AT_ONCE)):
                rows, norms = to_unit_rows(encoder.encode_images(part, progress=advance))
                parts.append((rows, norms, to_unit_rows(open_second(run).encode_images(part))[0]))
    return EncodedPictures(
        names=tuple(name for _, name in names),
        places=tuple(place for place, _ in names),
        image=_joined([image for image, _, _ in parts]),
        norms=np.concatenate([norms for _, norms, _ in parts]) if parts else np.empty(0, np.float32),
        second=None if run.second is None else _joined([second for _, _, second in parts if second is not None]),
        failed=tuple(failed),
    )


def _single(rows: np.ndarray) -> np.ndarray:
    """Half-precision rows, as a build stores them, as unit rows in single precision."""
    single = rows.astype(np.float32)
    unit: np.ndarray = single / np.linalg.norm(single, axis=1, keepdims=True)
    return unit


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([_single(part) for part in parts]) if parts else np.empty((0, 0), np.float32)
