"""Mix sources: how much of each is kept, by one draw per pair, so that a larger part holds every smaller one.

A pair's draw is a number in [0, 1) of (seed, step, uid). `weight` w keeps the pairs whose draw is below w, each with
probability w; `quota` n, of these, the n with the smallest draws. With `share`, each source is held to its share of the
largest mix that the sources allow. Mixing sources dilutes their robustness (Nguyen et al., Quality Not Quantity, 2022,
arXiv:2208.05516), so the parts are chosen here and every table keeps the source.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge

from evenly.bounds import Share, Wording, check_bounds
from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws
from evenly.curation.errors import RuleError
from evenly.curation.step import EachPart, Judged, S, StepTables

STEP = "mix_sources"
_ROUNDING = 1e-9
BINS = 1 << 16
"""Bins of draws, by which the draw of a rank is sought."""
SOURCES = pa.schema(
    [
        ("source", pa.string()),
        ("pairs", pa.int64()),
        ("weight", pa.float64()),
        ("quota", pa.int64()),
        ("share", pa.float64()),
        ("limit", pa.int64()),  # pairs that quota or share leave; null where neither is given
        ("threshold", pa.float64()),
        ("kept", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class SourceRule:
    """The amount of a source that is kept: weight in (0, 1], quota of at least 1 pair, share in (0, 1] of the mix."""

    weight: Share | None = None
    quota: Annotated[int, Ge(1), Wording(remedy="Correct the recipe, or leave it out.")] | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)

    @property
    def probability(self) -> float:
        """The bound of a pair's draw: the weight, or 1 where there is none."""
        return 1.0 if self.weight is None else self.weight


@dataclass(frozen=True, kw_only=True)
class MixRule:
    """The rule of each source that has one, by the source's name."""

    sources: Mapping[str, SourceRule]


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceCounts:
    """Pairs of a source, of all or of a part; counts of parts add up.

    open_to: of `bins` (BINS,) int64 the sum, how many pairs have a draw below the weight, by the draw's leading bits.
    """

    pairs: int
    bins: Ints

    @property
    def open_to(self) -> int:
        """Pairs whose draw is below the weight."""
        return int(self.bins.sum())

    def __add__(self, other: "SourceCounts") -> "SourceCounts":
        return SourceCounts(pairs=self.pairs + other.pairs, bins=self.bins + other.bins)


@dataclass(frozen=True, kw_only=True)
class SourceCut:
    """Where the kept pairs of a source end: at the draw `threshold`, and there before the uid `first_out`.

    limit: pairs that quota or share leave; by_share: whether it is the share that does. kept: how many are.
    """

    pairs: int
    limit: int | None
    by_share: bool
    kept: int
    open_to: int
    threshold: float
    first_out: str = ""


def count_sources(
    uids: pa.Array, sources: pa.Array, rules: Mapping[str, SourceRule], *, seed: int
) -> dict[str, SourceCounts]:
    """Count the pairs of each source that has a rule, by their draws."""
    counts = {}
    for name in sorted(rules):
        drawn = _draws(uids, np.flatnonzero(_equal(sources, name)), seed)
        below = drawn[drawn < rules[name].probability]
        counts[name] = SourceCounts(pairs=len(drawn), bins=np.bincount((below * BINS).astype(np.int64), minlength=BINS))
    return counts


def draws_in_bins(
    uids: pa.Array, sources: pa.Array, bins: Mapping[str, int], *, seed: int
) -> dict[str, list[tuple[float, str]]]:
    """The draws, each with its uid, of the pairs of some sources that fall in one bin of each."""
    rows = {}
    for name, number in bins.items():
        places = np.flatnonzero(_equal(sources, name))
        drawn = _draws(uids, places, seed)
        inside = (drawn * BINS).astype(np.int64) == number
        rows[name] = list(zip(drawn[inside].tolist(), uids.take(pa.array(places[inside])).to_pylist(), strict=True))
    return rows


def cut_sources(
    rules: Mapping[str, SourceRule],
    counts: Mapping[str, SourceCounts],
    draws_of: Callable[[Mapping[str, int]], Mapping[str, Sequence[tuple[float, str]]]],
) -> tuple[dict[str, SourceCut], str | None]:
    """Where the kept pairs of each source end, from the counts of all; and the source that bounds a mix of shares.

    draws_of: what `draws_in_bins` gives for all pairs. Raises RuleError where a source with a share has no pair.
    """
    shares, limiting = _shares(rules, {name: count.open_to for name, count in counts.items()})
    cuts, bins = {}, {}
    for name, count in counts.items():
        rule, limit = rules[name], shares.get(name, rules[name].quota)
        kept = count.open_to if limit is None else min(count.open_to, limit)
        if kept < count.open_to:
            bins[name] = int(np.searchsorted(np.cumsum(count.bins), kept, side="right"))
        cuts[name] = SourceCut(
            pairs=count.pairs,
            limit=limit,
            by_share=name in shares and limit != rule.quota,
            kept=kept,
            open_to=count.open_to,
            threshold=rule.probability,
        )
    for name, drawn in (draws_of(bins) if bins else {}).items():
        drawn_below = int(counts[name].bins[: bins[name]].sum())
        threshold, first_out = sorted(drawn)[cuts[name].kept - drawn_below]
        cuts[name] = replace(cuts[name], threshold=threshold, first_out=first_out)
    return cuts, limiting


