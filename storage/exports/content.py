"""The content of an export: checked rows in uid order, and their pictures one after another."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import DamagedError
from evenly.storage.exports.errors import ExportError

ReadBytes = Callable[[Sequence[str]], Iterator[bytes]]

COLUMNS = {
    "uid": "128-bit hex of the URL and the original caption",
    "url": "where the picture was downloaded from",
    "caption": "the caption as it came with the picture",
    "chosen_caption": "the caption chosen for training: the original or a rewritten one",
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
_AT_ONCE = 1000


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
    """Rows sorted by uid, and a way to their pictures. `progress` is told how many rows were just done."""

    rows: pa.Table
    read_bytes: ReadBytes
    name: str
    seed: int
    progress: Callable[[int], None]

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The rows as dicts, in uid order, a few at a time."""
        for batch in self.rows.to_batches(max_chunksize=_AT_ONCE):
            yield batch.to_pylist()

    def samples(self) -> Iterator[Sample]:
        """All pairs in uid order. Raises DamagedError where a picture's bytes are not those that its id names."""
        need_columns(self.rows, ("caption", "image_id"))
        pictures = self.read_bytes(self.rows["image_id"].to_pylist())
        for row in (row for batch in self.batches() for row in batch):
            picture = next(pictures, b"")
            if hashlib.sha256(picture).hexdigest() != row["image_id"]:
                raise DamagedError(
                    f"picture of `{row['uid']}` must have SHA-256 `{row['image_id']}`; got {len(picture)} bytes that "
                    "do not. Restore the downloads from a backup, or rebuild from a new download."
                )
            yield Sample(
                uid=row["uid"],
                row=row,
                caption=chosen_caption(row),
                extension=true_extension(picture),
                picture=picture,
            )
            self.progress(1)


def sorted_rows(rows: pa.Table) -> pa.Table:
    """`rows` sorted by uid, without schema metadata. Raises ExportError unless every uid is 32 hex digits, once."""
    need_columns(rows, ("uid",))
    rows = pa.Table.from_arrays(rows.columns, names=rows.column_names)
    uids = rows["uid"].cast(pa.string())
    plain = pc.fill_null(pc.match_substring_regex(uids, r"^[0-9a-f]{32}$"), False)
    if not pc.all(plain, min_count=0).as_py():
        wrong = uids.filter(pc.invert(plain))[0].as_py()
        raise ExportError(f"`uid` must be 32 lower-case hex digits; got {wrong!r}. Export rows of a build.")
    if not _ascends(uids):
        rows = rows.sort_by("uid")
        uids = rows["uid"]
    if not _ascends(uids):
        raise ExportError("`uid` must be unique; got one twice. Export the kept rows of one build only.")
    return rows


def need_columns(rows: pa.Table, names: Sequence[str]) -> None:
    """Raise ExportError, naming all that is missing, unless `rows` has the columns `names`."""
    missing = [name for name in names if name not in rows.column_names]
    if missing:
        raise ExportError(
            f"`rows` must have the columns {', '.join(names)}; {', '.join(missing)} missing. "
            "Export a build that downloaded its pictures, or choose a format without pictures."
        )


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


def _ascends(uids: pa.ChunkedArray) -> bool:
    """True if each uid is greater than the one before."""
    return bool(pc.all(pc.less(uids[:-1], uids[1:]), min_count=0).as_py())
