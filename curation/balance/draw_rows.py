"""The draws of a pair as people read them: one row per concept."""

from collections.abc import Mapping, Sequence
from typing import Any


def draw_rows(row: Mapping[str, Any], concepts: Sequence[str]) -> list[dict[str, Any]]:
    """Return entry, p, draw, capped and deciding for each concept of one row of the table DRAWS.

    Where one draw decides the pair (law v2), each concept shows it; None where p = 1 keeps it without a draw.
    """
    draws = row["draws"]
    shown = draws if len(draws) == len(row["entries"]) else [draws[0] if draws else None] * len(row["entries"])
    found = zip(row["entries"], row["p"], shown, row["capped"], strict=True)
    return [
        {"entry": concepts[number], "p": p, "draw": draw, "capped": capped, "deciding": number == row["deciding"]}
        for number, p, draw, capped in found
    ]
