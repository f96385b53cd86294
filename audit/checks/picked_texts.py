"""One text per picture, picked again: the pairs of a URL meet in files, so that those of all pairs are never held."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.audit.published import PublishedBuild
from evenly.curation.balance.inputs import pick_of_all, stored_rule
from evenly.curation.balance.parts import Balancing
from evenly.curation.balance.picked_texts import PICKS, keyed_urls, picks_of_urls
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.exchange import open_exchange, received_rows, send_rows


@contextmanager
def open_balancing(build: PublishedBuild, record: StepRecord) -> Iterator[Balancing]:
    """A balancing step of a build, to be made again; texts are picked partition by partition."""
    names = [step.name for step in build.records]
    upstream, seed = build.records[: names.index(record.name)], int(record.seed or 0)
    rule, bits = stored_rule(record.rule), build.deciding[0].bits
    balancing = partial(Balancing, step=record.name, upstream=upstream, rule=rule, seed=seed)
    if rule.texts == "each" or not bits:
        picks = pick_of_all(build.ledger, upstream, rule, seed=seed)
        yield balancing(picks=lambda _: picks)
        return
    with open_exchange(build.workspace.exchange, "picks") as folder:
        build.each("sending URLs", partial(_send_urls, folder, bits, upstream))
        build.each("picking texts", partial(_send_picks, folder, bits, seed))
        yield balancing(picks=_picks_in(folder))


def _send_urls(folder: Path, bits: int, upstream: Sequence[StepRecord], ledger: Ledger) -> None:
    urls = keyed_urls(ledger.alive(upstream, ["url"]))
    send_rows(folder / "urls", f"{ledger.part.number:05d}", bits, "key", [urls])


def _send_picks(folder: Path, bits: int, seed: int, ledger: Ledger) -> None:
    if tables := received_rows(folder / "urls", ledger.part.number):
        picks = picks_of_urls(pa.concat_tables(tables), seed=seed)
        send_rows(folder / "picks", f"{ledger.part.number:05d}", bits, "uid", [picks])


def _picks_in(folder: Path) -> Callable[[Any], pa.Table]:
    return lambda ledger: pa.concat_tables([PICKS.empty_table(), *received_rows(folder / "picks", ledger.part.number)])
