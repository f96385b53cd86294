"""The outcome of each captioner, out of the notes of the step: for the log of a run and for people at a server."""

import logging
from collections.abc import Mapping
from typing import Any

from evenly.tasks.progress import Progress
from evenly.tasks.step import WORRYING_SHARE


def captioner_rows(notes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each captioner: captioner, offered, refused, reasons ("not_json 3, ..."), chosen, cost_usd (or None).

    Empty for notes of another step, or of a version that counted none of this.
    """
    offered, refused = notes.get("offered") or {}, notes.get("refused") or {}
    chosen, accounts = notes.get("chosen") or {}, notes.get("accounts") or {}
    return [
        {
            "captioner": name,
            "offered": count,
            "refused": sum(refused.get(name, {}).values()),
            "reasons": ", ".join(f"{reason} {number:,}" for reason, number in refused.get(name, {}).items()),
            "chosen": chosen.get(name, 0),
            "cost_usd": accounts[name]["spent_usd"] if name in accounts else None,
        }
        for name, count in offered.items()
    ]


def say_captioners(progress: Progress, notes: Mapping[str, Any]) -> None:
    """A line for each captioner in the log; a warning where more than WORRYING_SHARE was refused."""
    for row in captioner_rows(notes):
        reasons = f" ({row['reasons']})" if row["reasons"] else ""
        is_worrying = row["refused"] > WORRYING_SHARE * (row["offered"] + row["refused"])
        progress.say(
            f"captions {row['captioner']}: {row['offered']:,} offered, {row['refused']:,} refused{reasons}, "
            f"{row['chosen']:,} chosen",
            logging.WARNING if is_worrying else logging.INFO,
        )
