"""The content of an export: rows in uid order, read anew at each need, and their pictures one after another.

ExportError (a StorageError)
├── ExistingExportError   the folder holds something else
└── MissingExtraError     a format needs an optional package
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.records import content_hash
from evenly.storage.tables.arrow_files import tables_of
from evenly.storage.tables.hashing import table_hash


class ExportError(StorageError):
    """Root of this package's errors: the rows or the name cannot be exported as they are."""


class ExistingExportError(ExportError):
    """The folder holds something other than this export; nothing of it was touched."""


class MissingExtraError(ExportError):
    """The format needs a package that is not installed."""


ReadRows = Callable[[], Iterator[pa.Table]]
"""Gives the rows, at each call from the first on: tables that follow each other in uid order."""

_HASHED_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows sorted by uid, each once. `digest`: the hash of their content, however they are cut into tables."""

    schema: pa.Schema
    count: int
    digest: str
    read: ReadRows

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """The rows in tables of `rows` rows each, the last of what is left."""
        return _cut(self.read(), rows)


def check_exported(read: ReadRows) -> Rows:
    """The rows that `read` gives. Raises ExportError unless every uid is 32 hex digits, greater than the one before."""
    schema = pa.schema([])
    digests: list[str] = []
    count, last = 0, ""
    for table in _cut(read(), _HASHED_AT_ONCE):
        schema = table.schema
        last = _check_uids(table, last)
        digests.append(table_hash(table))
        count += table.num_rows
    digest = digests[0] if len(digests) == 1 else content_hash({"tables": digests})
    return Rows(schema=schema, count=count, digest=digest, read=read)


def reading_of(table: pa.Table) -> ReadRows:
    """A reader of the rows of a table, in whatever order it has them."""
    if "uid" in table.column_names and not _ascends(table["uid"].cast(pa.string())):
        table = table.sort_by("uid")
    return lambda: iter([table])


def need_columns(schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise ExportError, naming all that is missing, unless the rows have the columns `names`."""
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise ExportError(
            f"`rows` must have the columns {', '.join(names)}; {', '.join(missing)} missing. "
            "Export a build that downloaded its pictures, or choose a format without pictures."
        )


def _check_uids(table: pa.Table, last: str) -> str:
    """The last uid of `table`, which follows rows up to the uid `last`."""
    need_columns(table.schema, ("uid",))
    uids = table["uid"].cast(pa.string())
    plain = pc.fill_null(pc.match_substring_regex(uids, r"^[0-9a-f]{32}$"), False)
    if not pc.all(plain, min_count=0).as_py():
        wrong = uids.filter(pc.invert(plain))[0].as_py()
        raise ExportError(f"`uid` must be 32 lower-case hex digits; got {wrong!r}. Export rows of a build.")
    if not _ascends(uids) or (table.num_rows and uids[0].as_py() <= last):
        raise ExportError("`uid` must be unique; got one twice. Export the kept rows of one build only.")
    return str(uids[-1].as_py()) if table.num_rows else last


def _cut(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables of `rows` rows, the last of what is left, without schema metadata."""
    plain = (pa.Table.from_arrays(table.columns, names=table.column_names) for table in tables)
    return (table.combine_chunks() for table in tables_of(plain, rows))


def _ascends(uids: pa.ChunkedArray) -> bool:
    """True if each uid is greater than the one before."""
    return bool(pc.all(pc.less(uids[:-1], uids[1:]), min_count=0).as_py())


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
    "reservation": "mechanisms by which rights in the picture are reserved; empty: none",
    "picture_copyright": "the copyright that the picture's file names",
    "picture_license": "the licence that the picture's file names",
    "label": "class name",
    "group": "pictures of one group never part in a split",
    "regions": "regions of the picture that count: box (x0, y0, x1, y1 in pixels of the upright picture), area, mask "
    "(COCO's run lengths), label, phrase, score, source",
}
REGION = pa.struct([
    ("box", pa.list_(pa.float64())), ("area", pa.float64()), ("mask", pa.string()), ("label", pa.string()),
    ("phrase", pa.string()), ("score", pa.float64()), ("source", pa.string()),
])  # fmt: skip
"""A region of the column `regions`; area: of its mask in pixels, else of its box."""
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
class About:
    """What is told of a build beside its rows, in the cards of formats that have one.

    text: sections of a card, as Markdown. responsible: Croissant's fields for responsible AI, by mlcroissant's names.
    made_by_models: whether models made some of the captions.
    """

    languages: tuple[str, ...]
    made_by_models: bool
    text: str
    description: str
    responsible: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Content:
    """Rows in uid order, and a way to their pictures. `progress` is called with the number of rows just done.

    about: what is told of their build; None for rows of which no more is known.
    """

    rows: Rows
    read_bytes: ReadBytes
    name: str
    seed: int
    progress: Callable[[int], None]
    about: About | None = None

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


def has_regions(schema: pa.Schema) -> bool:
    """Whether rows have the column `regions` of a build, of REGION and what else it has; a pool's own is another."""
    kind = schema.field("regions").type if "regions" in schema.names else pa.null()
    is_struct = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    return is_struct and [*kind.value_type][: len(REGION)] == [*REGION]


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
