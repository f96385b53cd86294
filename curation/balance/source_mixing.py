"""Mix sources: how much of each is kept, by one draw per pair, so that a larger part holds every smaller one.

A pair's draw is a number in [0, 1) of (seed, step, uid). `weight` w keeps the pairs whose draw is below w, each with
probability w; `quota` n, of these, the n with the smallest draws. With `share`, each source is held to its share of the
largest mix that the sources allow. Mixing sources dilutes their robustness (Nguyen et al., Quality Not Quantity, 2022,
arXiv:2208.05516), so the parts are chosen here and every table keeps the source.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge

from evenly.bounds import Share, Wording, check_bounds
from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws
from evenly.curation.errors import RuleError

STEP = "mix_sources"
_ROUNDING = 1e-9
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
    """How much of a source is kept: weight in (0, 1], quota of at least 1 pair, share in (0, 1] of the mix."""

    weight: Share | None = None
    quota: Annotated[int, Ge(1), Wording(remedy="Correct the recipe, or leave it out.")] | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)

    @property
    def probability(self) -> float:
        """What the draw of a pair must be below: the weight, or 1 where there is none."""
        return 1.0 if self.weight is None else self.weight


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """`decisions` hold the draw as their value, `thresholds` (n,) float64 what it must be below.

    Both are null where the pair's source has no rule. `sources` is a table SOURCES; `limiting` names the source that
    bounds a mix of shares, else None.
    """

    decisions: Decisions
    thresholds: pa.Array
    sources: pa.Table
    limiting: str | None


def mix_sources(uids: pa.Array, sources: pa.Array, rules: Mapping[str, SourceRule], *, seed: int) -> Mixed:
    """Decide each pair of `uids` (n,), sorted, which comes from `sources` (n,); reasons are weight, quota and share.

    A pair is kept where its draw is below the threshold of its source; of equal draws, the smaller uid comes first. A
    source without a rule is kept whole. Raises RuleError where a source with a share has no pair.
    """
    rows = {name: np.flatnonzero(_equal(sources, name)) for name in sorted(rules)}
    drawn = {name: _draws(uids, places, seed) for name, places in rows.items()}
    open_to = {name: int((drawn[name] < rules[name].probability).sum()) for name in rows}
    shares, limiting = _shares(rules, open_to)
    reasons = np.full(len(uids), "", dtype=object)
    values, thresholds = (np.full(len(uids), np.nan) for _ in range(2))
    table = []
    for name, places in rows.items():
        rule, limit = rules[name], shares.get(name, rules[name].quota)
        order = np.argsort(drawn[name], kind="stable")  # rows are in uid order: of equal draws the smaller uid is first
        kept = min(open_to[name], open_to[name] if limit is None else limit)
        threshold = float(drawn[name][order[kept]]) if kept < open_to[name] else rule.probability
        reasons[places[order[kept:]]] = "share" if name in shares and limit != rule.quota else "quota"
        reasons[places[order[open_to[name] :]]] = "weight"
        values[places], thresholds[places] = drawn[name], threshold
        table.append((name, len(places), rule.probability, rule.quota, rule.share, limit, threshold, kept))
    return Mixed(
        decisions=Decisions.of(reason=pa.array(reasons, pa.string()), value=pa.array(values, from_pandas=True)),
        thresholds=pa.array(thresholds, from_pandas=True),
        sources=pa.Table.from_pylist([dict(zip(SOURCES.names, row, strict=True)) for row in table], SOURCES),
        limiting=limiting,
    )


def _shares(rules: Mapping[str, SourceRule], open_to: Mapping[str, int]) -> tuple[dict[str, int], str | None]:
    """How many pairs each source with a share may give, and which source allows no more."""
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
