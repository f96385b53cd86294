"""The demo's results as tables that fit a terminal of 80 columns; `--json` has every figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.flows.cli.output import with_interval


def adapter_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per class list accuracy on test and the paired difference to zero-shot with names, with 95 % intervals."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(str(row["list"]), []).append(
            {
                "adapter": row["name"],
                "texts": row["texts"],
                "accuracy": _interval(row, ("accuracy", "low", "high")),
                "difference": _interval(row, ("difference", "difference_low", "difference_high"), sign="+"),
            }
        )
    return tables


def fault_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per fault: injected, judged (those that reached the step which can find it), found, recall, precision."""
    return [
        {name: row[name] for name in ("fault", "injected", "judged", "found", "recall", "precision")} for row in rows
    ]


def caption_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line on how well the align score tells wrong captions from right ones."""
    row = next((row for row in rows if "auc" in row), None)
    if row is None:
        return ""
    return (
        f"wrong captions by align score: AUC {_number(row['auc'])} over all {row['scored']:,}, "
        f"{_number(row['auc_object'])} over the {row['scored_object']:,} whose head noun is an object"
    )


def _interval(row: Mapping[str, Any], names: Sequence[str], *, sign: str = "") -> str:
    return with_interval(*(row[name] for name in names), sign=sign, digits=2)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
