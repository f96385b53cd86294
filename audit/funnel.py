"""The funnel: pairs that each step was given, kept, dropped, failed on and merged, whole and by source."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.steps import STEPS
from evenly.storage.ledger import VERDICTS, StepRecord

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
    arrived = sorted({source for source, _ in counts[first.name]})
    is_one = len(arrived) == 1  # then all that is judged is of it
    for record in build.deciding[1:] if is_one else ():
        counts[record.name].update({(arrived[0], verdict): n for verdict, n in record.counts.items() if n})
    for samples in () if is_one else build.batches(["source", *names]):
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


def read_funnel(build: PublishedBuild) -> list[dict[str, Any]]:
    """One row per step that judged pairs: step, question, rows_in, counts per verdict, shares in percent, reasons."""
    widest = max((record.rows_in for record in build.deciding), default=0) or 1
    return [_row(record, widest) for record in build.deciding]


def read_key_figures(build: PublishedBuild) -> dict[str, Any]:
    """rows_in (of the first step), kept, share kept, pictures of kept pairs, captions rewritten among kept pairs."""
    last = f"{build.deciding[-1].name}_verdict"
    rewritten, images = 0, list[pa.Array]()
    names = {"caption", "chosen_caption", "image_id"} & build.sample_columns
    for rows in build.batches(sorted(names), f"{last} = 'kept'") if names - {"caption"} else ():
        if "chosen_caption" in names:
            differs = pc.fill_null(pc.not_equal(rows["chosen_caption"], rows["caption"]), False)
            named = pc.and_(pc.is_valid(rows["chosen_caption"]), pc.is_null(rows["caption"]))
            rewritten += pc.sum(pc.or_(differs, named)).as_py() or 0
        if "image_id" in names:
            images.append(rows["image_id"].combine_chunks())
    pictures = len(pa.chunked_array(images, pa.string()).unique()) if "image_id" in names else None
    rows_in, kept = build.deciding[0].rows_in, build.deciding[-1].counts["kept"]
    return {
        "rows_in": rows_in,
        "kept": kept,
        "share": kept / rows_in if rows_in else 0.0,
        "pictures": pictures,
        "rewritten": rewritten if "chosen_caption" in names else None,
    }


def largest_losses(funnel: Sequence[dict[str, Any]], n: int = 3) -> list[dict[str, Any]]:
    """The `n` reasons by which most pairs went: step, reason and count."""
    losses = [
        {"step": row["step"], "reason": reason, "count": count} for row in funnel for reason, count in row["reasons"]
    ]
    return sorted(losses, key=lambda loss: -loss["count"])[:n]


def _row(record: StepRecord, widest: int) -> dict[str, Any]:
    counts = {verdict: record.counts.get(verdict, 0) for verdict in VERDICTS}
    return {
        "step": record.name,
        "question": STEPS[record.name].question if record.name in STEPS else "",
        "rows_in": record.rows_in,
        **counts,
        "widths": {verdict: 100 * count / widest for verdict, count in counts.items()},
        "reasons": sorted(record.reasons.items(), key=lambda item: (-item[1], item[0])),
    }
