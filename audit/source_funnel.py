"""The funnel of each source: rows per step and verdict, counted again from the ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.storage.ledger import VERDICTS

SHOWN = 6
OTHERS = "others"


def read_source_funnel(build: PublishedBuild) -> list[dict[str, Any]]:
    """One row per step that judged pairs and source: step, source, rows_in, and rows per verdict.

    At the first step rows are those that arrived. Sources come by name, [] for a build whose pairs have none.
    """
    if "source" not in build.sample_columns:
        return []
    first, rows = build.deciding[0], list[dict[str, Any]]()
    names = [f"{record.name}_verdict" for record in build.deciding]
    counts = {record.name: Counter[tuple[str, str]]() for record in build.deciding}
    if "arrivals" in first.hashes:
        for ledger in build.partitions():
            arrivals = ledger.table(first, "arrivals", ["source", "verdict"])
            counts[first.name] += _counted(arrivals["source"], arrivals["verdict"])
    for samples in build.batches(["source", *names]):
        for record, verdict in zip(build.deciding, names, strict=True):
            if record is not first or "arrivals" not in first.hashes:
                judged = samples.filter(pc.is_valid(samples[verdict]))
                counts[record.name] += _counted(judged["source"], judged[verdict])
    for step, totals in counts.items():
        for source in sorted({source for source, _ in totals}):
            by_verdict = {verdict: totals[source, verdict] for verdict in VERDICTS}
            rows.append({"step": step, "source": source, "rows_in": sum(by_verdict.values()), **by_verdict})
    return rows


def kept_by_source(funnel: Sequence[Mapping[str, Any]], *, shown: int = SHOWN) -> list[dict[str, Any]]:
    """One row per step: how many rows of each source it kept, `arrived` first; [] where there is one source.

    The `shown` sources with most rows have a column each; the others share the column OTHERS, which says how many.
    """
    arrived = {row["source"]: row["rows_in"] for row in funnel if row["step"] == funnel[0]["step"]} if funnel else {}
    if len(arrived) < 2:
        return []
    ranked = sorted(arrived, key=lambda name: (-arrived[name], name))
    shown_sources = ranked if len(ranked) <= shown + 1 else ranked[:shown]
    columns = dict.fromkeys(ranked, f"{len(ranked) - shown:,} {OTHERS}")
    columns |= {name: name if name not in ("", "step") else f"source `{name}`" for name in shown_sources}
    rows = {"arrived": Counter[str]()}
    for name, count in arrived.items():
        rows["arrived"][columns[name]] += count
    for row in funnel:
        rows.setdefault(row["step"], Counter())[columns[row["source"]]] += row["kept"]
    names = list(dict.fromkeys(columns.values()))
    return [{"step": step, **{name: counts[name] for name in names}} for step, counts in rows.items()]


def _counted(sources: pa.ChunkedArray, verdicts: pa.ChunkedArray) -> Counter[tuple[str, str]]:
    """Rows by source and verdict."""
    table = pa.table({"source": pc.fill_null(sources, ""), "verdict": verdicts})
    counted = table.group_by(["source", "verdict"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({(row["source"], row["verdict"]): row["count_all"] for row in counted})
