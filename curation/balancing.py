"""Balance head and tail of the concept distribution (MetaCLIP, Xu et al. 2024, section 3.3), by replayable draws.

An entry e that c_e pairs match is kept with p_e = min(1, t / c_e). A pair stays if any entry that it matches draws
u < p_e, so P(stay) = 1 - prod(1 - p_e): the law of MetaCLIP v1, one draw per pair and entry. A draw is a hash of
(seed, "balance", uid, entry text). The preselection before the download uses the same draws with a higher t, so what
the balance keeps the preselection kept, as long as no probability rises; where one would, it is capped and recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.decisions import Decisions
from curation.draws import draws
from curation.errors import RuleError

Floats = npt.NDArray[np.float64]
STEP = "balance"


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """What a balancing decided.

    decisions: value is P(stay). draws: one row per pair and matched entry: uid, entry, p, draw, capped, deciding (the
    entry with the smallest draw among those that fired). probabilities: p_e per entry id. t: the threshold in force.
    """

    decisions: Decisions
    draws: pa.Table
    probabilities: Floats
    t: float


def count_entries(matches: pa.Array, n_entries: int, weights: Floats | None = None) -> Floats:
    """Pairs per entry (n_entries,), each counted by its weight, 1 without weights."""
    ids, rows = _flat(matches)
    return np.bincount(ids, weights=None if weights is None else weights[rows], minlength=n_entries).astype(np.float64)


def entry_probabilities(counts: Floats, t: float) -> Floats:
    """p_e = t / max(c_e, t), in (0, 1]; an entry without pairs has 1."""
    if t <= 0:
        raise RuleError(f"`t` must be above 0; got {t}. Choose the count at which entries begin to be thinned.")
    return t / np.maximum(counts, t)


def stay_probabilities(matches: pa.Array, probabilities: Floats) -> Floats:
    """P(stay) = 1 - prod(1 - p_e) per pair; 0 for a pair without entries."""
    ids, rows = _flat(matches)
    return _stay(rows, probabilities[ids], len(matches))


def tail_share(counts: Floats, t: float) -> float:
    """Share of the matches that entries with c_e < t hold (MetaCLIP 2: t_to_p); 0 where there are no matches."""
    total = counts.sum()
    return float(counts[counts < t].sum() / total) if total else 0.0


def threshold_for_tail(counts: Floats, share: float) -> float:
    """The count at which the sorted cumulative share lies nearest to `share` (MetaCLIP 2: p_to_t); 1 without matches."""
    ordered = np.sort(counts[counts > 0])
    if not len(ordered):
        return 1.0
    return float(ordered[np.abs(np.cumsum(ordered) / ordered.sum() - share).argmin()])


def threshold_for_target(matches: pa.Array, counts: Floats, target: float, *, weights: Floats | None = None) -> float:
    """The t at which the expected number of pairs that stay is `target`, by bisection to a relative 1e-9.

    Above what all matched pairs together give, the largest count, which keeps them all.
    """
    high = float(max(counts.max(initial=1.0), 1.0))
    factor = np.ones(len(matches)) if weights is None else weights

    def expected(t: float) -> float:
        return float((stay_probabilities(matches, entry_probabilities(counts, t)) * factor).sum())

    if expected(high) <= target:
        return high
    low = 1e-9
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < target else (low, middle)
    return high


def preselect(
    uids: Sequence[str], matches: pa.Array, entries: Sequence[str], *, t: float, headroom: float, seed: int
) -> Balanced:
    """Decide what is worth downloading: the balance of the whole pool at `headroom` times t."""
    counts = count_entries(matches, len(entries))
    return _decide(
        uids, matches, entries, entry_probabilities(counts, t * headroom), t=t, seed=seed, reason="preselect_draw"
    )


def balance(
    uids: Sequence[str],
    matches: pa.Array,
    entries: Sequence[str],
    *,
    t: float,
    seed: int,
    stayed: Floats | None = None,
    caps: dict[tuple[str, str], float] | None = None,
) -> Balanced:
    """Decide what stays of the survivors.

    stayed: P(stay) of each survivor in the preselection; counts weigh it by the inverse, so that they estimate those
    of the pool. caps: p_e of the preselection by (uid, entry), above which p_e may not rise.
    """
    weights = None if stayed is None else 1.0 / stayed
    probabilities = entry_probabilities(count_entries(matches, len(entries), weights), t)
    return _decide(uids, matches, entries, probabilities, t=t, seed=seed, reason="balance_draw", caps=caps or {})


def _decide(
    uids: Sequence[str],
    matches: pa.Array,
    entries: Sequence[str],
    probabilities: Floats,
    *,
    t: float,
    seed: int,
    reason: str,
    caps: dict[tuple[str, str], float] | None = None,
) -> Balanced:
    ids, rows = _flat(matches)
    names = [entries[number] for number in ids]
    owners = [uids[row] for row in rows]
    p = probabilities[ids]
    limit = np.array([(caps or {}).get(key, 1.0) for key in zip(owners, names, strict=True)], dtype=np.float64)
    capped = p > limit
    p = np.minimum(p, limit)
    u = draws(seed=seed, step=STEP, uids=owners, entries=names)
    fired = u < p
    deciding = np.zeros(len(ids), dtype=bool)
    order = np.lexsort((u, ~fired, rows))
    first = order[np.concatenate([[True], np.diff(rows[order]) > 0])] if len(order) else order
    deciding[first] = fired[first]
    stays = np.zeros(len(matches), dtype=bool)
    stays[rows[fired]] = True
    table = pa.table(
        {
            "uid": pa.array(owners, pa.string()),
            "entry": pa.array(names, pa.string()),
            "p": p,
            "draw": u,
            "capped": capped,
            "deciding": deciding,
        }
    )
    decisions = Decisions.of(reason=np.where(stays, "", reason), value=_stay(rows, p, len(matches)))
    return Balanced(decisions=decisions, draws=table, probabilities=probabilities, t=t)


def _stay(rows: npt.NDArray[np.int64], p: Floats, n: int) -> Floats:
    none = np.ones(n)
    np.multiply.at(none, rows, 1.0 - p)
    return 1.0 - none


def _flat(matches: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Entry ids and the row of each, over all matches."""
    ids = matches.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = matches.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return ids, np.repeat(np.arange(len(matches)), lengths)
