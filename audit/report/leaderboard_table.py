"""The leaderboard as a Markdown table: accuracy with its interval per number of shots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenly.audit.safe_text import visible


def leaderboard_table(rows: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, Any]] = ()) -> str:
    """One line per adapter and texts, one column per number of shots: percent right and its 95 % interval.

    `rows`: name, texts, shots, accuracy, low, high, difference_low, difference_high, validation_margin. An accuracy is
    bold where the paired interval of its difference to the baseline lies above 0, in italics where it lies below. The
    last column is the smallest margin over zero-shot on validation, in points. `skipped` (name, texts, reason) follow.
    """
    shots = sorted({row["shots"] for row in rows})
    lines: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault((str(row["name"]), str(row["texts"])), {})[row["shots"]] = row
    table = [
        _line("adapter", "texts", *(f"{value} shots" if value != 1 else "1 shot" for value in shots), "validation"),
        _line("---", "---", *("---:" for _ in shots), "---:"),
    ]
    for (name, texts), cells in lines.items():
        margins = [_number(row["validation_margin"]) for row in cells.values()]
        table.append(
            _line(_shown(name), _shown(texts), *(_cell(cells.get(value)) for value in shots), _margin(margins))
        )
    notes = [f"- {_shown(row['name'])}, texts {_shown(row['texts'])}: {_shown(row['reason'])}" for row in skipped]
    return "\n".join([*table, *(["", "Not run:", "", *notes] if notes else []), ""])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    accuracy, low, high = (_number(row[name]) for name in ("accuracy", "low", "high"))
    mark = {1: "**", -1: "*"}.get(_side(row), "")
    interval = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{mark}{100 * accuracy:.1f}{mark}{interval}"


def _side(row: Mapping[str, Any]) -> int:
    """1 where the interval of the difference lies above 0, -1 where below, else 0."""
    low, high = _number(row["difference_low"]), _number(row["difference_high"])
    return int(low > 0) - int(high < 0)


def _margin(margins: Sequence[float]) -> str:
    numbers = [value for value in margins if not np.isnan(value)]
    return f"{100 * min(numbers):+.1f}" if numbers else ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _shown(text: object) -> str:
    return visible(str(text)).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
