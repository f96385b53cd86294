"""Collect the rows of the pools as pairs with a uid; table `arrivals` names rows without one and repeated pairs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation import collecting
from evenly.curation.decisions import Decisions
from evenly.keys import LOCAL_ADDRESS, one_array, sorted_order
from evenly.storage.files.splits import compared_keys, has_file_names, places_of_keys
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.pools.rows import PoolPiece
from evenly.storage.pools.source import (
    LOCAL_READERS,
    PoolError,
    PoolSource,
    pool_pieces,
    read_labels,
    read_pool,
    require_rows,
    source_files,
    source_hash,
)
from evenly.storage.pools.texts import as_label, joined_pools
from evenly.storage.removal.forget import FORGOTTEN, ForgetList, read_forgotten
from evenly.storage.tables.exchange import RowExchange, new_exchange
from evenly.storage.tables.partitions import Partition
from evenly.tasks.run import Each, LabelColumns, Records, Run
from evenly.tasks.step import Exchanged, Step

_PLACE_COLUMNS = frozenset({"uid", "source", "file_hash", "row"})
"""What is stored of a pair that is on the forget list; in place of its uid a hash of that by the key of the list."""
_ROWS = "pools"
_NOTED = 20
"""Names of files of a source that are noted; of all others their number."""
ARRIVAL_ORDER = ["uid", "source", "file_hash", "row"]


@dataclass(frozen=True, kw_only=True)
class CollectRule:
    """The number of pairs to take: the `limit` with the smallest uids, a draw, since uids are hashes; None: all."""

    limit: int | None = None


def hash_sources(run: Run, _upstream: Records, _rule: object) -> dict[str, str]:
    """Content hashes of the pool files, of the label file, and of the forget list where it has entries."""
    inputs = {f"source {number}": source_hash(source) for number, source in enumerate(run.sources)}
    if digest := read_forgotten(run.workspace).digest:
        inputs[FORGOTTEN] = digest
    if run.labels is None:
        return inputs
    if isinstance(run.labels, LabelColumns):
        return inputs | {"labels": f"columns {run.labels.label} {run.labels.group or ''}, numbers as text"}
    by_name = ", by URL or file name" if has_file_names(run.sources) else ""
    return inputs | {"labels": source_hash(run.labels) + by_name}


@dataclass(frozen=True, kw_only=True)
class PoolRows(Exchanged):
    """Where the rows of all pools lie, cut into partitions.

    empty: a table without rows, of the columns that all pools have together. limits: how many pairs each partition may
    take, by its number; None: all. pools: of each source its kind, the number of its files, and the names of some.
    """

    exchange: RowExchange
    empty: pa.Table
    limits: Sequence[int] | None
    pools: Sequence[Mapping[str, Any]]


def send_pools(run: Run, _upstream: Records, rule: CollectRule, engine: Each) -> PoolRows:
    """Part the rows of all pools by uid."""
    limits = None
    with ExitStack() as undone:
        exchange = undone.enter_context(new_exchange(run.exchange, COLLECT.name, run.bits))
        pieces = [
            (f"{number:04d}-{place:06d}", source, piece)
            for number, source in enumerate(run.sources)
            for place, piece in enumerate(pool_pieces(source))
        ]
        sent = list(engine.items("reading pools", partial(_send, exchange), pieces))
        for source in run.sources:
            rows = sum(
                n_rows for (_, piece_source, _), (n_rows, _) in zip(pieces, sent, strict=True) if piece_source == source
            )
            require_rows(rows, source)
        empty = joined_pools([schema.empty_table() for _, schemas in sent for schema in schemas])
        if rule.limit is not None:
            counts = engine.partitions("counting pairs", partial(_count_pairs, exchange))
            n_earlier = np.concatenate([[0], np.cumsum(counts)[:-1]])
            limits = np.clip(rule.limit - n_earlier, 0, None).tolist()
        undone.pop_all()
    pools = [_pool_noted(source) for source in run.sources]
    return PoolRows(exchange=exchange, empty=empty, limits=limits, pools=pools)


def _pool_noted(source: PoolSource) -> dict[str, Any]:
    """A source, for people who ask later of what a build was made; no folder, and no part of any hash."""
    names = [file.name for file in source_files(source)]
    return {"source": source.name, "kind": source.kind, "files": len(names), "names": names[:_NOTED]}


def note_pools(_run: Run, _upstream: Records, _rule: CollectRule, sent: PoolRows) -> StepOutput:
    """The note `pools`."""
    return StepOutput(notes={"pools": list(sent.pools)})


def collect_pairs(run: Run, _upstream: Records, _rule: CollectRule, sent: PoolRows) -> StepOutput:
    """All pairs of all sources, each once, sorted by uid.

    Table `arrivals`: every row of the pools, where it stood and what became of it; its URL and caption where it is no
    pair, for those of pairs stand with the pairs, and its id in the pool where it is not kept.
    Where a pair stands more than once the first by (source, file hash, row) is kept and the others are merged into it.
    With `limit` in the rule, the pairs with the smallest uids are taken: a draw, since uids are hashes. Of pairs on the
    forget list nothing is stored but their place and a keyed hash in place of the uid.
    """
    rows = joined_pools([sent.empty, *sent.exchange.received(_ROWS, run.part.number)])
    limit = None if sent.limits is None else sent.limits[run.part.number]
    rows = rows.take(sorted_order(rows.select(ARRIVAL_ORDER)))
    uids, rejects = one_array(rows["uid"]), one_array(rows["reject"])
    is_forgotten = pc.fill_null(pc.equal(rejects, FORGOTTEN), False)
    is_first = _first_of_each(uids) & ~is_forgotten.to_numpy(zero_copy_only=False)
    is_over = np.zeros(len(uids), np.bool_) if limit is None else np.cumsum(is_first) > limit
    stays = pc.if_else(pa.array(is_over), "limit", pc.if_else(pa.array(is_first), "", "same_pair"))
    reasons = pc.coalesce(rejects, stays)
    survivors = pc.if_else(pc.equal(reasons, "same_pair"), uids, pa.scalar(None, pa.string()))
    has_failed = pc.and_not(pc.is_valid(rejects), is_forgotten)
    decided = Decisions.of(reason=reasons, into=survivors, failed=has_failed).to_table(uids)
    named = ["file_name"] if any(source.kind in LOCAL_READERS for source in run.sources) else []
    shown = ["source", "file_hash", "row", "url", "caption", "source_id", *named]
    arrivals = rows.select([name for name in shown if name in rows.column_names])
    of_a_pair, is_kept = pc.is_in(reasons, pa.array(["", "same_pair"])), pc.equal(reasons, "")
    for name, elsewhere in (("url", of_a_pair), ("caption", of_a_pair), ("source_id", is_kept)):
        values = pc.if_else(elsewhere, None, rows[name])
        arrivals = arrivals.set_column(arrivals.column_names.index(name), name, values)
    for name in ("uid", "verdict", "reason", "into"):
        arrivals = arrivals.append_column(name, decided[name])
    kept = pc.equal(decided["verdict"], "kept")
    pairs = decided.filter(kept)
    for name in rows.column_names:
        if name not in {"uid", "file_hash", "row", "reject"}:
            pairs = pairs.append_column(name, rows[name].filter(kept))
    return StepOutput(decisions=_with_labels(run, pairs), tables={"arrivals": arrivals}, judged=arrivals)


def _send(exchange: RowExchange, run: Run, piece: tuple[str, PoolSource, PoolPiece]) -> tuple[int, list[pa.Schema]]:
    """Part the rows of a piece; how many there are, and their schemas."""
    name, source, part = piece
    counted: list[int] = []
    forget = read_forgotten(run.workspace)

    def tables() -> Iterator[pa.Table]:
        for table in read_pool(source, part):
            counted.append(table.num_rows)
            yield _without_forgotten(collecting.with_uids(table), forget)

    schemas = exchange.send(_ROWS, name, "uid", tables())
    return sum(counted), schemas


def _count_pairs(exchange: RowExchange, run: Run) -> int:
    tables = [table.select(["uid", "reject"]) for table in exchange.received(_ROWS, run.part.number)]
    if not tables:
        return 0
    rows = pa.concat_tables(tables)
    return len(rows.filter(pc.is_null(rows["reject"]))["uid"].unique())


def _without_forgotten(table: pa.Table, forget: ForgetList) -> pa.Table:
    """Of rows on the forget list, by uid, URL, domain or the hash of a file, a masked uid, their place and a mark."""
    if not forget.hashes:
        return table
    uids, urls = (one_array(table[name]) for name in ("uid", "url"))
    file_hashes = pc.struct_field(pc.extract_regex(urls, LOCAL_ADDRESS), "hash")
    by_name = pc.or_(pc.or_(forget.holds("uid", uids), forget.holds("url", urls)), forget.holds_hosts(urls))
    is_forgotten = pc.or_(by_name, forget.holds("image_id", file_hashes))
    if not pc.any(is_forgotten).as_py():
        return table
    masked = pc.replace_with_mask(uids, is_forgotten, forget.masked(uids.filter(is_forgotten)))
    table = table.set_column(table.column_names.index("uid"), "uid", masked)
    for place, name in enumerate(table.column_names):
        if name not in _PLACE_COLUMNS:
            column = table[name].combine_chunks()
            replaced = pa.scalar(FORGOTTEN if name == "reject" else None, column.type)
            table = table.set_column(place, name, pc.if_else(is_forgotten, replaced, column))
    return table


def _first_of_each(uids: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each of the sorted uids (n,) is the first of its kind; a null is none."""
    first = pc.is_valid(uids).to_numpy(zero_copy_only=False)
    if len(uids) > 1:
        repeated = pc.fill_null(pc.equal(uids.slice(1), uids.slice(0, len(uids) - 1)), False)
        first[1:] &= ~repeated.to_numpy(zero_copy_only=False)
    return np.asarray(first, dtype=np.bool_)


