"""The content of an export: rows in uid order, and their pictures one after another."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evenly.storage.errors import DamagedError
from evenly.storage.exports.rows import Rows, need_columns

ReadBytes = Callable[[Sequence[str]], Iterator[bytes]]

COLUMNS = {
    "uid": "128-bit hex of the URL and the original caption",
    "url": "where the picture was downloaded from",
    "caption": "the caption as it came with the picture",
    "chosen_caption": "the caption chosen for training: the original, a merged duplicate's, or one that was made",
    "caption_origin": "where the chosen caption is from: original, twin (a merged duplicate), or a captioner's name",
    "caption_score": "cosine of picture and chosen caption by the build's encoder",
    "caption_reason": "why it was chosen, as fits_best, drawn, nothing_better, nothing_offered or kept_by_rule",
    "source": "the pool the pair came from",
    "source_id": "the pair's id in its pool",
    "image_id": "SHA-256 of the picture's bytes as downloaded",
    "format": "the picture's format",
    "width": "width in pixels",
    "height": "height in pixels",
    "label": "class name",
    "group": "pictures of one group never part in a split",
}
_MAGIC = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
}
_PICTURES_AT_ONCE = 100_000  # where pictures lie is looked up for so many at a time
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One pair: its row, the caption chosen for it, and its original bytes with their true file extension."""

    uid: str
    row: dict[str, Any]
    caption: str
    extension: str
    picture: bytes


@dataclass(frozen=True, kw_only=True)
class Content:
    """Rows in uid order, and a way to their pictures. `progress` is called with the number of rows just done."""

    rows: Rows
    read_bytes: ReadBytes
    name: str
    seed: int
    progress: Callable[[int], None]

    def samples(self) -> Iterator[Sample]:
        """All pairs in uid order. Raises DamagedError where a picture's bytes are not those that its id names."""
        need_columns(self.rows.schema, ("caption", "image_id"))
        for table in self.rows.tables(_PICTURES_AT_ONCE):
            pictures = self.read_bytes(table["image_id"].to_pylist())
            for row in (row for batch in table.to_batches(_ROWS_AT_ONCE) for row in batch.to_pylist()):
                picture = next(pictures, b"")
                if hashlib.sha256(picture).hexdigest() != row["image_id"]:
                    raise DamagedError(
                        f"picture of `{row['uid']}` must have SHA-256 `{row['image_id']}`; got {len(picture)} bytes "
                        "that do not. Restore the downloads from a backup, or rebuild from a new download."
                    )
                yield Sample(
                    uid=row["uid"],
                    row=row,
                    caption=chosen_caption(row),
                    extension=true_extension(picture),
                    picture=picture,
                )
                self.progress(1)


def chosen_caption(row: dict[str, Any]) -> str:
    """The chosen caption of `row`, else the original one, else ""."""
    chosen = row.get("chosen_caption")
    return str(chosen if chosen is not None else row["caption"] or "")


def true_extension(picture: bytes) -> str:
    """The file extension of `picture` by its first bytes; "bin" if they are of no known format."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "webp"
    if picture[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((extension for magic, extension in _MAGIC.items() if picture.startswith(magic)), "bin")


def json_line(row: dict[str, Any]) -> bytes:
    """`row` as one line of ASCII JSON with sorted keys; what JSON lacks becomes null (NaN), hex (bytes) or text."""
    return json.dumps(_plain(row), sort_keys=True, allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of an Arrow table
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
