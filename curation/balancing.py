"""Balance head and tail of the concept distribution (MetaCLIP v1, arXiv:2309.16671), by draws that can be replayed.

An entry e that c_e pairs match has p_e = min(1, t / c_e). A pair stays if any entry that it matches draws u < p_e, so
P(stay) = 1 - prod(1 - p_e): one draw per pair and entry, a hash of (seed, "balance", uid, entry text).

Two phases draw the same numbers. The preselection before the download has a higher t, to leave room for losses; the
balance comes last. Its counts weigh each survivor by 1 / P(stay) of the preselection, so they estimate those of the
pool, and a probability may not rise above the preselection's: it is capped there, and the cap is recorded. So what the
balance keeps by an entry the preselection kept by it too. An entry that only a new caption matches has no cap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.decisions import Decisions
from curation.draws import draws
from curation.errors import ColumnsError, RuleError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STEP = "balance"
_WEIGHT_UNIT = 2.0**-20


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """What a balancing decided.

    decisions: value is P(stay), over both phases where there were two. draws: one row per pair and matched entry: uid,
    entry, p, draw, capped, deciding (the entry with the smallest draw among those that fired). probabilities: p_e per
    entry id, before caps. t: the threshold in force. expected: how many of these pairs stay, in the mean.
    """

    decisions: Decisions
    draws: pa.Table
    probabilities: Floats
    t: float
    expected: float


def count_entries(matches: pa.Array, n_entries: int, weights: Floats | None = None) -> Floats:
    """Return the pairs per entry (n_entries,), each counted by its weight, 1 without weights.

    Weights are rounded to 2**-20: sums are then exact below 8e9, so that counts of shards add up to those of the whole
    in any order.
    """
    ids, rows = _flat(matches)
    if weights is None:
        return np.bincount(ids, minlength=n_entries).astype(np.float64)
    exact = np.rint(weights / _WEIGHT_UNIT) * _WEIGHT_UNIT
    return np.bincount(ids, weights=exact[rows], minlength=n_entries).astype(np.float64)


def entry_probabilities(counts: Floats, t: float) -> Floats:
    """Return p_e = min(1, t / c_e), in (0, 1], per entry; an entry without pairs has 1."""
    if not t > 0:
        raise RuleError(f"`t` must be above 0; got {t}. Choose the count at which entries begin to be thinned.")
    return np.divide(t, counts, out=np.ones(len(counts)), where=counts >= t)


def stay_probabilities(matches: pa.Array, probabilities: Floats) -> Floats:
    """Return P(stay) = 1 - prod(1 - p_e) per pair; 0 for a pair without entries."""
    ids, rows = _flat(matches)
    return _any_of(rows, probabilities[ids], len(matches))


def tail_share(counts: Floats, t: float) -> float:
    """Return the share of matches that entries with c_e < t hold (MetaCLIP 2: t_to_p); 0 where there are no matches."""
    total = counts.sum()
    return float(counts[counts < t].sum() / total) if total else 0.0


def threshold_for_tail(counts: Floats, share: float) -> float:
    """Return the count at which the sorted cumulative share is nearest to `share` (MetaCLIP 2: p_to_t).

    1 without matches. The way back loses: t_to_p is strict, so p_to_t(t_to_p(t)) is the largest count below t.
    """
    ordered = np.sort(counts[counts > 0])
    if not len(ordered):
        return 1.0
    return float(ordered[np.abs(np.cumsum(ordered) / ordered.sum() - share).argmin()])


def threshold_for_target(
    matches: pa.Array,
    counts: Floats,
    target: float,
    *,
    weights: Floats | None = None,
    limits: Floats | None = None,
) -> float:
    """Return the t at which `target` of these pairs are expected to stay, by bisection to a relative 1e-9.

    weights: 1 / P(stay) of the preselection per pair. limits: see `match_limits`. Above what all pairs with entries
    give, the largest count, which keeps all that caps allow.
    """
    if not target > 0:
        raise RuleError(f"`target` must be above 0 pairs; got {target}. Correct the recipe.")
    ids, rows = _flat(matches)
    caps = np.full(len(ids), np.inf) if limits is None else limits
    before = np.ones(len(matches)) if weights is None else 1.0 / weights
    known = np.ones(len(ids), dtype=bool) if limits is None else np.isfinite(limits)

    def expected(t: float) -> float:
        p = np.minimum(entry_probabilities(counts, t)[ids], caps)
        return float((_stay(rows, p, before, known) / before).sum())

    low, high = 0.0, float(max(counts.max(initial=1.0), 1.0))
    if expected(high) <= target:
        return high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < target else (low, middle)
    return high


def preselect(
    uids: Sequence[str], matches: pa.Array, entries: Sequence[str], *, t: float, headroom: float, seed: int
) -> Balanced:
    """Decide what is worth downloading, as preselect_draw: the balance of the whole pool at `headroom` times `t`."""
    if not headroom >= 1:
        raise RuleError(f"`headroom` must be at least 1; got {headroom}. Write 3 to allow for losing two of three.")
    probabilities = entry_probabilities(count_entries(matches, len(entries)), t * headroom)
    return _decide(uids, matches, entries, probabilities, t=t, seed=seed, reason="preselect_draw")


def balance(
    uids: Sequence[str],
    matches: pa.Array,
    entries: Sequence[str],
    *,
    t: float,
    seed: int,
    stayed: Floats | None = None,
    caps: Mapping[tuple[str, str], float] | None = None,
    counts: Floats | None = None,
) -> Balanced:
    """Decide what stays, as balance_draw.

    stayed: P(stay) of each pair in the preselection that it survived. caps: p_e there, by (uid, entry), for each entry
    that the pair matched then. counts: per entry over the whole, where these pairs are a part; else they are counted.
    """
    if stayed is not None and not (stayed > 0).all():
        raise ColumnsError(
            "`stayed` must be above 0 for each survivor; got 0. Hand in the preselection of these pairs."
        )
    if counts is None:
        counts = count_entries(matches, len(entries), None if stayed is None else 1.0 / stayed)
    probabilities = entry_probabilities(counts, t)
    limits = None if stayed is None else match_limits(uids, matches, entries, caps or {})
    return _decide(
        uids, matches, entries, probabilities, t=t, seed=seed, reason="balance_draw", stayed=stayed, limits=limits
    )


def match_limits(
    uids: Sequence[str], matches: pa.Array, entries: Sequence[str], caps: Mapping[tuple[str, str], float]
) -> Floats:
    """Return the cap (m,) of each of the m matches, row by row; infinite for an entry that the pair did not match."""
    ids, rows = _flat(matches)
    keys = ((uids[row], entries[number]) for row, number in zip(rows, ids, strict=True))
    return np.fromiter((caps.get(key, np.inf) for key in keys), dtype=np.float64, count=len(ids))


def _decide(
    uids: Sequence[str],
    matches: pa.Array,
    entries: Sequence[str],
    probabilities: Floats,
    *,
    t: float,
    seed: int,
    reason: str,
    stayed: Floats | None = None,
    limits: Floats | None = None,
) -> Balanced:
    ids, rows = _flat(matches)
    n = len(matches)
    if limits is None:
        limits = np.full(len(ids), np.inf)
    before, known = (np.ones(n), np.ones(len(ids), dtype=bool)) if stayed is None else (stayed, np.isfinite(limits))
    p = np.minimum(probabilities[ids], limits)
    names = {"uid": [uids[row] for row in rows], "entry": [entries[number] for number in ids]}
    u = draws(seed=seed, step=STEP, uids=names["uid"], entries=names["entry"])
    fired = u < p
    columns = {"p": p, "draw": u, "capped": probabilities[ids] > limits, "deciding": _deciding(rows, u, fired)}
    schema = pa.schema([("uid", pa.string()), ("entry", pa.string()), ("p", pa.float64()), ("draw", pa.float64())])
    schema = schema.append(pa.field("capped", pa.bool_())).append(pa.field("deciding", pa.bool_()))
    stays, named = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    stays[rows[fired]], named[rows] = True, True
    value = _stay(rows, p, before, known)
    reasons = np.where(stays, "", np.where(named, reason, "no_concept"))
    return Balanced(
        decisions=Decisions.of(reason=reasons.astype(object), value=value),
        draws=pa.table(names | columns, schema=schema),
        probabilities=probabilities,
        t=t,
        expected=float((value / before).sum()),
    )


def _stay(rows: Ints, p: Floats, before: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Return P(stay) per pair over both phases.

    A pair survives the preselection with probability `before`. By the entries that it `known` then it stays with
    P_known <= before, since their draws are the same; by the others it stays independently:
    before * (1 - (1 - P_known / before) * (1 - P_new)).
    """
    n = len(before)
    by_known = np.minimum(_any_of(rows[known], p[known], n), before)
    by_new = _any_of(rows[~known], p[~known], n)
    return before - (before - by_known) * (1.0 - by_new)


def _any_of(rows: Ints, p: Floats, n: int) -> Floats:
    """Return 1 - prod(1 - p) over the matches of each of `n` rows."""
    none = np.ones(n)
    np.multiply.at(none, rows, 1.0 - p)
    return 1.0 - none


def _deciding(rows: Ints, u: Floats, fired: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark the match with the smallest draw among those that fired, one per pair that stays."""
    deciding = np.zeros(len(rows), dtype=bool)
    at = np.flatnonzero(fired)
    at = at[np.lexsort((u[at], rows[at]))]
    deciding[at[np.diff(rows[at], prepend=-1) > 0]] = True
    return deciding


def _flat(matches: pa.Array) -> tuple[Ints, Ints]:
    """Return the entry id and the row of each match."""
    ids = matches.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = matches.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return ids, np.repeat(np.arange(len(matches)), lengths)
