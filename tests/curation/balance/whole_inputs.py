"""The inputs of a balancing step out of all pairs at once, which a rebuild reads in parts."""

from dataclasses import dataclass
from typing import Any

from evenly.curation.balance.inputs import BalanceFacts, PairsToBalance, pairs_to_balance, stored_rule, sum_tables
from evenly.curation.balance.parts import Balancing
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import choose_thresholds
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
