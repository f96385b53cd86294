"""The cost of a rebuild, step by step: seconds, memory and bytes on disk, from figures of earlier runs or typical.

Figures of a step are scaled by rows. Nothing here reads a workspace: planning.py does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from evenly.curation.balance.judgement import BALANCE, PRESELECT
from evenly.curation.collecting import COLLECT
from evenly.curation.concepts.judgement import MATCH_CONCEPTS
from evenly.curation.filters import CHECK_TEXTS
from evenly.flows.cli.output import SPENT, Columns, Row
from evenly.storage.step_records import StepRecord
from evenly.tasks.partitioning import Cut
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS

Basis = Literal["from the last run", "typical"]
LAST_RUN: Basis = "from the last run"
_LEAST_SHARE = 0.1  # of a step's rows that a run must have worked on to say how long all of them take
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The cost of a step for `rows` rows: seconds of work over all processes, bytes on disk, and the kept share.

    0 rows: of a step that judges none, and takes about the same for any pool.
    """

    rows: int
    seconds: float | None
    size: float | None
    kept: float = 1.0
    basis: Basis = "typical"


_MILLION = 1_000_000
TYPICAL: Mapping[str, Figures] = {
    COLLECT.name: Figures(rows=_MILLION, seconds=5.6, size=107e6, kept=0.99),
    CHECK_TEXTS.name: Figures(rows=_MILLION, seconds=4.7, size=29e6, kept=0.78),
    MATCH_CONCEPTS.name: Figures(rows=_MILLION, seconds=1.5, size=51e6),
    COUNT_CONCEPTS.name: Figures(rows=0, seconds=0.1, size=0.4e6),
    PRESELECT.name: Figures(rows=_MILLION, seconds=1.2, size=53e6),
    BALANCE.name: Figures(rows=_MILLION, seconds=2.4, size=54e6),
    "publish": Figures(rows=_MILLION, seconds=3.4, size=129e6),
    "measure_retrieval": Figures(rows=1000, seconds=1.3, size=0.0),
    "measure_diversity": Figures(rows=1000, seconds=0.8, size=0.0),
}
"""Processor seconds and bytes of a million captions of benchmarks/text_pool.py, in 4 partitions by one process.

A step that is not here was not measured.
"""


def figures_of(record: StepRecord, size: float) -> Figures:
    """The cost of a step as it is recorded; `size`: bytes of its tables.

    Where it took most verdicts over from an earlier run, its seconds say nothing of those.
    """
    rows, seconds = record.rows_in, record.seconds
    if seconds is None and not record.bits and record.started:  # as older records have it
        began, ended = (datetime.fromisoformat(text) for text in (record.started, record.ended))
        seconds = (ended - began).total_seconds()
    if record.work:
        worked = record.work["computed"]
        seconds = None if seconds is None or worked < _LEAST_SHARE * rows else seconds * rows / worked
    kept = record.counts["kept"] / rows if record.counts and rows else 1.0
    return Figures(rows=rows, seconds=seconds, size=size, kept=kept, basis=LAST_RUN)


def best_figures(step: str, earlier: Iterable[Figures]) -> Figures | None:
    """Figures of the largest earlier run of a step that say how long it took, else typical ones; None: not known."""
    timed = [figures for figures in earlier if figures.seconds is not None]
    return max(timed, key=lambda figures: figures.rows, default=TYPICAL.get(step))


def estimate_step(figures: Figures | None, rows: int, cut: Cut, *, is_cut: bool) -> dict[str, Any]:
    """The cost of a step for `rows` rows: estimated_s (by the clock), bytes, memory_bytes, basis; None: not known.

    is_cut: whether it works on partitions, which the workers share out; else it holds all rows at once.
    """
    memory = cut.expected if is_cut else None
    if figures is None:
        return {"estimated_s": None, "bytes": None, "memory_bytes": memory, "basis": None}
    scale = rows / figures.rows if figures.rows else 1.0
    workers = cut.workers if is_cut else 1
    return {
        "estimated_s": None if figures.seconds is None else round(figures.seconds * scale / workers, 1),
        "bytes": None if figures.size is None else round(figures.size * scale),
        "memory_bytes": memory,
        "basis": figures.basis,
    }


