"""Pairs whose pictures need no download: read by hash, never by place.

The `url` of such a pair is `sha256:<hash of the picture's bytes>`, or `features:<hash of its features>` where only
these are there. No web address can look like one.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from evenly.storage.pools.rows import JsonText, json_row, text_array
from evenly.storage.pools.texts import is_utf8_text
from evenly.storage.reading.budget import TOO_LARGE, check_width, stretches
from evenly.storage.stores.object_path import ObjectPath

LOCAL, FEATURES = "sha256:", "features:"
LIMIT_TEXT = 1_000_000  # bytes of a caption or of what stands beside it
_CHUNK = 1 << 20
_ROWS = 4_096


class Place(NamedTuple):
    """Where the bytes of a picture lie."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes; fewer where the file has become shorter."""
        if isinstance(self.path, ObjectPath):
            return self.path.read_range(self.offset, self.size)
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@dataclass(frozen=True, kw_only=True)
class LocalRow:
    """A picture with a caption and what else stands beside it, or in `reject` why it makes no pair.

    listed: the further columns of the list that names it, of some rows, and its row among them.
    """

    file_name: str
    image_id: str | None = None
    caption: str | None = None
    columns: Mapping[str, object]
    reject: str = ""
    place: Place | None = None
    listed: "tuple[pa.Table, int] | None" = None

    @property
    def size(self) -> int:
        """Characters of its texts, without those of the list that names it."""
        texts = (self.file_name, self.caption, *self.columns, *self.columns.values())
        return sum(len(text) if isinstance(text, str) else 8 for text in texts)


class LocalRows(NamedTuple):
    """Rows of a pool in columns: `url` as above, `caption`, why a row is no pair or null, and `extra` columns."""

    url: pa.Array
    caption: pa.Array
    reject: pa.Array
    extra: pa.Table


@dataclass(frozen=True)
class PictureMetadata:
    """The text beside a picture: its caption, its other columns, and why it makes no pair, or ""."""

    caption: str | None
    columns: Mapping[str, object]
    reject: str = ""


def read_metadata(text: bytes | None, record: bytes | None, key: str | None) -> PictureMetadata:
    """The caption of a `.txt` and the object of a `.json`, each None where there is none.

    `key` names the caption in the object, and no text is looked at; None: the text, else the key `caption`.
    Lists and objects in the object come as JSON, which takes less room.
    Reasons: text_too_large (or more than 1,000 keys), bad_metadata (no JSON object), bad_caption (no text, no UTF-8),
    missing_caption.
    """
    if max(len(text or b""), len(record or b"")) > LIMIT_TEXT:
        return PictureMetadata(None, {}, "text_too_large")
    columns = {} if record is None else json_row(record)
    if isinstance(columns, str):
        return PictureMetadata(None, {}, "text_too_large" if columns == TOO_LARGE else "bad_metadata")
    if key is None and text is not None:
        caption: object = _decoded(text)
    else:
        caption = columns.pop(key or "caption", None)
        if caption is None:
            return PictureMetadata(None, columns, "missing_caption")
    if is_utf8_text(caption) and not isinstance(caption, JsonText):
        return PictureMetadata(caption, columns)
    return PictureMetadata(None, columns, "bad_caption")


def _decoded(text: bytes) -> str | None:
    """A text without its last line end; None where it is no UTF-8."""
    try:
        return text.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None


def hash_range(stream: BinaryIO, offset: int, size: int) -> str:
    """SHA-256, in hex, of `size` bytes from `offset`, read in pieces."""
    digest = hashlib.sha256()
    stream.seek(offset)
    while size > 0 and (content := stream.read(min(size, _CHUNK))):
        digest.update(content)
        size -= len(content)
    return digest.hexdigest()


def in_columns(rows: Iterator[LocalRow], path: Path) -> Iterator[LocalRows]:
    """Rows in stretches of bounded size; values beside a picture as text or JSON, those of lists as they are there.

    Raises TooLargeError where they have too many columns together.
    """
    names: dict[str, None] = {}

    def sized() -> Iterator[tuple[int, LocalRow]]:
        for row in rows:
            if not row.columns.keys() <= names.keys():
                names.update(dict.fromkeys(row.columns))
                check_width(names, path, f", `{row.file_name}`")
            yield row.size, row

    for stretch in stretches(sized(), _ROWS):
        for _, listed in groupby(stretch, key=lambda row: id(row.listed and row.listed[0])):
            yield _columns(list(listed))


def _columns(rows: Sequence[LocalRow]) -> LocalRows:
    names = list(dict.fromkeys(["file_name", *(name for row in rows for name in row.columns)]))
    names = [name for name in names if is_utf8_text(name)]
    extra = {name: text_array([row.columns.get(name) for row in rows]) for name in names if name != "file_name"}
    if rows[0].listed:
        listing = rows[0].listed[0].slice(rows[0].listed[1], len(rows))
        extra |= dict(zip(listing.column_names, listing.columns, strict=True))
    return LocalRows(
        url=pa.array([None if row.image_id is None else LOCAL + row.image_id for row in rows], pa.string()),
        caption=pa.array([row.caption for row in rows], pa.string()),
        reject=pa.array([row.reject or None for row in rows], pa.string()),
        extra=pa.table({"file_name": text_array([row.file_name for row in rows]), **extra}),
    )
