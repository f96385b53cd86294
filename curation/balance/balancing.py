"""Balance head and tail of the concept distribution (MetaCLIP, arXiv:2309.16671), by draws that can be replayed.

An entry e that c_e pairs match has p_e = min(1, t / c_e), and a pair stays with P = 1 - prod(1 - p_e). Two laws give
that: v1 draws u for each of its entries, a hash of (seed, "balance", uid, entry text), and keeps the pair if any has
u < p_e; v2 draws once, with no entry, and keeps it if u < P. An entry with p_e = 1 keeps its pairs without a draw.

Two phases draw the same numbers. The preselection before the download has a higher t, to leave room for losses; the
balance comes last. Its counts weigh each survivor by the inverse of its chance in the preselection, so they estimate
those of the pool, and a probability may not rise above the preselection's: it is capped there, and the cap is
recorded. So what the balance keeps by an entry the preselection kept by it too (v1), and P does not rise (v2). An
entry that only a new caption matches has no cap.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.balance.kernels import loops_for
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.thresholds import UNIT, Law, PreselectionLimits, entry_probabilities, units_of
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws_at
from evenly.curation.errors import ColumnsError

DRAWS = pa.schema(
    [
        ("uid", pa.string()),
        ("entries", pa.list_(pa.int32())),
        ("p", pa.list_(pa.float64())),
        ("capped", pa.list_(pa.bool_())),
        ("draws", pa.list_(pa.float64())),
        ("deciding", pa.int32()),
    ]
)
STEP = "balance"
NO_ENTRY = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class RowDecisions:
    """The decisions on n pairs with m matches.

    chances (n,): P(stay), given that the pair's text is judged. deciding (n,): the match that keeps each pair, -1 where
    it goes. draws (k,): all that were made, pair by pair, `n_draws` (n,) of each. deciding_draws (n,): the draw of the
    deciding match, nan where a pair goes or stays without a draw.
    """

    chances: Floats
    deciding: Ints
    draws: Floats
    n_draws: Ints
    deciding_draws: Floats

    @property
    def kept(self) -> Flags:
        """Whether each pair stays (n,)."""
        kept: Flags = self.deciding >= 0
        return kept

    def deciding_entries(self, pairs: MatchedPairs) -> npt.NDArray[np.int32]:
        """The entry that keeps each of the pairs (n,), -1 where it goes."""
        return np.append(pairs.numbers, np.int32(-1))[self.deciding]

    def columns(self, pairs: MatchedPairs, unmatched: pa.Array | pa.Scalar) -> list[pa.Array]:
        """The chance of each pair, whether it stays, why not, the entry that keeps it, and that entry's draw.

        unmatched: why a pair goes that matches nothing.
        """
        kept = self.kept
        drawn = pc.if_else(pa.array(kept), "", "balance_draw")
        return [
            pa.array(self.chances),
            pa.array(kept),
            pc.if_else(pa.array(pairs.lengths > 0), drawn, unmatched),
            pa.array(self.deciding_entries(pairs), mask=~kept),
            pa.array(self.deciding_draws, mask=np.isnan(self.deciding_draws)),
        ]

    def units(self, pairs: MatchedPairs) -> Ints:
        """The number of these pairs that is expected to stay, per language (L,), in units of 2**-30."""
        units = np.zeros(len(pairs.languages), dtype=np.int64)
        np.add.at(units, pairs.language, np.rint(self.chances / UNIT).astype(np.int64))
        return units


def decide_rows(
    pairs: MatchedPairs,
    probabilities: Floats,
    *,
    law: Law,
    seed: int,
    earlier: PreselectionLimits | None = None,
) -> RowDecisions:
    """Decide which of the pairs stay, by the probabilities (L, E) of entries; a text that was not picked goes.

    A pair with a match of p = 1 stays by the first of these without a draw.
    """
    n, lengths = len(pairs), pairs.lengths
    limits, ceilings = (np.empty(0), np.ones(n)) if earlier is None else (earlier.limits, earlier.chances)
    loops, flat = loops_for(len(pairs.numbers)), (pairs.ends, pairs.numbers, pairs.language, probabilities, limits)
    chances, deciding = np.empty(n), np.empty(n, dtype=np.int64)
    loops.fill_chances(*flat, ceilings, chances, deciding)
    deciding[~pairs.chosen] = -1
    by_draw = pairs.chosen & (lengths > 0) & (deciding < 0)
    rows = np.flatnonzero(by_draw)
    entries, numbers, n_draws = pa.array([NO_ENTRY]), np.zeros(len(rows), dtype=np.int64), by_draw.astype(np.int64)
    if law == "v1":
        entries, numbers = pairs.concepts, pairs.numbers[np.repeat(by_draw, lengths)].astype(np.int64)
        rows, n_draws = np.repeat(rows, lengths[rows]), np.where(by_draw, lengths, 0)
    draws = draws_at(seed=seed, step=STEP, uids=pairs.uids, rows=rows, entries=entries, numbers=numbers)
    deciding_draws = np.full(n, np.nan)
    loops.choose_matches(*flat, chances, n_draws, draws, law == "v1", deciding, deciding_draws)
    return RowDecisions(chances=chances, deciding=deciding, draws=draws, n_draws=n_draws, deciding_draws=deciding_draws)


@dataclass(frozen=True, eq=False, kw_only=True)
class Balanced:
    """The result of a balancing.

    decisions: value is P(stay), over both phases where there were two and with the chance that the text is picked.
    draws: one row per pair that has matches and was picked: its entries, the p of each and whether that was capped;
    the draws, one per entry (v1) or one (v2); deciding: of a pair that stays, the entry with the smallest draw among
    those that fired (v1) or with the largest p (v2). A pair with an entry of p = 1 has no draws and names that entry
    alone, the first if there are several. probabilities (L, E): before caps. expected (L,): how many pairs of
    each language stay, in the mean.
    """

    decisions: Decisions
    draws: pa.Table
    probabilities: Floats
    expected: Floats


def balance(
    pairs: MatchedPairs,
    *,
    counts: Floats,
    thresholds: Floats,
    law: Law,
    seed: int,
    reason: str = "balance_draw",
    earlier: PreselectionLimits | None = None,
    probabilities: Floats | None = None,
) -> Balanced:
    """Decide which of the pairs stay: dropped as `reason` by a draw, else as other_text or no_concept.

    counts (L, E) over the whole, of which these pairs may be a part; thresholds (L,); earlier: the preselection that
    these pairs survived, where there was one. probabilities (L, E): those that follow from counts and thresholds, where
    they are known.
    """
    if earlier is not None and not (earlier.chances > 0).all():
        raise ColumnsError("`earlier` must have chances above 0; got 0. Hand in the preselection of these pairs.")
    if probabilities is None:
        probabilities = entry_probabilities(counts, thresholds)
    names = pa.array(["", reason, "other_text", "no_concept"])
    codes, values, tables, units = [], [], [], np.zeros(len(pairs.languages), dtype=np.int64)
    for rows, matches, part in pairs.batches():
        part_limits = None if earlier is None else earlier.part(rows, matches)
        decided = decide_rows(part, probabilities, law=law, seed=seed, earlier=part_limits)
        codes.append(_coded(part, decided))
        values.append(decided.chances * part.shares)
        units += units_of(part, decided.chances, part_limits)
        tables.append(_table(part, decided, probabilities, part_limits))
    return Balanced(
        decisions=Decisions.of(reason=names.take(pa.array(np.concatenate(codes))), value=np.concatenate(values)),
        draws=pa.concat_tables(tables),
        probabilities=probabilities,
        expected=units.astype(np.float64) * UNIT,
    )


def earlier_limits(pairs: MatchedPairs, preselected: MatchedPairs, probabilities: Floats) -> Floats:
    """Return the limit (m,) of each match of `pairs`: its probability when these pairs, as `preselected`, were matched.

    probabilities (L, E): of the preselection. Infinite for an entry that a pair did not match then.
    """
    if pairs is preselected:
        of_all: Floats = probabilities.ravel()[pairs.cells]
        return of_all
    n_entries = len(pairs.concepts)
    cells, preselected_cells = (part.rows * n_entries + part.numbers for part in (pairs, preselected))
    places = np.minimum(np.searchsorted(preselected_cells, cells), max(len(preselected_cells) - 1, 0))
    matched_then = preselected_cells[places] == cells if len(preselected_cells) else np.zeros(len(cells), dtype=bool)
    limits = np.full(len(cells), np.inf)
    limits[matched_then] = probabilities.ravel()[preselected.cells[places[matched_then]]]
    return limits


def _coded(pairs: MatchedPairs, decided: RowDecisions) -> Ints:
    """Return per pair why it goes (n,): 0 it stays, 1 by its draw, 2 another text was picked, 3 it has no match."""
    return np.where(decided.kept, 0, np.where(pairs.lengths == 0, 3, np.where(pairs.chosen, 1, 2)))


def _table(
    pairs: MatchedPairs, decided: RowDecisions, probabilities: Floats, earlier: PreselectionLimits | None
) -> pa.Table:
    """Return the table DRAWS: all matches of pairs with draws, and the pairs that stay without a draw."""
    wanted, n_matches = probabilities.ravel()[pairs.cells], np.where(decided.n_draws > 0, pairs.lengths, 0)
    p = wanted if earlier is None else np.minimum(wanted, earlier.limits)
    certain = decided.kept & (decided.n_draws == 0)
    listed = np.repeat(decided.n_draws > 0, pairs.lengths)
    listed[decided.deciding[certain]] = True
    n_matches[certain] = 1
    rows = np.flatnonzero(n_matches)
    ends, draw_ends = (
        pa.array(np.append(0, np.cumsum(lengths[rows])), pa.int32()) for lengths in (n_matches, decided.n_draws)
    )
    columns = [
        pairs.uids.take(pa.array(rows)),
        *(pa.ListArray.from_arrays(ends, pa.array(values[listed])) for values in (pairs.numbers, p, wanted > p)),
        pa.ListArray.from_arrays(draw_ends, pa.array(decided.draws)),
        pa.array(decided.deciding_entries(pairs)[rows], mask=~decided.kept[rows]),
    ]
    return pa.table(columns, schema=DRAWS)
