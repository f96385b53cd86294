"""The rows of an export: checked once, in uid order, and read anew whenever they are needed, never all at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.exports.errors import ExportError
from evenly.storage.records import content_hash
from evenly.storage.tables.arrow_files import tables_of
from evenly.storage.tables.hashing import table_hash

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
