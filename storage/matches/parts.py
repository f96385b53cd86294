"""Parts of a matched or balanced pool: stretches of its rows, each a table of a ledger that outlives a kill.

A rebuild cuts its tables by the leading bits of uids, which are hashes. Rows of a pool are named as people like, and
their order is kept, so these tables are cut by row number: a stretch is a file of the pool, or row groups of one, and a
part holds at most ROWS of its rows. How a pool is cut into stretches changes no row.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.storage.errors import WriterError
from evenly.storage.ledger import Ledger
from evenly.storage.matches.stamped import check_name
from evenly.storage.records import content_hash
from evenly.storage.step_records import StepOutput, StoredPart
from evenly.storage.stores.writer_lock import described_holder, lock_holder
from evenly.storage.tables.arrow_files import tables_of

ROWS = 1 << 18
"""In a part, and in a row group of what is made of them: what balancing holds at once, for each of its workers."""
_LOCK = "held.lock"
_NAME = "name"  # for `uid`, by which a ledger would sort
_TABLE = "rows"


def parts_beside(out: Path) -> Path:
    """The folder in which `out` grows."""
    return out.absolute().with_name(f".{out.name}.parts")


@contextmanager
def writing_alone(out: Path) -> Iterator[None]:
    """Write `out` and the folder beside it alone for the block, which ends without the folder.

    After an error what has been done stays there, for a later run to go on with. Raises InputError for a name that is
    none of a Parquet file, WriterError, which says who writes `out` just now.
    """
    check_name(out)
    folder = parts_beside(out)
    lock = folder / _LOCK
    try:
        with lock_holder(lock) as holder:
            if holder is not None:
                raise WriterError(
                    f"`out` must be written by one command at a time; got `{out}`: {described_holder(holder)}. Wait "
                    "until it has ended, or choose another name."
                )
            try:
                yield
                _remove_others(folder, lock)
            finally:
                with suppress(OSError):
                    lock.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # it holds parts, or another command has just begun there
            folder.rmdir()


def _remove_others(folder: Path, lock: Path) -> None:
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != lock:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class PoolParts:
    """The parts that one command keeps in a ledger.

    step: the name that their tables stand under. key: what rows depend on besides the stretch that they are of.
    """

    ledger: Ledger
    step: str
    key: str

    def find(self, stretch: Mapping[str, Any]) -> list[StoredPart] | None:
        """The parts of a stretch in order; None unless all are there."""
        parts = list[StoredPart]()
        while not parts or not parts[-1].tally.notes["is_last"]:
            part = self.ledger.find_part(self._part_key(stretch, len(parts)), self.step)
            if part is None:
                return None
            parts.append(part)
        return parts

    def keep(
        self, stretch: Mapping[str, Any], number: int, table: pa.Table, *, is_last: bool, sums: pa.Table | None = None
    ) -> StoredPart:
        """Store the part of this number of a stretch; sums: what it gives to sums over the pool."""
        names = [_NAME if name == "uid" else name for name in table.column_names]
        output = StepOutput(
            tables={_TABLE: table.rename_columns(names).combine_chunks()}, partial=sums, notes={"is_last": is_last}
        )
        key = self._part_key(stretch, number)
        return self.ledger.store_part(key, self.step, output, uids=None, started=datetime.now(UTC))

    def read(self, part: StoredPart) -> pa.Table:
        """The rows of a part. Raises DamagedError where they have changed since they were stored."""
        table = self.ledger.part_table(part, self.step, _TABLE)
        return table.rename_columns(["uid" if name == _NAME else name for name in table.column_names])

    def sums(self, part: StoredPart) -> pa.Table:
        """The sums of a part, which add up over the pool."""
        return self.ledger.partials(self.step, [part])[0]

    def _part_key(self, stretch: Mapping[str, Any], number: int) -> str:
        return content_hash({"step": self.step, "key": self.key, "of": stretch, "rows": ROWS, "part": number})


def regrouped(tables: Iterable[pa.Table], empty: pa.Table) -> Iterator[pa.Table]:
    """The same rows in tables of ROWS each, the last with what is left; one at least, with the columns of `empty`."""
    return map(_encoded, tables_of(chain([empty], tables), ROWS))


def _encoded(table: pa.Table) -> pa.Table:
    """The same rows, words that are held once in the order in which they occur: they are written as they are held."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            words = table[field.name].cast(field.type.value_type).combine_chunks().dictionary_encode()
            table = table.set_column(place, field, words)
    return table


def with_last(tables: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table, bool]]:
    """Each table with its number, from 0, and whether it is the last."""
    previous: tuple[int, pa.Table] | None = None
    for number, table in enumerate(tables):
        if previous is not None:
            yield (*previous, False)
        previous = number, table
    if previous is not None:
        yield (*previous, True)
