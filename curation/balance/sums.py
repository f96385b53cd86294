"""What balancing counts of the pairs that it has decided: parts of a pool add up exactly to the whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches

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
        once = np.zeros(len(entries), np.int64)
        once[first] = 1
        names = pa.array(languages, pa.string())
        of_entries = {
            "language": names.take(pa.array(numbers)),
            "entry": pa.array(entries, pa.int32()),
            "before": self.before[numbers, entries],
            "after": self.after[numbers, entries],
            "decides": self.decides[entries] * once,
            "alone": self.alone[entries] * once,
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
            own = table.filter(pa.array(~of_entry))
            for total, name in ((pairs, "pairs"), (kept, "after"), (units, "units")):
                total[numbers[~of_entry]] += own[name].to_numpy()
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
