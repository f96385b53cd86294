"""Pools of image-text pairs as people have them, read as one stream of rows.

Tables of URLs and captions (Parquet, CSV, JSON lines, WAT), pictures at hand (webdataset shards, folders), and features
without pictures. Every row of a pool comes out, in order. One from which no pair can be made carries a word in
`reject`: in tables missing_url, bad_url (no text, or not http or https), missing_caption, bad_caption (no text) and
bad_row (no row at all); for the others docs/sources.md lists them. Tables of captions alone have no URLs to miss.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.pools.annotations import with_annotations
from evenly.storage.pools.columns import POOL_COLUMNS, PoolSource, Stretch, first_reason, pool_columns, url_cases
from evenly.storage.pools.csv_records import HOW_CSV_IS_READ
from evenly.storage.pools.features import PooledFeatures, feature_files, feature_rows, no_pictures
from evenly.storage.pools.folders import folder_hash, folder_rows, has_typed_lists
from evenly.storage.pools.local_rows import LocalRow, LocalRows, in_columns
from evenly.storage.pools.rows import (
    PoolError,
    PoolPiece,
    PoolReader,
    RawRows,
    csv_columns,
    csv_rows,
    file_kind,
    jsonl_columns,
    jsonl_rows,
    parquet_columns,
    parquet_pieces,
    parquet_rows,
    readable,
    require_columns,
)
from evenly.storage.pools.texts import as_label, as_text
from evenly.storage.pools.wat import wat_columns, wat_rows
from evenly.storage.pools.webdataset import webdataset_rows
from evenly.storage.reading.budget import check_width
from evenly.storage.stores.files import matching_files
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.hashing import file_hash

__all__ = [
    "LOCAL_READERS",
    "POOL_COLUMNS",
    "READERS",
    "TABLE_READERS",
    "LabelFile",
    "PoolError",
    "PoolSource",
    "local_features",
    "local_pictures",
    "pool_pieces",
    "read_captions",
    "read_labels",
    "read_pool",
    "require_rows",
    "source_files",
    "source_hash",
]

FEATURES_KIND = "features"


@dataclass(frozen=True)
class LocalReader:
    """A reader of pools that need no download: rows with pictures, given a file or folder and the caption's key."""

    rows: Callable[[Path, str | None], Iterator[LocalRow]]
    of_folders: bool = False


