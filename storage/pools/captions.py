"""Captions of a pool for matching, and of a corpus for counting words: only columns that are asked for, in stretches.

Every row comes out, in order; one that cannot be matched carries a word in `reject`: bad_row (no row at all),
row_too_large, missing_caption, bad_caption (no text), missing_uid, and where uids are made of URLs missing_url and
bad_url.
"""

import glob
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.storage.errors import InputError, StorageError
from evenly.storage.pools.columns import first_reason, url_cases
from evenly.storage.pools.rows import (
    PoolError,
    PoolPiece,
    RawRows,
    file_kind,
    parquet_pieces,
    readable,
    require_columns,
)
from evenly.storage.pools.source import READERS, TABLE_READERS
from evenly.storage.pools.texts import as_label, as_text
from evenly.storage.reading.parquet import bounded_batches
from evenly.storage.tables.hashing import file_hash

_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class CaptionColumns:
    """The columns of a pool by their meaning: uid names a row, or url does together with its caption, or neither."""

    caption: str = "caption"
    uid: str | None = None
    url: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        """Refuse two names for a row."""
        if self.uid is not None and self.url is not None:
            raise PoolError("a row must have one name; got `uid` and `url`. Leave one out.")

    @property
    def named(self) -> dict[str, str]:
        """The columns that must be there, by what they mean."""
        return {field: name for field, name in asdict(self).items() if name is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class CaptionRows:
    """A stretch of a file: strings (n,), null where the column has none, and `reject`, "" where all is well.

    first_row: the number, from 0, of the first of them in the file. uid, url, language: None where not asked for.
    """

    first_row: int
    caption: pa.Array
    reject: pa.Array
    uid: pa.Array | None
    url: pa.Array | None
    language: pa.Array | None


def pool_files(pool: str) -> list[Path]:
    """The Parquet, CSV and JSON lines files of a pool, by path, pattern or folder, sorted by path.

    Raises PoolError where there are none, or one of another kind.
    """
    return _files(pool, "pool", TABLE_READERS, PoolError)


def _files(pool: str, field: str, kinds: Collection[str], refusal: type[StorageError]) -> list[Path]:
    place = Path(pool).expanduser()
    inside = sorted(place.iterdir()) if place.is_dir() else []
    paths = inside or [Path(name) for name in sorted(glob.glob(str(place), recursive=True))]  # noqa: PTH207 - absolute patterns too
    files = [file for file in paths if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise refusal(f"`{field}` must match at least one file; got `{pool}`. Correct it, or make the file.")
    for file in files:
        if file_kind(file) not in kinds:
            endings = ", ".join(f".{kind}" for kind in kinds)
            raise refusal(f"`{field}` must be files that end in one of {endings}; got `{file}`. Narrow the pattern.")
    return files


def check_columns(files: list[Path], columns: CaptionColumns) -> None:
    """Raise PoolError for a file that cannot be read or lacks a column."""
    for file in files:
        require_columns(file, READERS[file_kind(file)].columns(file), columns.named)


def caption_batches(corpus: str, name: str) -> Iterator[pa.Array]:
    """The texts of a column of a corpus, files as of a pool and WAT, in stretches of bounded size.

    Null where it is no text. Raises InputError at once for a file or column that is not there, PoolError for a file
    that cannot be read.
    """
    files = _files(corpus, "corpus", READERS, InputError)
    for file in files:
        require_columns(file, READERS[file_kind(file)].columns(file), {"caption": name}, InputError)
    return (_text(raw, name)[0] for file in files for raw in _raw_rows(file, [name], None))


def corpus_hash(corpus: str) -> str:
    """A hash of the contents of a corpus's files, whatever they are called."""
    digests = sorted(map(file_hash, _files(corpus, "corpus", READERS, InputError)))
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def count_rows(files: list[Path]) -> int | None:
    """The number of rows, where all files say so (Parquet)."""
    if any(file_kind(file) != "parquet" for file in files):
        return None
    rows = 0
    for file in files:
        with readable(file, "Parquet"):
            rows += pq.read_metadata(file).num_rows
    return rows


def file_pieces(file: Path) -> list[PoolPiece]:
    """The pieces of a file that can be read alone, in order: row groups of a large Parquet file, else all of it."""
    return parquet_pieces(file) if file_kind(file) == "parquet" else [PoolPiece((file,))]


def read_caption_rows(file: Path, columns: CaptionColumns, piece: PoolPiece | None = None) -> Iterator[CaptionRows]:
    """The rows of one file, or of a piece of it. Raises PoolError where it cannot be read."""
    first = 0 if piece is None else piece.first_row
    names = list(dict.fromkeys(columns.named.values()))
    for raw in _raw_rows(file, names, None if piece is None else piece.groups):
        if raw.table.num_rows:
            yield _rows(raw, columns, first)
            first += raw.table.num_rows


def _raw_rows(file: Path, names: list[str], groups: range | None) -> Iterator[RawRows]:
    if file_kind(file) != "parquet":
        yield from READERS[file_kind(file)].rows(file, names)
        return
    with readable(file, "Parquet"):  # of these columns only: a pool may hold pictures and features
        for batch in bounded_batches(file, most_rows=_ROWS, columns=names, groups=groups):
            yield RawRows(pa.Table.from_batches([batch]))


def _rows(raw: RawRows, columns: CaptionColumns, first: int) -> CaptionRows:
    caption, caption_is_bad = _text(raw, columns.caption)
    cases = dict[str, pa.Array]()
    uid = url = None
    if columns.uid is not None:
        uid = as_label(raw.table[columns.uid], columns.uid, "uid")
        cases["missing_uid"] = pc.equal(pc.fill_null(uid, ""), "")
    if columns.url is not None:
        url, url_is_bad = _text(raw, columns.url)
        cases |= url_cases(url, url_is_bad)
    cases |= {"bad_caption": caption_is_bad, "missing_caption": pc.is_null(caption)}
    reject = pc.fill_null(first_reason(cases, raw.rejected), "")
    language = None if columns.language is None else _text(raw, columns.language)[0]
    return CaptionRows(first_row=first, caption=caption, reject=reject, uid=uid, url=url, language=language)


def _text(raw: RawRows, name: str) -> tuple[pa.Array, pa.Array]:
    return as_text(raw.table[name], raw.not_text.get(name, ()))
