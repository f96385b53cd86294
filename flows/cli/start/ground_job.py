"""`evenly demo --ground`: the proving ground, drawn."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenly.demo.ground.folder import make_ground, picture_count
from evenly.flows.cli.output import print_rows, print_text
from evenly.tasks.progress import Progress


def build_ground(folder: Path, *, hands: str | None, codes: int | None) -> dict[str, Any]:
    """Draw the ground; what it holds, in how many seconds and bytes it was made."""
    start = time.perf_counter()
    chosen = _hands(hands)
    with Progress().bar("drawing the ground", picture_count(chosen, codes)) as advance:
        summary = make_ground(folder, hands=chosen, codes=codes, progress=advance)
    drawn_s = time.perf_counter() - start
    return {
        "folder": str(folder),
        "ground": summary,
        "seconds": {"drawing": round(drawn_s, 1)},
        "bytes": _bytes(folder),
    }


def print_ground(result: dict[str, Any]) -> None:
    """Print what a ground holds."""
    parts = result["ground"]["parts"]
    print_rows("parts", [{"part": part, **counts} for part, counts in parts.items()])
    seconds = ", ".join(f"{seconds:,.0f} s {step}" for step, seconds in result["seconds"].items())
    print_text(f"{result['folder']}: {result['bytes'] / 1e6:,.0f} MB; {seconds}")
    for hand, package in result["ground"]["hands"].items():
        print_text(f"{hand}: {package}, licences/{hand}.txt")


def _hands(text: str | None) -> Sequence[str]:
    return tuple(dict.fromkeys(hand.strip() for hand in text.split(","))) if text else ()


def _bytes(folder: Path) -> int:
    """The size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