def sum_estimates(cut: Cut, rows: Sequence[Mapping[str, Any]], *, is_counted: bool) -> dict[str, Any]:
    """The cost of all steps of a plan that would run; `unknown` names those of which nothing is known."""
    running = [row for row in rows if row["action"] != "reuse"]
    return {
        "rows": cut.rows,
        "rows_are": "counted" if is_counted else "estimated",
        "partitions": cut.partitions,
        "workers": cut.workers,
        "memory_bytes": cut.expected if running else None,
        "allowed_bytes": cut.memory,
        "estimated_s": round(sum(row["estimated_s"] or 0.0 for row in running), 1),
        "bytes": sum(row["bytes"] or 0 for row in running),
        "basis": sorted({row["basis"] for row in running} - {None}),
        "unknown": [row["step"] for row in running if row["estimated_s"] is None],
    }


def described(total: Mapping[str, Any]) -> list[str]:
    """The sum of a plan in sentences."""
    rows = f"{total['rows']:,} rows" if total["rows_are"] == "counted" else f"about {total['rows']:,} rows (estimated)"
    parts, workers = total["partitions"], total["workers"]
    lines = [
        f"pool      {rows} in {parts:,} partition{'' if parts == 1 else 's'}, "
        + ("worked on in this process" if workers == 1 else f"worked on by {workers} processes")
    ]
    if total["memory_bytes"] is None:
        return [*lines, "estimate  nothing would run"]
    allowed = shown_size(total["allowed_bytes"])
    lines.append(f"memory    {shown_size(total['memory_bytes'])} of {allowed} that may be taken")
    if total["basis"]:
        basis = " and ".join(f"figures {name}" if name == LAST_RUN else f"{name} figures" for name in total["basis"])
        n_unknown = len(total["unknown"])
        left_out = f", without {n_unknown} step{'s' * (n_unknown != 1)} that nothing is known of" if n_unknown else ""
        size = shown_size(total["bytes"])
        lines.append(f"estimate  {shown_time(total['estimated_s'])}, {size} on disk{left_out}: {basis}")
    if total["unknown"]:
        lines.append(f"unknown   how long {', '.join(total['unknown'])} would take: not run here yet")
    return lines


def measure_lines(rows: Sequence[Row]) -> list[str]:
    """A line of a plan on what is measured of the build for its report."""
    running = [row for row in rows if row["action"] != "reuse"]
    if not running:
        return ["report    retrieval and diversity are measured already"] if rows else []
    seconds = shown_time(sum(row["estimated_s"] or 0.0 for row in running))
    names = " and ".join(row["step"].removeprefix("measure_") for row in running)
    return [
        f"report    {names} of {running[0]['pairs']:,} kept pairs at most: {seconds} more (`measure` in the recipe)"
    ]


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a plan as people read it; ~ marks rows that are estimated."""
    rows = "" if row["rows"] is None else f"{'~' if row['rows_are'] == 'estimated' else ''}{row['rows']:,}"
    figures = [] if row["estimated_s"] is None else [shown_time(row["estimated_s"])]
    figures += [] if row["bytes"] is None else [shown_size(row["bytes"])]
    basis = {None: "", LAST_RUN: ""}.get(row["basis"], " (typical)")
    shown = {"step": row["step"], "action": row["action"], "rows": rows, "would take": ", ".join(figures) + basis}
    return shown | ({} if row.get("to_fetch") is None else {"to fetch": row["to_fetch"]}) | {"why": row["why"]}


def _marked(row: Row, name: str) -> str:
    mark = {"counted": "", "at most": "at most ", "about": "at most ~"}[row["pairs_are"]]
    return f"{mark}{row[name]:,}"


CAPTIONS: Columns = {
    "captioner": "captioner",
    "pairs": lambda row: _marked(row, "pairs"),
    "stored": lambda row: row["stored"] if row["pairs_are"] == "counted" else None,
    "requests left": lambda row: _marked(row, "left_at_most"),
    **SPENT,
}
"""Columns of the requests of captioners."""


def shown_time(seconds: float) -> str:
    """Seconds in the unit that people would use."""
    for unit, length in (("days", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def shown_size(size: float) -> str:
    """Bytes in the unit that people would use."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:.0f} bytes"
