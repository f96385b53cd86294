"""Pictures: the bytes that are held have the hash that names them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import pyarrow.compute as pc

from audit.findings import Finding
from audit.published import PublishedBuild
from storage.errors import StorageError

_BATCH = 256


def check_images(
    build: PublishedBuild, read_bytes: Callable[[Sequence[str]], Iterable[bytes]], images: int | Literal["all"]
) -> Iterator[Finding]:
    """Yield a finding for each picture of a kept pair whose bytes are gone or hash to something else.

    A number of `images` takes those whose ids are smallest: a sample, since ids are hashes, and always the same one.
    """
    for ids in _batches(_image_ids(build, images)):
        try:
            pairs: list[tuple[str, bytes | str]] = list(zip(ids, read_bytes(ids), strict=True))
        except (StorageError, OSError, KeyError, ValueError):
            pairs = [(image_id, _read_one(read_bytes, image_id)) for image_id in ids]
        for image_id, data in pairs:
            if isinstance(data, str):
                yield Finding.of("image", image_id, f"its bytes are not readable: {data}")
            elif (found := hashlib.sha256(data).hexdigest()) != image_id:
                yield Finding.of("image", image_id, f"its bytes hash to {found}")


def _read_one(read_bytes: Callable[[Sequence[str]], Iterable[bytes]], image_id: str) -> bytes | str:
    """The bytes of one picture, or why they cannot be read."""
    try:
        return next(iter(read_bytes([image_id])), "nothing came back")
    except (StorageError, OSError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _image_ids(build: PublishedBuild, images: int | Literal["all"]) -> list[str]:
    if "image_id" not in build.sample_columns:
        return []
    last = f"{build.deciding[-1].name}_verdict"
    rows = build.samples(["image_id", last])
    kept = rows.filter(pc.equal(rows[last], "kept"))["image_id"].drop_null()
    ids = sorted(set(kept.to_pylist()))
    return ids if images == "all" else ids[:images]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
