"""Steps that balance or mix, of all pairs at once, which a rebuild reads in parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evenly.curation.balance.parts import (
    BalanceFacts,
    Balancing,
    PairsToBalance,
    pairs_to_balance,
    stored_rule,
    sum_tables,
)
from evenly.curation.balance.source_mixing import (
    SourceRule,
    count_sources,
    cut_sources,
    draws_in_bins,
    mix_by,
    source_table,
)
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import choose_thresholds
from evenly.curation.decisions import Decisions
from evenly.curation.step import Judged


@dataclass(frozen=True, kw_only=True)
class WholeInputs:
    """All pairs, what is known of them, and the step that judges them."""

    ledger: Any
    balancing: Balancing
    part: PairsToBalance
    facts: BalanceFacts

    def judged(self) -> Judged:
        return self.balancing.judged(self.facts, self.ledger)

    def tables(self, judged: Judged) -> dict[str, Any]:
        """What the step leaves beside its verdicts."""
        concepts = self.part.pairs.concepts
        sums = BalanceSums.summed([judged.partial], self.facts.languages, len(concepts))
        return dict(judged.tables) | sum_tables(self.balancing.rule, self.facts, concepts, sums)


def read_inputs(ledger, upstream, step, rule, *, seed):
    """The inputs of `step`, preselect or balance, after the steps `upstream`."""
    chosen = stored_rule(rule)
    part = pairs_to_balance(ledger, upstream, step, chosen, seed=seed)
    thresholds = choose_thresholds(chosen, part.pairs, part.counts, part.earlier)
    facts = BalanceFacts(languages=part.pairs.languages, counts=part.counts, thresholds=thresholds)
    balancing = Balancing(step=step, upstream=upstream, rule=chosen, seed=seed, picks=None)
    return WholeInputs(ledger=ledger, balancing=balancing, part=part, facts=facts)


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Decisions with the draw as their value, and its upper bounds: `thresholds` (n,) float64.

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
    counts = count_sources(uids, sources, rules, seed=seed)
    cuts, limiting = cut_sources(rules, counts, lambda bins: draws_in_bins(uids, sources, bins, seed=seed))
    decisions, thresholds = mix_by(uids, sources, rules, cuts, seed=seed)
    return Mixed(decisions=decisions, thresholds=thresholds, sources=source_table(rules, cuts), limiting=limiting)
