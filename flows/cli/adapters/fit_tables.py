"""The result of `evenly fit --arrays` on the terminal: parameters, why they were chosen, measures with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenly.flows.cli.output import print_facts, print_rows, print_text, with_interval


def print_fit(result: dict[str, Any]) -> None:
    """The choice and its reason, the measures one below the other, and the scores of unseen pictures."""
    _print_choice(result["adapter"], result)
    rows = [row for row in result["ood"] if not row["skipped"]]
    if len({row["set"] for row in rows} - {"mean"}) < 2:
        rows = [row for row in rows if row["set"] != "mean"]
    if rows:
        columns = [{"score": row["score"], "set": _set_of(row), **_intervals(row, ("auroc", "fpr95"))} for row in rows]
        print_rows("test pictures against pictures of no class", columns)
    for row in result["ood"]:
        if row["skipped"]:
            print_text(f"skipped: {row['score']} needs {row['skipped']}")
    print_text(f"written to {result['out']}")


def print_chosen(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what validation chose for each class list, and the folder that holds its adapters."""
    for name in dict.fromkeys(row["list"] for row in rows):
        of_list = [row for row in rows if row["list"] == name]
        shown = [
            {
                "adapter": row["name"],
                "texts": row["texts"],
                "chosen": row["chosen"],
                "on val": row["validation_accuracy"],
                "kept zero-shot, since": row["why"] if row["kept_zero_shot"] else "",
            }
            for row in of_list
        ]
        print_rows(f"{name}: chosen on {of_list[0]['validation_rows'] or 0:,} validation pictures", shown)
        print_text(f"saved in {Path(of_list[0]['saved']).parent} as ADAPTER-TEXTS.json")


def print_ranking(result: dict[str, Any]) -> None:
    """The choice and its reason, and the measures of the order."""
    _print_choice("ranking", result)
    print_text(f"written to {result['out']}")


def _print_choice(name: str, result: dict[str, Any]) -> None:
    print_text(f"{name}: {result['why']}")
    if result["fallback"]:
        print_text(f"fallback: {result['fallback']}")
    for note in result["notes"]:
        print_text(f"note: {note}")
    if result["chosen"]:
        print_text("chosen on validation")
        print_facts(result["chosen"])
    if result["metrics"]:
        print_rows("on test", _measures(result["metrics"]))


def interval_in_words(low: float | None, high: float | None) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _set_of(row: dict[str, Any]) -> str:
    return str(row["set"]) if row["set"] != "mean" else f"mean of {row['kind']}" if row["kind"] != "mean" else "mean"


def _measures(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per measure, its interval beside it."""
    return [
        {"measure": name, "value": value, "interval": interval_in_words(*(metrics.get(end) for end in _ends(name)))}
        for name, value in metrics.items()
        if not name.endswith(("low", "high")) and value != ""
    ]


def _ends(measure: str) -> tuple[str, str]:
    return ("low", "high") if measure == "accuracy" else (f"{measure}_low", f"{measure}_high")


def _intervals(row: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: with_interval(row[name], *(row[end] for end in _ends(name))) for name in names}
