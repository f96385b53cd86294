"""Collect: rows of the pools become pairs with a uid; what cannot, or stands twice, is named in `arrivals`."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.decisions import Decisions
from curation.errors import UidError
from curation.uids import file_uid, pair_uid
from storage.held_rows import LOCAL
from storage.ledger import StepOutput
from storage.pool_texts import as_text
from storage.pools import PoolError, read_labels, read_pool, source_hash
from tasks.run import LabelColumns, Run
from tasks.step import Records, Rule, Step

ARRIVAL_ORDER = [("uid", "ascending"), ("source", "ascending"), ("file_hash", "ascending"), ("row", "ascending")]


def hash_sources(run: Run, _before: Records, _rule: Rule) -> dict[str, str]:
    """Content hashes of the pool files and of the label file."""
    inputs = {f"source {number}": source_hash(source) for number, source in enumerate(run.sources)}
    if run.labels is None:
        return inputs
    if isinstance(run.labels, LabelColumns):
        return inputs | {"labels": f"columns {run.labels.label} {run.labels.group or ''}"}
    return inputs | {"labels": source_hash(run.labels)}


def collect_pairs(run: Run, _before: Records, rule: Rule) -> StepOutput:
    """All pairs of all sources, each once, sorted by uid.

    Where a pair stands more than once the first by (source, file hash, row) is kept and the others are merged into it.
    With `limit` in the rule, the pairs with the smallest uids are taken: a draw, since uids are hashes.
    """
    rows = _read(run)
    rows = rows.sort_by(ARRIVAL_ORDER)
    uids = rows["uid"].to_pylist()
    first = [uid is not None and (at == 0 or uids[at - 1] != uid) for at, uid in enumerate(uids)]
    number = 0
    reasons, into = [], []
    for uid, is_first, reject in zip(uids, first, rows["reject"].to_pylist(), strict=True):
        number += is_first
        over = rule["limit"] is not None and number > rule["limit"]
        reasons.append(reject or ("limit" if over else "" if is_first else "same_pair"))
        into.append(uid if reasons[-1] == "same_pair" else None)
    failed = pc.is_valid(rows["reject"]).combine_chunks()
    decided = Decisions.of(reason=reasons, into=into, failed=failed).to_table(rows["uid"])
    arrivals = rows.select(["source", "file_hash", "row", "url", "caption"])
    for name in ("uid", "verdict", "reason", "into"):
        arrivals = arrivals.append_column(name, decided[name])
    kept = pc.equal(decided["verdict"], "kept")
    pairs = decided.filter(kept)
    for name in rows.column_names:
        if name not in {"uid", "file_hash", "row", "reject"}:
            pairs = pairs.append_column(name, rows[name].filter(kept))
    return StepOutput(decisions=_with_labels(run, pairs), tables={"arrivals": arrivals}, judged=arrivals)


def _read(run: Run) -> pa.Table:
    """Every row of every source with its uid; `reject` says why a row has none."""
    tables = []
    for source in run.sources:
        with run.progress.bar(f"reading {source.kind}", None) as advance:
            for table in read_pool(source):
                tables.append(_with_uids(table))
                advance(table.num_rows)
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _with_uids(table: pa.Table) -> pa.Table:
    uids: list[str | None] = []
    rejects: list[str | None] = []
    columns = (table[name].to_pylist() for name in ("url", "caption", "reject"))
    for url, caption, reject in zip(*columns, strict=True):
        uid: str | None = None
        why: Any = reject
        if why is None:
            try:
                uid = _uid(url, caption)
            except UidError:
                why = "no_uid"
        uids.append(uid)
        rejects.append(why)
    at = table.column_names.index("reject")
    return table.set_column(at, "reject", pa.array(rejects, pa.string())).append_column(
        "uid", pa.array(uids, pa.string())
    )


def _uid(url: str, caption: str | None) -> str:
    return file_uid(url.removeprefix(LOCAL), caption) if url.startswith(LOCAL) else pair_uid(url, caption)


def _with_labels(run: Run, pairs: pa.Table) -> pa.Table:
    """Add `label` and `group`, from the label file or the pool's columns; a pair alone is a group of its own."""
    labels = group = pa.nulls(pairs.num_rows, pa.string())
    if isinstance(run.labels, LabelColumns):
        labels = _pool_column(pairs, run.labels.label, "labels.column")
        group = group if run.labels.group is None else _pool_column(pairs, run.labels.group, "labels.group")
    elif run.labels is not None:
        table = read_labels(run.labels)
        at = pc.index_in(pairs["url"], table["key"].combine_chunks())
        labels, group = table["label"].combine_chunks().take(at), table["group"].combine_chunks().take(at)
    extra = [name for name in pairs.column_names if name not in ("label", "group")]
    pairs = pairs.select(extra).append_column("label", labels)
    return pairs.append_column("group", pc.coalesce(group, pairs["uid"]))


def _pool_column(pairs: pa.Table, name: str, field: str) -> pa.Array:
    """A column of the pool as text; null where it has no value, or an empty one."""
    if name not in pairs.column_names:
        raise PoolError(
            f"`{field}` must be a column of the pool; got `{name}`. It has {', '.join(sorted(pairs.column_names))}."
        )
    text = as_text(pairs[name])[0]
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


COLLECT = Step(name="collect", compute=collect_pairs, inputs=hash_sources)
