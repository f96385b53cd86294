"""Rows on their way to another cut and back: those of one picture, or of one URL, meet in a partition of its key."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import pyarrow as pa

from evenly.storage.tables.exchange import exchange_folder, received_rows, remove_exchange, send_rows
from evenly.tasks.each import Each
from evenly.tasks.run import Run

ItemT = TypeVar("ItemT")
Give = Callable[[Run], pa.Table]
"""What a partition sends; the run says which it is."""


@dataclass(frozen=True, kw_only=True)
class SentRows:
    """Rows of all partitions, parted by a key of theirs; used in a `with`, or released at the end.

    empty: a table without rows. folder: where they lie; None: `tables` holds them, of a run in one partition.
    """

    empty: pa.Table
    folder: Path | None = None
    tables: tuple[pa.Table, ...] = ()

    def of(self, run: Run) -> pa.Table:
        """The rows whose key is in the run's partition; those of one sender as it sent them, senders in order."""
        tables = self.tables if self.folder is None else received_rows(self.folder, run.part.number)
        rows = [table for table in tables if table.num_rows] or [self.empty]
        return pa.concat_tables(rows).combine_chunks()  # a single one is not copied

    def release(self) -> None:
        """Remove them."""
        if self.folder is not None:
            remove_exchange(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def send_partitions(run: Run, each: Each, title: str, key: str, give: Give) -> SentRows:
    """Send what every partition gives to the partitions of `key`, text that begins with hex digits.

    Partitions give tables of equal columns.
    """
    if not run.bits:
        return _held([[table] for table in each.partitions(title, give)])
    folder = exchange_folder(run.exchange, key)
    return _sent(folder, lambda: each.partitions(title, partial(_send_partition, folder, key, give)))


def send_items(
    run: Run,
    each: Each,
    title: str,
    key: str,
    *,
    give: Callable[[Run, ItemT], Iterable[pa.Table]],
    items: Sequence[ItemT],
) -> SentRows:
    """Send the tables that every one of `items` gives, at least one of them, each of equal columns."""
    if not run.bits:
        return _held([list(tables) for tables in each.items(title, partial(_listed, give), items)])
    folder = exchange_folder(run.exchange, key)
    send = partial(_send_item, folder, key, give)
    return _sent(folder, lambda: list(each.items(title, send, list(enumerate(items)))))


def release_rows(sent: SentRows | None) -> None:
    """Remove rows, where any were sent: for steps whose facts they are."""
    if sent is not None:
        sent.release()


def _held(lists: Sequence[Sequence[pa.Table]]) -> SentRows:
    tables = tuple(table for tables in lists for table in tables)
    return SentRows(empty=tables[0].schema.empty_table(), tables=tables)


def _sent(folder: Path, send: Callable[[], Sequence[Sequence[pa.Schema]]]) -> SentRows:
    try:
        schemas = [schema for sent in send() for schema in sent]
    except BaseException:
        remove_exchange(folder)
        raise
    return SentRows(empty=schemas[0].empty_table(), folder=folder)


def _send_partition(folder: Path, key: str, give: Give, run: Run) -> list[pa.Schema]:
    return send_rows(folder, f"{run.part.number:05d}", run.bits, key, [give(run)])


def _send_item(
    folder: Path,
    key: str,
    give: Callable[[Run, ItemT], Iterable[pa.Table]],
    run: Run,
    item: tuple[int, ItemT],
) -> list[pa.Schema]:
    number, value = item
    return send_rows(folder, f"{number:07d}", run.bits, key, give(run, value))


def _listed(give: Callable[[Run, ItemT], Iterable[pa.Table]], run: Run, item: ItemT) -> list[pa.Table]:
    return list(give(run, item))
