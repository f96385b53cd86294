"""Pairs that show one picture by its URL, over partitions: they meet by a hash of the URL, and picks return by uid."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from evenly.curation.balance.picked_texts import PICKS, keyed_urls, picks_of_urls
from evenly.storage.tables.exchange import exchange_folder, received_rows, remove_exchange, send_rows
from evenly.tasks.moves import Each, Records
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class SharedUrls:
    """Where the picks lie: of each picture with several texts, which one stands for it."""

    folder: Path

    def picks(self, run: Run) -> pa.Table:
        """The picks, a table PICKS, among the pairs of a run's partition."""
        return pa.concat_tables([PICKS.empty_table(), *received_rows(self.folder / "picks", run.part.number)])

    def release(self) -> None:
        """Remove what was exchanged."""
        remove_exchange(self.folder)


def exchange_urls(run: Run, upstream: Records, each: Each) -> SharedUrls:
    """Pick one of the texts of each URL that several pairs have, as `pick_texts` does of all pairs at once."""
    urls = SharedUrls(folder=exchange_folder(run.exchange, "urls"))
    try:
        each.partitions("sending URLs", partial(_send_urls, urls.folder, upstream))
        each.partitions("picking texts", partial(_send_picks, urls.folder))
    except BaseException:
        urls.release()
        raise
    return urls


def _send_urls(folder: Path, upstream: Records, run: Run) -> None:
    urls = keyed_urls(run.ledger.alive(upstream, ["url"]))
    send_rows(folder / "urls", f"{run.part.number:05d}", run.bits, "key", [urls])


def _send_picks(folder: Path, run: Run) -> None:
    tables = received_rows(folder / "urls", run.part.number)
    if not tables:
        return
    picks = picks_of_urls(pa.concat_tables(tables), seed=run.seed)
    send_rows(folder / "picks", f"{run.part.number:05d}", run.bits, "uid", [picks])