def mix_by(
    uids: pa.Array, sources: pa.Array, rules: Mapping[str, SourceRule], cuts: Mapping[str, SourceCut], *, seed: int
) -> tuple[Decisions, pa.Array]:
    """The decision of each pair by where its source is cut, by its draw as value, and the upper bound of that (n,).

    Both are null where the pair's source has no rule.
    """
    reasons = np.full(len(uids), "", dtype=object)
    values, thresholds = (np.full(len(uids), np.nan) for _ in range(2))
    for name, cut in cuts.items():
        places = np.flatnonzero(_equal(sources, name))
        drawn = _draws(uids, places, seed)
        goes = drawn >= cut.threshold
        if cut.first_out:
            at_end = np.flatnonzero(drawn == cut.threshold)
            goes[at_end] = [uid >= cut.first_out for uid in uids.take(pa.array(places[at_end])).to_pylist()]
        reasons[places[goes]] = "share" if cut.by_share else "quota"
        reasons[places[drawn >= rules[name].probability]] = "weight"
        values[places], thresholds[places] = drawn, cut.threshold
    decisions = Decisions.of(reason=pa.array(reasons, pa.string()), value=pa.array(values, from_pandas=True))
    return decisions, pa.array(thresholds, from_pandas=True)


def source_table(rules: Mapping[str, SourceRule], cuts: Mapping[str, SourceCut]) -> pa.Table:
    """The table SOURCES."""
    rows = [
        (
            name,
            cut.pairs,
            rules[name].probability,
            rules[name].quota,
            rules[name].share,
            cut.limit,
            cut.threshold,
            cut.kept,
        )
        for name, cut in cuts.items()
    ]
    return pa.Table.from_pylist([dict(zip(SOURCES.names, row, strict=True)) for row in rows], SOURCES)


def stored_cuts(rules: Mapping[str, SourceRule], tables: StepTables[S], record: S) -> dict[str, SourceCut]:
    """The cuts that a step stored, without `first_out`: of a pair whose draw is the threshold they do not tell."""
    return {
        row["source"]: SourceCut(
            pairs=row["pairs"],
            limit=row["limit"],
            by_share=rules[row["source"]].share is not None and row["limit"] != rules[row["source"]].quota,
            kept=row["kept"],
            open_to=row["pairs"],
            threshold=row["threshold"],
        )
        for row in tables.table(record, "sources").to_pylist()
    }


def _shares(rules: Mapping[str, SourceRule], open_to: Mapping[str, int]) -> tuple[dict[str, int], str | None]:
    """The number of pairs that each source with a share may give, and the source that allows no more."""
    shares = {name: rule.share for name, rule in rules.items() if rule.share is not None}
    if not shares:
        return {}, None
    most = {name: min(open_to[name], rules[name].quota or open_to[name]) for name in shares}
    empty = next((name for name, n in sorted(most.items()) if not n), None)
    if empty is not None:
        raise RuleError(f"`share` must be of a source with pairs; `{empty}` has none left. Leave it out, or mend it.")
    sizes = {name: most[name] / share for name, share in shares.items()}
    limiting = min(sorted(sizes), key=lambda name: sizes[name])
    size = sizes[limiting]
    return {name: math.floor(size * share + _ROUNDING) for name, share in shares.items()}, limiting


def _draws(uids: pa.Array, rows: Ints, seed: int) -> Floats:
    names = uids.take(pa.array(rows)).to_pylist()
    return draws(seed=seed, step=STEP, uids=names, entries=[""] * len(names))


def _equal(sources: pa.Array, name: str) -> Flags:
    return np.asarray(pc.fill_null(pc.equal(sources, name), False).to_numpy(zero_copy_only=False), dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class SourceMixing:
    """The step that mixes sources, after the steps `upstream`."""

    upstream: Sequence[Any]
    rules: Mapping[str, SourceRule]
    seed: int

    def cuts(self, over_parts: EachPart) -> tuple[dict[str, SourceCut], str | None]:
        """Count all pairs by source and draw, and cut each source as `cut_sources` does."""
        counts: dict[str, SourceCounts] = {}
        for part in over_parts("counting sources", self._counted):
            counts = {name: counts[name] + part[name] if counts else part[name] for name in part}

        def draws_of(bins: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            parts = over_parts("finding thresholds", partial(self._drawn, bins))
            return {name: [drawn for part in parts for drawn in part[name]] for name in bins}

        return cut_sources(self.rules, counts, draws_of)

    def decided(self, cuts: Mapping[str, SourceCut], ledger: StepTables[Any]) -> Judged:
        """The pairs of a part by the cuts: `mix_by`."""
        uids, sources = self._pairs(ledger)
        decisions, thresholds = mix_by(uids, sources, self.rules, cuts, seed=self.seed)
        return Judged(uids=uids, decisions=decisions, columns={"mix_threshold": thresholds})

    def _pairs(self, ledger: StepTables[Any]) -> tuple[pa.Array, pa.Array]:
        pairs = ledger.alive(self.upstream, ["source"])
        return pairs["uid"].combine_chunks(), pairs["source"].combine_chunks()

    def _counted(self, ledger: StepTables[Any]) -> dict[str, SourceCounts]:
        return count_sources(*self._pairs(ledger), self.rules, seed=self.seed)

    def _drawn(self, bins: Mapping[str, int], ledger: StepTables[Any]) -> dict[str, list[tuple[float, str]]]:
        return draws_in_bins(*self._pairs(ledger), bins, seed=self.seed)
