"""Counts of the pairs that balancing has decided, whose parts add up exactly to the whole, and the tables of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.thresholds import UNIT, tail_share

SUMS = pa.schema(
    [
        ("language", pa.string()),
        ("entry", pa.int32()),  # null in the row of a language
        ("before", pa.int64()),  # matches of the entry, or of the language
        ("after", pa.int64()),  # the same of pairs that stay; of a language, the pairs that stay
        ("pairs", pa.int64()),
        ("units", pa.int64()),  # expected to stay, in units of 2**-30
        ("decides", pa.int64()),  # of an entry: pairs that are drawn for, of whose entries it has the largest p
        ("alone", pa.int64()),  # and those among them that name no other entry
    ]
)
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


@dataclass(frozen=True, eq=False, kw_only=True)
class BalanceSums:
    """Matches before and after balancing (L, E); pairs, those that stay, and expected units per language (L,).

    decides (E,): pairs whose stay is drawn for and that the entry decides, since it has the largest p of theirs, the
    first of equal ones; alone (E,): those among them that name no other entry.
    """

    before: Ints
    after: Ints
    pairs: Ints
    kept: Ints
    units: Ints
    decides: Ints
    alone: Ints

    @classmethod
    def of(cls, pairs: MatchedPairs, kept: Flags, units: Ints, draws: pa.Table) -> "BalanceSums":
        """Count pairs, of which those that are `kept` (n,) stay, by the table DRAWS of them."""
        n = len(pairs.languages)
        before, after = (count_matches(pairs, weights).astype(np.int64) for weights in (None, kept.astype(np.float64)))
        decides, alone = _deciding(draws, len(pairs.concepts))
        return cls(
            decides=decides,
            alone=alone,
            before=before,
            after=after,
            pairs=np.bincount(pairs.language, minlength=n),
            kept=np.bincount(pairs.language[kept], minlength=n),
            units=units,
        )

    def to_table(self, languages: Sequence[str]) -> pa.Table:
        """SUMS: a row per language, and one per language and entry that occurs."""
        numbers, entries = np.nonzero(self.before)
        first = np.unique(entries, return_index=True)[1]  # of an entry in several languages, its first row has these
        is_first = np.zeros(len(entries), np.int64)
        is_first[first] = 1
        names = pa.array(languages, pa.string())
        of_entries = {
            "language": names.take(pa.array(numbers)),
            "entry": pa.array(entries, pa.int32()),
            "before": self.before[numbers, entries],
            "after": self.after[numbers, entries],
            "decides": self.decides[entries] * is_first,
            "alone": self.alone[entries] * is_first,
        }
        nothing = pa.nulls(len(entries), pa.int64())
        of_languages = {
            "language": names,
            "entry": pa.nulls(len(names), pa.int32()),
            "before": self.before.sum(axis=1),
            "after": self.kept,
            "pairs": self.pairs,
            "units": self.units,
            "decides": pa.nulls(len(names), pa.int64()),
            "alone": pa.nulls(len(names), pa.int64()),
        }
        return pa.concat_tables(
            [
                pa.table({**of_entries, "pairs": nothing, "units": nothing}, schema=SUMS),
                pa.table(of_languages, schema=SUMS),
            ]
        )

    @classmethod
    def summed(cls, tables: Sequence[pa.Table], languages: Sequence[str], n_entries: int) -> "BalanceSums":
        """Add up tables SUMS of parts."""
        n = len(languages)
        before, after = np.zeros((n, n_entries), np.int64), np.zeros((n, n_entries), np.int64)
        pairs, kept, units = (np.zeros(n, np.int64) for _ in range(3))
        decides, alone = np.zeros(n_entries, np.int64), np.zeros(n_entries, np.int64)
        for table in tables:
            numbers = pc.index_in(table["language"].combine_chunks(), pa.array(languages, pa.string())).to_numpy()
            of_entry = table["entry"].is_valid().to_numpy()
            rows, entries = numbers[of_entry], table["entry"].drop_null().to_numpy()
            before[rows, entries] += table["before"].to_numpy()[of_entry]
            after[rows, entries] += table["after"].to_numpy()[of_entry]
            for total, name in ((decides, "decides"), (alone, "alone")):
                if name in table.column_names:  # a part that was stored before these were counted
                    total[entries] += table[name].to_numpy()[of_entry].astype(np.int64)
            of_languages = table.filter(pa.array(~of_entry))
            for total, name in ((pairs, "pairs"), (kept, "after"), (units, "units")):
                total[numbers[~of_entry]] += of_languages[name].to_numpy()
        return cls(before=before, after=after, pairs=pairs, kept=kept, units=units, decides=decides, alone=alone)


def _deciding(draws: pa.Table, n_entries: int) -> tuple[Ints, Ints]:
    """`decides` and `alone` (E,) of a table DRAWS."""
    drawn = draws.filter(pc.greater(pc.list_value_length(draws["draws"]), 0)).select(["entries", "p"]).combine_chunks()
    lengths = pc.list_value_length(drawn["entries"]).to_numpy().astype(np.int64)
    entries = pc.list_flatten(drawn["entries"]).to_numpy()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((entries, -pc.list_flatten(drawn["p"]).to_numpy(), rows))
    starts = np.cumsum(lengths) - lengths
    deciding = entries[order[starts]] if len(starts) else entries[:0]
    decides, alone = (np.bincount(part, minlength=n_entries) for part in (deciding, deciding[lengths == 1]))
    return decides, alone


def draw_rows(row: Mapping[str, Any], concepts: Sequence[str] | pa.Array) -> list[dict[str, Any]]:
    """Return entry, p, draw, capped and deciding for each concept of one row of the table DRAWS.

    Where one draw decides the pair (law v2), each concept shows it; None where p = 1 keeps it without a draw.
    """
    draws = row["draws"]
    shown = draws if len(draws) == len(row["entries"]) else [draws[0] if draws else None] * len(row["entries"])
    matches = zip(row["entries"], row["p"], shown, row["capped"], strict=True)
    return [
        {"entry": str(concepts[number]), "p": p, "draw": draw, "capped": capped, "deciding": number == row["deciding"]}
        for number, p, draw, capped in matches
    ]


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
