"""The tables that a balancing leaves for people: draws per pair, counts per concept, thresholds per language."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats
from evenly.curation.balance.keep_probability import UNIT
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import tail_share


def draw_rows(row: Mapping[str, Any], concepts: Sequence[str]) -> list[dict[str, Any]]:
    """Return entry, p, draw, capped and deciding for each concept of one row of the table DRAWS.

    Where one draw decides the pair (law v2), each concept shows it; None where p = 1 keeps it without a draw.
    """
    draws = row["draws"]
    shown = draws if len(draws) == len(row["entries"]) else [draws[0] if draws else None] * len(row["entries"])
    matches = zip(row["entries"], row["p"], shown, row["capped"], strict=True)
    return [
        {"entry": concepts[number], "p": p, "draw": draw, "capped": capped, "deciding": number == row["deciding"]}
        for number, p, draw, capped in matches
    ]


COUNTS = pa.schema(
    [
        ("entry", pa.int32()),
        ("concept", pa.string()),
        ("language", pa.string()),
        ("before", pa.int64()),
        ("weighted", pa.float64()),
        ("after", pa.int64()),
        ("p", pa.float64()),
    ]
)
THRESHOLDS = pa.schema(
    [
        ("language", pa.string()),
        ("t", pa.float64()),
        ("tail_share", pa.float64()),
        ("pairs", pa.int64()),
        ("matches", pa.int64()),
        ("expected", pa.float64()),
        ("kept", pa.int64()),
    ]
)


def count_table(
    sums: BalanceSums, languages: Sequence[str], concepts: pa.Array, counts: Floats, probabilities: Floats
) -> pa.Table:
    """Return the table COUNTS: matches per language and concept that occurs, before balancing and after.

    weighted: the counts (L, E) that the thresholds were held against, an estimate of the pool's after a preselection;
    p (L, E) before caps.
    """
    numbers, entries = np.nonzero(sums.before)
    columns = [
        entries,
        concepts.take(pa.array(entries)),
        pa.array(languages, pa.string()).take(pa.array(numbers)),
        sums.before[numbers, entries],
        np.round(counts[numbers, entries], 6),
        sums.after[numbers, entries],
        probabilities[numbers, entries],
    ]
    return pa.table([pa.array(column).cast(field.type) for column, field in zip(columns, COUNTS, strict=True)], COUNTS)


def threshold_table(sums: BalanceSums, languages: Sequence[str], counts: Floats, thresholds: Floats) -> pa.Table:
    """Return the table THRESHOLDS, one row per language.

    t before headroom, and the share of all matches that concepts with fewer hold; pairs and matches that came; how
    many pairs were expected to stay (6 digits), and how many did.
    """
    columns = [
        list(languages),
        thresholds,
        [tail_share(row, t) for row, t in zip(counts, thresholds, strict=True)],
        sums.pairs,
        sums.before.sum(axis=1),
        np.round(sums.units.astype(np.float64) * UNIT, 6),
        sums.kept,
    ]
    return pa.table(
        [pa.array(column).cast(field.type) for column, field in zip(columns, THRESHOLDS, strict=True)], THRESHOLDS
    )