def _with_labels(run: Run, pairs: pa.Table) -> pa.Table:
    """Add `label` and `group`, from the label file or the pool's columns; a pair alone is a group of its own."""
    labels = group = pa.nulls(pairs.num_rows, pa.string())
    if isinstance(run.labels, LabelColumns):
        labels = _pool_column(pairs, run.labels.label, "labels.column")
        group = group if run.labels.group is None else _pool_column(pairs, run.labels.group, "labels.group")
    elif run.labels is not None:
        table = read_labels(run.labels)
        index = places_of_keys(pairs, table["key"].combine_chunks()).combine_chunks()
        labels, group = table["label"].combine_chunks().take(index), table["group"].combine_chunks().take(index)
    extra = [name for name in pairs.column_names if name not in ("label", "group")]
    pairs = pairs.select(extra).append_column("label", labels)
    return pairs.append_column("group", pc.coalesce(group, pairs["uid"]))


def check_labels(run: Run, collected: StepRecord, rule: CollectRule) -> None:
    """Say how many pairs have a label, of a run with labels. Raises PoolError where a file labels none of all pairs."""
    if run.labels is None:
        return
    ledgers = [replace(run, part=part).ledger for part in Partition.all(run.bits)]
    n_pairs, labelled = collected.counts["kept"], 0
    for ledger in ledgers:
        labels = ledger.alive([collected], ["label"])["label"]
        labelled += len(labels) - labels.null_count
    finding = f"{labelled:,} of {n_pairs:,} pairs have a label"
    if labelled or not n_pairs or isinstance(run.labels, LabelColumns):
        run.progress.say(f"{'labels':<24} {finding}", logging.INFO if labelled else logging.WARNING)
        return
    named = [name for name in ("url", "file_name") if name in collected.columns]
    pairs = pa.concat_tables([ledger.alive([collected], named) for ledger in ledgers], promote_options="default")
    finding = f"{finding}; {compared_keys(pairs, read_labels(run.labels)['key'])}"
    if rule.limit is None:
        raise PoolError(
            f"`labels.key` must name a column of the pairs' URLs or, of pictures at hand, file names; got "
            f"`{run.labels.key}` of `{run.labels.file}`: {finding}. Correct it, or leave labels out."
        )
    run.progress.warn(f"{'labels':<24} {finding}")


def _pool_column(pairs: pa.Table, name: str, field: str) -> pa.Array:
    """A column of text or numbers of the pool as text; null where it has no value, or an empty one."""
    if name not in pairs.column_names:
        raise PoolError(
            f"`{field}` must be a column of the pool; got `{name}`. It has {', '.join(sorted(pairs.column_names))}."
        )
    text = as_label(pairs[name], name, field)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


COLLECT = Step(
    name=collecting.COLLECT.name,
    rule=CollectRule,
    resolve=send_pools,
    judge=collect_pairs,
    shared=note_pools,
    review=check_labels,
    version=3,
    inputs=hash_sources,
)
