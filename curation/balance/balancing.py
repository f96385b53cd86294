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

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.keep_probability import UNIT, Earlier, expected_units, stay_chances
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.thresholds import Law, entry_probabilities
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws_at
from evenly.curation.errors import ColumnsError

STEP = "balance"
NO_ENTRY = ""
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Balanced:
    """What a balancing decided.

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
    earlier: Earlier | None = None,
) -> Balanced:
    """Decide which of the pairs stay: dropped as `reason` by a draw, else as other_text or no_concept.

    counts (L, E) over the whole, of which these pairs may be a part; thresholds (L,); earlier: the preselection that
    these pairs survived, where there was one.
    """
    if earlier is not None and not (earlier.chances > 0).all():
        raise ColumnsError("`earlier` must have chances above 0; got 0. Hand in the preselection of these pairs.")
    probabilities = entry_probabilities(counts, thresholds)
    names = pa.array(["", reason, "other_text", "no_concept"])
    codes, values, tables = [], [], []
    for rows, matches, part in pairs.batches():
        before = None if earlier is None else earlier.part(rows, matches)
        judged = _judge(part, probabilities, law=law, seed=seed, earlier=before)
        codes.append(judged[0])
        values.append(judged[1])
        tables.append(judged[2])
    return Balanced(
        decisions=Decisions.of(reason=names.take(pa.array(np.concatenate(codes))), value=np.concatenate(values)),
        draws=pa.concat_tables(tables),
        probabilities=probabilities,
        expected=expected_units(pairs, probabilities, earlier).astype(np.float64) * UNIT,
    )


def earlier_limits(pairs: MatchedPairs, before: MatchedPairs, probabilities: Floats) -> Floats:
    """Return the limit (m,) of each match of `pairs`: its probability when the same pairs were matched as `before`.

    probabilities (L, E): of the preselection. Infinite for an entry that a pair did not match then.
    """
    n_entries = len(pairs.concepts)
    now, then = (part.rows * n_entries + part.numbers for part in (pairs, before))
    at = np.minimum(np.searchsorted(then, now), max(len(then) - 1, 0))
    known = then[at] == now if len(then) else np.zeros(len(now), dtype=bool)
    limits = np.full(len(now), np.inf)
    limits[known] = probabilities.ravel()[before.cells[at[known]]]
    return limits


def _judge(
    pairs: MatchedPairs, probabilities: Floats, *, law: Law, seed: int, earlier: Earlier | None
) -> tuple[Ints, Floats, pa.Table]:
    """Return per pair why it goes (0 it stays, 1 by its draw, 2 another text was picked, 3 no match) and P(stay)."""
    rows, wanted = pairs.rows, probabilities.ravel()[pairs.cells]
    p = wanted if earlier is None else np.minimum(wanted, earlier.limits)
    chances = stay_chances(pairs, probabilities, earlier)
    certain = _first_of_each(rows, np.flatnonzero(p >= 1))
    certain = certain[pairs.chosen[rows[certain]]]
    by_draw = pairs.chosen & (pairs.lengths > 0)
    by_draw[rows[certain]] = False
    told = by_draw[rows]
    matches = np.flatnonzero(told)
    if law == "v1":
        numbers = pairs.numbers[matches].astype(np.int64)
        u = draws_at(seed=seed, step=STEP, uids=pairs.uids, rows=rows[matches], entries=pairs.concepts, numbers=numbers)
        fired, rank = matches[u < p[matches]], u[u < p[matches]]
        n_draws = np.where(by_draw, pairs.lengths, 0)
    else:
        u, drawn = np.ones(len(pairs)), np.flatnonzero(by_draw)
        numbers = np.zeros(len(drawn), dtype=np.int64)
        u[drawn] = draws_at(
            seed=seed, step=STEP, uids=pairs.uids, rows=drawn, entries=pa.array([NO_ENTRY]), numbers=numbers
        )
        fired = matches[(u < chances)[rows[matches]]]
        rank, u, n_draws = -p[fired], u[drawn], by_draw.astype(np.int64)
    deciding = np.full(len(pairs), -1)
    for decided in (certain, _first_of_each(rows, fired[np.lexsort((rank, rows[fired]))])):
        deciding[rows[decided]] = decided
    codes = np.where(deciding >= 0, 0, np.where(pairs.lengths == 0, 3, np.where(pairs.chosen, 1, 2)))
    told[certain] = True
    table = _table(pairs, np.flatnonzero(told), (p, wanted > p), (u, n_draws), deciding)
    return codes, chances * pairs.shares, table


def _first_of_each(rows: Ints, matches: Ints) -> Ints:
    """Return the first of `matches`, which stand pair by pair, of each pair."""
    return matches[np.diff(rows[matches], prepend=-1) > 0]


def _table(
    pairs: MatchedPairs, told: Ints, of_each: tuple[Floats, npt.NDArray[np.bool_]], drawn: tuple[Floats, Ints], by: Ints
) -> pa.Table:
    """Return the table DRAWS of the matches `told`.

    of_each: p and whether it was capped (m,); drawn: all draws, and how many each pair has (n,); by: the deciding
    match of each pair, -1 for none (n,).
    """
    per_pair = np.bincount(pairs.rows[told], minlength=len(pairs))
    here = np.flatnonzero(per_pair)
    ends, draw_ends = (pa.array(np.append(0, np.cumsum(lengths[here])), pa.int32()) for lengths in (per_pair, drawn[1]))
    deciding = np.append(pairs.numbers, np.int32(-1))[by[here]]
    columns = [
        pairs.uids.take(pa.array(here)),
        *(pa.ListArray.from_arrays(ends, pa.array(values[told])) for values in (pairs.numbers, *of_each)),
        pa.ListArray.from_arrays(draw_ends, pa.array(drawn[0])),
        pa.array(deciding, mask=by[here] < 0),
    ]
    return pa.table(columns, schema=DRAWS)