TABLE_READERS: Mapping[str, PoolReader] = {
    "parquet": PoolReader(parquet_columns, parquet_rows),
    "csv": PoolReader(csv_columns, csv_rows),
    "jsonl": PoolReader(jsonl_columns, jsonl_rows),
}
READERS: Mapping[str, PoolReader] = {**TABLE_READERS, "wat": PoolReader(wat_columns, wat_rows)}
LOCAL_READERS: Mapping[str, LocalReader] = {
    "webdataset": LocalReader(webdataset_rows),
    "folder": LocalReader(folder_rows, of_folders=True),
    FEATURES_KIND: LocalReader(no_pictures),
}


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A file that gives pictures a class and, where `group` is named, a group; `key` is its column of keys."""

    file: str
    key: str = "url"
    column: str = "label"
    group: str | None = "group"


def pool_pieces(source: PoolSource) -> list[PoolPiece]:
    """The pieces of a pool that `read_pool` can read alone, in order: files, and parts of large Parquet files."""
    files = source_files(source)
    if source.kind == "parquet":
        return [piece for file in files for piece in parquet_pieces(file)]
    pieces = [(file,) for file in files] if source.kind in {*READERS, FEATURES_KIND} else [tuple(files)]
    return [PoolPiece(piece) for piece in pieces]


def read_pool(source: PoolSource, piece: PoolPiece | None = None) -> Iterator[pa.Table]:
    """Read a pool in stretches of bounded size, files sorted by path.

    Columns: url, caption, source_id, source (strings), file_hash (sha256 of the file, hex), row (int64, from 0 in its
    file), reject (null, or why no pair can be made), then the pool's other columns. Values of url and caption are
    as in the file, null where they are no text; url is null where the source names none. Raises PoolError now for a
    file or column that is not there, and at the end for a pool without rows. `piece`, of `pool_pieces`, is read alone,
    and may be empty. For pictures at hand, url is as evenly.storage.pools.local_rows says.
    """
    files = source_files(source) if piece is None else list(piece.files)
    if source.kind in LOCAL_READERS:
        return _read_local(files, source, some_rows=piece is None)
    reader = _reader(source.kind)
    named = {"url": source.url, "caption": source.caption_column, "id": source.id, "source": source.source}
    for file in files:
        _require_columns(file, reader.columns(file), named)
    return _rows_of(reader, files, source, piece)


def read_captions(source: PoolSource) -> Iterator[pa.Array]:
    """The captions of a pool in stretches of bounded size, in order; null where there is no text.

    Its other columns need not be there. Raises PoolError now for a file or column that is not there.
    """
    files = source_files(source)
    if source.kind in LOCAL_READERS:
        return (rows.caption for file in files for rows in _local_rows(file, source))
    reader, caption = _reader(source.kind), source.caption_column
    for file in files:
        _require_columns(file, reader.columns(file), {"caption": caption})
    raws = (raw for file in files for raw in reader.rows(file, (caption,)))
    return (as_text(raw.table[caption], raw.not_text.get(caption, ()))[0] for raw in raws)


def local_pictures(source: PoolSource) -> Iterator[LocalRow]:
    """The rows of a pool that make a pair and have their picture at hand: `place` says where; of other pools, none."""
    if source.kind not in LOCAL_READERS:
        return
    for path in source_files(source):
        with readable(path, source.kind):
            yield from (row for row in LOCAL_READERS[source.kind].rows(path, source.caption) if not row.reject)


def local_features(source: PoolSource, piece: PoolPiece | None = None) -> Iterator[PooledFeatures]:
    """The rows of a pool of features, or of a piece, with these, in stretches of bounded size; of other pools, none."""
    if source.kind == FEATURES_KIND:
        for path in source_files(source) if piece is None else piece.files:
            yield from feature_rows(path, source.caption, source.vector or "vector")


def source_hash(source: PoolSource | LabelFile) -> str:
    """SHA-256 over the names (not the folders) and the contents of a source's files, and how they are read.

    It is what a step that reads the source keys: other columns give another hash.
    """
    files = source_files(source) if isinstance(source, PoolSource) else [_label_file(source)]
    fields = {name: value for name, value in asdict(source).items() if name not in {"path", "file"}}
    if fields.get("regions") is None:
        fields.pop("regions", None)  # as before there were any
    if isinstance(source, LabelFile):
        fields["numbers"] = "as text"
    if any(_holds_csv(file, source) for file in files):
        fields |= HOW_CSV_IS_READ
    if isinstance(source, PoolSource) and source.kind == "folder" and any(map(has_typed_lists, files)):
        fields["lists"] = "columns keep their types"
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    for name, content in sorted((file.name, _pool_hash(file, source)) for file in files):
        digest.update(f"{len(name)}:{name}:{content}\n".encode())
    return digest.hexdigest()


def read_labels(labels: LabelFile) -> pa.Table:
    """Read a label file (its kind by its suffix): columns key, label, group (strings; group null without one).

    Rows come in the file's order, each key once. Raises PoolError where a key has two labels or groups, and for a row
    that cannot be read: no one would miss its label.
    """
    path = _label_file(labels)
    reader = _reader(file_kind(path))
    named = {"labels.key": labels.key, "labels.column": labels.column, "labels.group": labels.group}
    _require_columns(path, reader.columns(path), named)
    names = [name for name in named.values() if name is not None]
    stretches = [_label_rows(_unbroken(raw, path), names) for raw in reader.rows(path, names)]
    table = pa.concat_tables(stretches) if stretches else _label_rows(pa.table({name: [] for name in names}), names)
    table = table.filter(pc.is_valid(table["key"])).group_by(["key", "label", "group"], use_threads=False).aggregate([])
    counts = Counter(table["key"].to_pylist())
    repeated = next((key for key, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise PoolError(f"`{labels.key}` must have one label and group each; got several for `{repeated}` at `{path}`.")
    return table.select(["key", "label", "group"])


def _unbroken(raw: RawRows, path: Path) -> pa.Table:
    place = next((raw.place(row) for row, reason in enumerate(raw.rejects) if reason), None)
    if place is not None:
        raise PoolError(
            "`labels.file` must have the header's number of fields in each row, and quotes that end; got a broken row "
            f"at `{path}`, {place}. Correct it."
        )
    return raw.table


def _label_rows(table: pa.Table, names: list[str]) -> pa.Table:
    fields = ("labels.key", "labels.column", "labels.group")
    columns = [
        as_label(table[name], name, field) if name in table.column_names else None
        for name, field in zip(names, fields, strict=False)
    ]
    columns += [None] * (3 - len(columns))
    empty = pa.nulls(table.num_rows, pa.string())
    return pa.table([empty if column is None else column for column in columns], names=["key", "label", "group"])


def _rows_of(reader: PoolReader, files: list[Path], source: PoolSource, piece: PoolPiece | None) -> Iterator[pa.Table]:
    total, text = 0, _text_columns(source)
    for file in files:
        row = 0 if piece is None else piece.first_row
        groups = None if piece is None else piece.groups
        for raw in reader.rows(file, text) if groups is None else parquet_rows(file, text, groups):
            if raw.table.num_rows:
                yield _standard(raw, source, file, row)
                row += raw.table.num_rows
        total += row
    if piece is None:
        require_rows(total, source)


def require_rows(total: int, source: PoolSource) -> None:
    """Raise PoolError for a pool of no rows."""
    if total == 0:
        raise PoolError(f"`path` must hold at least one row; got none in `{source.path}`. Fill it or leave it out.")


def _local_rows(path: Path, source: PoolSource) -> Iterator[LocalRows]:
    if source.kind == FEATURES_KIND:
        yield from (stretch.rows for stretch in feature_rows(path, source.caption, source.vector or "vector"))
        return
    with readable(path, source.kind):
        rows = LOCAL_READERS[source.kind].rows(path, source.caption)
        yield from in_columns(with_annotations(rows, path, source.regions), path)


def _read_local(files: list[Path], source: PoolSource, *, some_rows: bool) -> Iterator[pa.Table]:
    total, columns = 0, set[str]()
    for file in files:
        row, content = 0, _pool_hash(file, source)
        for rows in _local_rows(file, source):
            place = Stretch(source, file.name, content, row)
            yield pool_columns(rows.url, rows.caption, rows.reject, rows.extra, place)
            row += rows.extra.num_rows
            columns |= set(rows.extra.column_names)
            check_width(columns, file)
        total += row
    if some_rows:
        require_rows(total, source)
    _require_columns(files[0], sorted(columns), {"id": source.id, "source": source.source})


def _standard(raw: RawRows, source: PoolSource, file: Path, first_row: int) -> pa.Table:
    table, n = raw.table, raw.table.num_rows
    caption, caption_is_bad = as_text(table[source.caption_column], raw.not_text.get(source.caption_column, ()))
    place = Stretch(source, file.name, _file_hash(file), first_row, frozenset(_text_columns(source)))
    if source.url is None:  # an empty caption names nothing
        url, cases, is_missing = pa.nulls(n, pa.string()), {}, pc.equal(pc.fill_null(caption, ""), "")
    else:
        url, url_is_bad = as_text(table[source.url], raw.not_text.get(source.url, ()))
        cases, is_missing = url_cases(url, url_is_bad), pc.is_null(caption)
    cases |= {"bad_caption": caption_is_bad, "missing_caption": is_missing}
    return pool_columns(url, caption, first_reason(cases, raw.rejected), table, place)


def _text_columns(source: PoolSource) -> tuple[str, ...]:
    """The columns of a table that are to hold text."""
    return (source.caption_column,) if source.url is None else (source.url, source.caption_column)


def _reader(kind: str) -> PoolReader:
    if kind not in READERS:
        kinds = ", ".join(sorted([*READERS, *LOCAL_READERS]))
        raise PoolError(f"`kind` must be one of {kinds}; got `{kind}`. Choose one of them.")
    return READERS[kind]


def source_files(source: PoolSource) -> list[Path]:
    """The files of a pool, or its folders, sorted by path."""
    of_folders = source.kind in LOCAL_READERS and LOCAL_READERS[source.kind].of_folders
    files = matching_files(source.path)
    if source.kind in ("folder", FEATURES_KIND) and any(isinstance(file, ObjectPath) for file in files):
        raise PoolError(
            f"`path` of kind {source.kind} must be of this machine; got `{source.path}`. Copy it here, or make it "
            "shards of kind webdataset."
        )
    files = [file for file in files if (file.is_dir() if of_folders else file.is_file())]
    if not files:
        noun = "folder" if of_folders else "file"
        raise PoolError(f"`path` must match at least one {noun}; got `{source.path}`. Correct it, or make the {noun}.")
    return files


def _label_file(labels: LabelFile) -> Path:
    path = Path(labels.file).expanduser()
    if not path.is_file():
        raise PoolError(f"`labels.file` must be a file; got `{path}`. Correct it, or leave labels out.")
    return path


def _require_columns(path: Path, columns: list[str], named: Mapping[str, str | None]) -> None:
    repeated = next((name for name, count in Counter(columns).items() if count > 1), None)
    if repeated is not None:
        raise PoolError(f"columns must have different names; got `{repeated}` twice at `{path}`. Rename one.")
    require_columns(path, columns, named)


def _pool_hash(path: Path, source: PoolSource | LabelFile) -> str:
    """SHA-256 of all that rows are read from: a file, a folder, or a file with arrays beside it."""
    if path.is_dir():
        return folder_hash(path)
    if isinstance(source, PoolSource) and source.kind == FEATURES_KIND:
        return hashlib.sha256("".join(map(_file_hash, feature_files(path))).encode()).hexdigest()
    return _file_hash(path)


def _holds_csv(path: Path, source: PoolSource | LabelFile) -> bool:
    """Whether rows come out of CSV: of the file itself, or of a list in the folder."""
    if path.is_dir():
        return any(path.rglob("*.csv"))
    return (source.kind if isinstance(source, PoolSource) else file_kind(path)) == "csv"


def _file_hash(path: Path) -> str:
    stat = path.stat()
    return _content_hash(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4096)
def _content_hash(path: Path, *_version: int) -> str:
    return file_hash(path)
