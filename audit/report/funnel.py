"""The funnel: pairs that each step was given, kept, dropped, failed on and merged."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.steps import STEPS
from evenly.storage.ledger import VERDICTS, StepRecord


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
