"""The inputs of a balancing step out of all pairs at once, which a rebuild reads in parts."""

from evenly.curation.balance.inputs import BalanceFacts, BalanceInputs, pairs_to_balance, stored_rule, sum_tables
from evenly.curation.balance.thresholds import choose_thresholds


def read_inputs(ledger, upstream, step, rule, *, seed):
    """The inputs of `step`, preselect or balance, after the steps `upstream`."""
    chosen = stored_rule(rule)
    part = pairs_to_balance(ledger, upstream, step, chosen, seed=seed)
    counts = part.counts
    thresholds = choose_thresholds(chosen, part.pairs, counts, part.earlier)
    facts = BalanceFacts(languages=part.pairs.languages, counts=counts, thresholds=thresholds)
    return BalanceInputs.of(step, chosen, part, facts, seed=seed)


def all_tables(inputs, balanced):
    """What a step leaves beside its verdicts, where its pairs are all."""
    facts = BalanceFacts(languages=inputs.pairs.languages, counts=inputs.counts, thresholds=inputs.thresholds)
    sums = inputs.sums(balanced)
    return inputs.pair_tables(balanced) | sum_tables(inputs.rule, facts, inputs.pairs.concepts, sums)
