"""Preselection before the download and balancing at the end, by the same draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.inputs import BalanceFacts, BalanceInputs, pairs_to_balance, pick_of_all, sum_tables
from evenly.curation.balance.keep_probability import UNIT, expected_units
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import BalanceRule, entry_probabilities, thresholds_by
from evenly.storage.ledger import StepOutput
from evenly.tasks.moves import Each, Moves
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.rebuild.duplicates.shared_urls import SharedUrls, exchange_urls
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults

AHEAD = 3
"""Halvings of the range of thresholds that one pass over several partitions tries."""


@dataclass(frozen=True, kw_only=True)
class FactsOfAll:
    """What is known of all pairs; `urls` in place of `balance.picks`, where there are several partitions."""

    balance: BalanceFacts
    urls: SharedUrls | None

    def release(self) -> None:
        """Remove what was exchanged."""
        if self.urls is not None:
            self.urls.release()


def balance_facts(step: str, run: Run, upstream: Records, rule: BalanceRule, each: Each) -> FactsOfAll:
    """Count the matches of all pairs, and choose thresholds by them."""
    urls = exchange_urls(run, upstream, each) if run.bits and rule.texts == "one_per_image" else None
    try:
        picks = pick_of_all(run.ledger, upstream, rule, seed=run.seed) if urls is None else urls
        return FactsOfAll(balance=_summed_facts(step, run, upstream, rule, (each, picks)), urls=urls)
    except BaseException:
        if urls is not None:
            urls.release()
        raise


def _summed_facts(
    step: str, run: Run, upstream: Records, rule: BalanceRule, by: tuple[Each, pa.Table | SharedUrls | None]
) -> BalanceFacts:
    each, picks = by
    parts = each.partitions(f"counting for {step}", partial(_counted, step, upstream, rule, picks))
    languages = tuple(sorted({name for names, _ in parts for name in names})) or ("",)
    counts = np.zeros((len(languages), len(_concepts(run, upstream))))
    for names, cells in parts:
        rows = np.array([languages.index(name) for name in names], np.int64)
        counts[rows[cells["language"].to_numpy()], cells["entry"].to_numpy()] += cells["count"].to_numpy()

    table = None if isinstance(picks, SharedUrls) else picks
    untried = BalanceFacts(languages=languages, counts=counts, thresholds=np.empty(0), picks=table)

    def expected(tried: Sequence[Floats]) -> list[int]:
        facts = [replace(untried, thresholds=thresholds) for thresholds in tried]
        units = each.partitions(f"thresholds of {step}", partial(_expected, step, upstream, (rule, picks), facts))
        return [int(total) for total in np.sum(units, axis=0)]

    thresholds = thresholds_by(rule, languages, counts, expected, ahead=AHEAD if run.bits else 1)
    return replace(untried, thresholds=thresholds)


def balance_pairs(step: str, run: Run, upstream: Records, rule: BalanceRule, of_all: FactsOfAll) -> StepOutput:
    """Thin out the head: preselect drops what the balance would drop anyway, with headroom for losses on the way.

    Decisions hold P(stay); `BalanceInputs.pair_tables` says which tables come with them, and `sum_tables` which with
    the whole.
    """
    facts, picks = of_all.balance, _picks(run, of_all.urls or of_all.balance.picks)
    part = pairs_to_balance(run.ledger, upstream, step, rule, seed=run.seed, languages=facts.languages, picks=picks)
    inputs = BalanceInputs.of(step, rule, part, facts, seed=run.seed)
    balanced = inputs.decide()
    return StepOutput(
        decisions=balanced.decisions.to_table(inputs.pairs.uids),
        tables=inputs.pair_tables(balanced),
        partial=inputs.sums(balanced).to_table(facts.languages),
    )


def balance_sums(
    run: Run, upstream: Records, rule: BalanceRule, of_all: FactsOfAll, partials: Sequence[pa.Table]
) -> StepOutput:
    """The tables of counts and thresholds, and how many pairs were expected to stay."""
    facts = of_all.balance
    concepts = _concepts(run, upstream)
    sums = BalanceSums.summed(partials, facts.languages, len(concepts))
    notes = _notes(rule, facts) | {"expected": round(float((sums.units.astype(np.float64) * UNIT).sum()), 3)}
    return StepOutput(tables=sum_tables(rule, facts, concepts, sums), notes=notes)


def _counted(
    step: str, upstream: Records, rule: BalanceRule, picks: pa.Table | SharedUrls | None, run: Run
) -> tuple[tuple[str, ...], pa.Table]:
    """The languages of a partition, and its counts above 0: language by its number, entry, count."""
    part = pairs_to_balance(run.ledger, upstream, step, rule, seed=run.seed, picks=_picks(run, picks))
    counts = part.counts
    languages, entries = np.nonzero(counts)
    names = part.pairs.languages if len(part.pairs) or rule.language is None else ()
    return names, pa.table({"language": languages, "entry": entries, "count": counts[languages, entries]})


def _expected(
    step: str,
    upstream: Records,
    picked_by: tuple[BalanceRule, pa.Table | SharedUrls | None],
    facts: Sequence[BalanceFacts],
    run: Run,
) -> Ints:
    """How many pairs of a partition are expected to stay by each of several thresholds, in units of 2**-30."""
    rule, languages, picks = picked_by[0], facts[0].languages, _picks(run, picked_by[1])
    part = pairs_to_balance(run.ledger, upstream, step, rule, seed=run.seed, languages=languages, picks=picks)
    units = [
        expected_units(part.pairs, entry_probabilities(tried.counts, tried.thresholds), part.earlier).sum()
        for tried in facts
    ]
    return np.array(units, np.int64)


def _picks(run: Run, picks: pa.Table | SharedUrls | None) -> pa.Table | None:
    """The table PICKS of the pairs of a run's partition, or of more; None where each text is judged."""
    return picks.picks(run) if isinstance(picks, SharedUrls) else picks


def _concepts(run: Run, upstream: Records) -> pa.Array:
    matched = record_named(upstream, "match_concepts")
    return run.ledger.table(matched, "concepts", ["entry"])["entry"].combine_chunks()


def _notes(rule: BalanceRule, facts: BalanceFacts) -> dict[str, Any]:
    """The threshold that the others follow from, where there is one; the table has all."""
    if rule.language is None:
        return {"t": float(facts.thresholds[0])}
    if rule.tail_share is None:
        return {"t": float(facts.thresholds[facts.languages.index(rule.reference)]), "language": rule.reference}
    return {"languages": len(facts.languages)}


def stored_balance(rule: BalanceRule) -> dict[str, Any]:
    """The rule as it is stored: thresholds that are given, and a `reference` where there are languages."""
    plain = without_defaults("t", "tail_share", "target", "language")(rule)
    return {name: value for name, value in plain.items() if name != "reference" or rule.language is not None}


def _stored_without_headroom(rule: BalanceRule) -> dict[str, Any]:
    return {name: value for name, value in stored_balance(rule).items() if name != "headroom"}


def _moves(step: str) -> Moves[BalanceRule]:
    return Moves(
        resolve=partial(balance_facts, step),
        judge=partial(balance_pairs, step),
        finish=balance_sums,
        release=FactsOfAll.release,
    )


PRESELECT = Step(
    name="preselect", rule=BalanceRule, stored=stored_balance, moves=_moves("preselect"), version=2, seeded=True
)
BALANCE = Step(
    name="balance", rule=BalanceRule, stored=_stored_without_headroom, moves=_moves("balance"), version=2, seeded=True
)
