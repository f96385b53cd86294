"""Preselection before the download and balancing at the end, by the same draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.balance.inputs import BalanceFacts, matched_entries, pick_of_all, sum_tables
from evenly.curation.balance.keep_probability import UNIT
from evenly.curation.balance.parts import Balancing, PicksByUrl
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import BalanceRule
from evenly.storage.ledger import StepOutput
from evenly.storage.tables.exchange import PartitionExchange, exchange_folder, remove_exchange
from evenly.tasks.moves import Each, EachLedger, Moves
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults

AHEAD = 3
"""Halvings of the range of thresholds that one pass over several partitions tries."""


@dataclass(frozen=True, kw_only=True)
class FactsOfAll:
    """What is known of all pairs; `folder` is where the texts of pictures were picked, over several partitions."""

    balancing: Balancing
    balance: BalanceFacts
    folder: Path | None

    def release(self) -> None:
        """Remove what was exchanged."""
        _remove(self.folder)


def balance_facts(step: str, run: Run, upstream: Records, rule: BalanceRule, each: Each) -> FactsOfAll:
    """Count the matches of all pairs, and choose thresholds by them."""
    ledgers = EachLedger(each=each)
    folder = exchange_folder(run.exchange, "urls") if run.bits and rule.texts == "one_per_image" else None
    try:
        picks = (
            pick_of_all(run.ledger, upstream, rule, seed=run.seed)
            if folder is None
            else PicksByUrl.of(PartitionExchange(folder=folder, bits=run.bits), ledgers, upstream, seed=run.seed)
        )
        balancing = Balancing(step=step, upstream=upstream, rule=rule, seed=run.seed, picks=picks)
        facts = balancing.facts(ledgers, run.ledger, ahead=AHEAD if run.bits else 1)
    except BaseException:
        _remove(folder)
        raise
    return FactsOfAll(balancing=balancing, balance=facts, folder=folder)


def balance_pairs(run: Run, _upstream: Records, _rule: BalanceRule, of_all: FactsOfAll) -> StepOutput:
    """Thin out the head: preselect drops what the balance would drop anyway, with headroom for losses on the way.

    Decisions hold P(stay); `BalanceInputs.pair_tables` says which tables come with them, and `sum_tables` which with
    the whole.
    """
    inputs = of_all.balancing.inputs(of_all.balance, run.ledger)
    balanced = inputs.decide()
    return StepOutput(
        decisions=balanced.decisions.to_table(inputs.pairs.uids),
        tables=inputs.pair_tables(balanced),
        partial=inputs.sums(balanced).to_table(of_all.balance.languages),
    )


def balance_sums(
    run: Run, upstream: Records, rule: BalanceRule, of_all: FactsOfAll, partials: Sequence[pa.Table]
) -> StepOutput:
    """The tables of counts and thresholds, and how many pairs were expected to stay."""
    facts = of_all.balance
    concepts = matched_entries(run.ledger, upstream)
    sums = BalanceSums.summed(partials, facts.languages, len(concepts))
    notes = _notes(rule, facts) | {"expected": round(float((sums.units.astype(np.float64) * UNIT).sum()), 3)}
    return StepOutput(tables=sum_tables(rule, facts, concepts, sums), notes=notes)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        remove_exchange(folder)


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
        judge=balance_pairs,
        finish=balance_sums,
        release=FactsOfAll.release,
    )


PRESELECT = Step(
    name="preselect", rule=BalanceRule, stored=stored_balance, moves=_moves("preselect"), version=2, seeded=True
)
BALANCE = Step(
    name="balance", rule=BalanceRule, stored=_stored_without_headroom, moves=_moves("balance"), version=2, seeded=True
)
