"""Arrays that a package ships packed with xz, kept unpacked in a cache: they are read in a tenth of the time."""

import io
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

import numpy as np

from evenly.storage.records import replacing
from evenly.storage.tables.hashing import file_hash

_FOLDER = "unpacked"


def unpacked_arrays(cache: Path, packed: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file that is packed, by name; what is kept is known by the hash of the packed file.

    It is unpacked where nothing is kept yet or that is damaged, which the checksums of each array tell; a cache that
    cannot be written is left as it is.
    """
    kept = cache / _FOLDER / f"{file_hash(packed)}.npz"
    try:
        with kept.open("rb") as stream:
            return _read(stream)
    except (OSError, ValueError, EOFError, BadZipFile):  # not there, or damaged
        import lzma

        with lzma.open(packed) as archive:
            content = archive.read()
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as written:
            written.write(content)
    return _read(io.BytesIO(content))


def _read(source: BinaryIO) -> dict[str, np.ndarray]:
    with np.load(source, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
