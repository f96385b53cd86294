"""Rows on their way to another cut and back: those of one picture, or of one URL, meet in a partition of its key."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import pyarrow as pa

from evenly.storage.tables.exchange import RowExchange, new_exchange
from evenly.tasks.run import Each, Run

ItemT = TypeVar("ItemT")
_ROWS = "sent"
Give = Callable[[Run], pa.Table]
"""What a partition sends; the run says which it is."""


@dataclass(frozen=True, kw_only=True)
class SentRows:
    """Rows of all partitions, parted by a key of theirs; used in a `with`, or released at the end.

    empty: a table without rows. exchange: where they lie.
    """

    empty: pa.Table
    exchange: RowExchange

    def of(self, run: Run) -> pa.Table:
        """The rows whose key is in the run's partition; those of one sender as it sent them, senders in order."""
        rows = [table for table in self.exchange.received(_ROWS, run.part.number) if table.num_rows] or [self.empty]
        return pa.concat_tables(rows).combine_chunks()  # a single one is not copied

    def release(self) -> None:
        """Remove them."""
        self.exchange.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def send_partitions(run: Run, each: Each, title: str, key: str, give: Give) -> SentRows:
    """Send what every partition gives to the partitions of `key`, text that begins with hex digits.

    Partitions give tables of equal columns.
    """
    return _sent(run, key, lambda exchange: each.partitions(title, partial(_send_partition, exchange, key, give)))


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
    numbered = list(enumerate(items))
    return _sent(run, key, lambda exchange: list(each.items(title, partial(_send_item, exchange, key, give), numbered)))


def release_rows(sent: SentRows | None) -> None:
    """Remove rows, where any were sent: for steps whose facts they are."""
    if sent is not None:
        sent.release()


def _sent(run: Run, key: str, send: Callable[[RowExchange], Sequence[Sequence[pa.Schema]]]) -> SentRows:
    with ExitStack() as undone:
        exchange = undone.enter_context(new_exchange(run.exchange, key, run.bits))
        schemas = [schema for sent in send(exchange) for schema in sent]
        undone.pop_all()
    return SentRows(empty=schemas[0].empty_table(), exchange=exchange)


def _send_partition(exchange: RowExchange, key: str, give: Give, run: Run) -> list[pa.Schema]:
    return exchange.send(_ROWS, run.part.number, key, give(run))


def _send_item(
    exchange: RowExchange,
    key: str,
    give: Callable[[Run, ItemT], Iterable[pa.Table]],
    run: Run,
    item: tuple[int, ItemT],
) -> list[pa.Schema]:
    number, value = item
    return exchange.send(_ROWS, f"{number:07d}", key, give(run, value))
