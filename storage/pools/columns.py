"""The table of a pool: the columns that every kind has, why a row is no pair, and the pool's own columns."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.texts import as_label
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.plain_columns import plain_column

POOL_COLUMNS = ("url", "caption", "source_id", "source", "file_hash", "row", "reject")
"""What every table of `read_pool` begins with; the pool's other columns follow, under `pool_<name>` where taken.

What the name of a column may not hold is `_` there.
"""

STEP_COLUMNS = (
    *("detected_language", "mix_threshold", "http_status", "final_url", "content_type", "n_bytes", "image_id"),
    *("format", "evidence", "phash", "colour", "cluster", "unsafe_score", "unsafe_class"),
    *("chosen_caption", "caption_origin", "caption_score", "caption_reason", "merged_captions"),
)
"""What steps find of a pair, beside the values of filters: in the sample table under these names.

Not `width` and `height`: a pool's are what it says of the picture, and give way to those of the picture itself.
"""

_TAKEN = frozenset(
    {*POOL_COLUMNS, *STEP_COLUMNS, "uid", "verdict", "reason", "value", "into", "tar", "offset", "size", "_rowid"}
)
_NO_NAME = re.compile(r"[.`\0]")  # what the name of a column in Lance may not hold
WEB_URL = r"^(?i:https?)://[^\s/?#]"


@dataclass(frozen=True, kw_only=True)
class PoolSource:
    """A pool: files (or folders) of one `kind`, by path or pattern, and which of their columns mean what.

    `caption` left out is the column `caption`; for pictures at hand the `.txt` beside them, else the key `caption`.
    `id` names the pool's own identifier; `source` the column that says where a row comes from, for which `name` stands
    in, or without one the file's name. `vector` names the features of a pool of these. `url` is None for tables of
    captions alone.
    """

    kind: str
    path: str
    url: str | None = "url"
    caption: str | None = None
    id: str | None = None
    source: str | None = None
    name: str | None = None
    vector: str | None = None

    @property
    def caption_column(self) -> str:
        """The column of captions in a table."""
        return self.caption or "caption"


class Stretch(NamedTuple):
    """Where rows come from: the pool, name and hash of the file or folder, number of the first row, columns used."""

    source: PoolSource
    file: str
    file_hash: str
    first_row: int
    used: frozenset[str] = frozenset()


def pool_columns(url: pa.Array, caption: pa.Array, reject: pa.Array, table: pa.Table, place: Stretch) -> pa.Table:
    """POOL_COLUMNS, then the columns of `table` that are not used for one of them."""
    source, n = place.source, table.num_rows
    name = pa.array([source.name or place.file] * n, pa.string())
    pool = {
        "url": url,
        "caption": caption,
        "source_id": _as_label(table, source.id, "id"),
        "source": name if source.source is None else pc.coalesce(_as_label(table, source.source, "source"), name),
        "file_hash": pa.array([place.file_hash] * n, pa.string()),
        "row": pa.array(range(place.first_row, place.first_row + n), pa.int64()),
        "reject": reject,
    }
    used = {*place.used, source.id, source.source}
    for column in table.column_names:
        if column not in used:
            pool[_free_name(column, pool, table.column_names)] = _own_column(table[column], column, place)
    return pa.table(pool)


def pool_names(source: PoolSource, columns: Iterable[str], *, text: Collection[str]) -> list[str]:
    """Names of a pool's columns as `pool_columns` gives them, of which `text` are read as URL and caption."""
    nothing = pa.nulls(0, pa.string())
    table = pa.table(dict.fromkeys(columns, nothing))
    place = Stretch(source, "", "", 0, frozenset(text))
    names: list[str] = pool_columns(nothing, nothing, nothing, table, place).column_names
    return names


def web_reject(
    url: pa.Array, url_is_bad: pa.Array, caption: pa.Array, caption_is_bad: pa.Array, rejected: pa.Array
) -> pa.Array:
    """Why each row of a table is no pair, first why it could not be read; null where it is one."""
    is_web = pc.fill_null(pc.match_substring_regex(url, WEB_URL), False)
    cases = {
        "bad_url": url_is_bad,
        "missing_url": pc.equal(pc.fill_null(url, ""), ""),
        "not_web": pc.invert(is_web),
        "bad_caption": caption_is_bad,
        "missing_caption": pc.is_null(caption),
    }
    words = [pa.scalar("bad_url" if name == "not_web" else name) for name in cases]
    struct = pc.make_struct(*cases.values(), field_names=list(cases))
    return pc.coalesce(rejected, pc.case_when(struct, *words, pa.scalar(None, pa.string())))


def text_reject(caption: pa.Array, caption_is_bad: pa.Array, rejected: pa.Array) -> pa.Array:
    """Why each row of a table without URLs is no caption; null where it is one. An empty caption names nothing."""
    cases = {
        "bad_caption": caption_is_bad,
        "missing_caption": pc.equal(pc.fill_null(caption, ""), ""),
    }
    struct = pc.make_struct(*cases.values(), field_names=list(cases))
    return pc.coalesce(rejected, pc.case_when(struct, *map(pa.scalar, cases), pa.scalar(None, pa.string())))


def _own_column(values: pa.ChunkedArray, name: str, place: Stretch) -> pa.Array:
    """A column of the pool that means nothing to evenly, in a type that the sample table holds."""
    try:
        return plain_column(values)
    except (TypeError, pa.ArrowException) as error:
        raise PoolError(
            f"column `{name}` must be of a type that can be stored; got {values.type} at `{place.file}` "
            f"({first_line(error)}). Store it as text or numbers, or leave it out."
        ) from None


def _as_label(table: pa.Table, name: str | None, field: str) -> pa.Array:
    """A column of text or numbers as text; nulls where `name` is None."""
    if name is None or name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return as_label(table[name], name, field)


def _free_name(name: str, used: Collection[str], reserved: Collection[str]) -> str:
    plain = _NO_NAME.sub("_", name) or "_"
    if plain not in _TAKEN and (plain == name or plain not in {*used, *reserved}):
        return plain
    free = f"pool_{plain}"
    while free in used or free in reserved:
        free = f"pool_{free}"
    return free
