"""Original bytes of pictures, handed in; one that is gone does not hide the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from evenly.storage.errors import StorageError

ReadBytes = Callable[[Sequence[str]], Iterable[bytes]]
"""From image ids to their original bytes, in the order given; raises where one of them is missing."""

_BATCH = 256
_GONE = (StorageError, OSError, LookupError, ValueError)


def each_image(read_bytes: ReadBytes, image_ids: Sequence[str]) -> Iterator[tuple[str, bytes | str]]:
    """Yield each image id with its bytes, or with a sentence that says why there are none."""
    for start in range(0, len(image_ids), _BATCH):
        batch = image_ids[start : start + _BATCH]
        try:
            contents: list[bytes | str] = list(read_bytes(batch))
        except _GONE:
            contents = []
        if len(contents) != len(batch):
            contents = [_read_one(read_bytes, image_id) for image_id in batch]
        yield from zip(batch, contents, strict=True)


def _read_one(read_bytes: ReadBytes, image_id: str) -> bytes | str:
    try:
        return next(iter(read_bytes([image_id])), "nothing came back")
    except _GONE as error:
        return f"{type(error).__name__}: {error}"
