"""Preselection before the download and balancing at the end, by the same draws."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from evenly.curation.balance import judgement
from evenly.curation.balance.data_card import SHOWN, WARN_SHARE, balance_notes
from evenly.curation.balance.parts import BalanceFacts, Balancing, matched_entries, sum_tables
from evenly.curation.balance.picked_texts import PicksByUrl
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import BalanceRule
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import stored_fields
from evenly.storage.tables.exchange import RowExchange, new_exchange
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS
from evenly.tasks.run import Each, EachLedger, Records, Run
from evenly.tasks.step import Exchanged, Step

WARN_PAIRS = 100
"""Where fewer pairs are drawn for, each is a large share: there is no such warning."""
AHEAD = 3
"""Halvings of the range of thresholds that one pass over several partitions tries."""


@dataclass(frozen=True, kw_only=True)
class FactsOfAll(Exchanged):
    """Facts of all pairs; `exchange`: by which the texts of pictures were picked."""

    balancing: Balancing
    balance: BalanceFacts
    exchange: RowExchange | None


def balance_facts(step: str, run: Run, upstream: Records, rule: BalanceRule, engine: Each) -> FactsOfAll:
    """Count the matches of all pairs, and choose thresholds by them."""
    ledgers = EachLedger(engine=engine)
    with ExitStack() as undone:
        exchange = picks = None
        if rule.texts == "one_per_image":
            exchange = undone.enter_context(new_exchange(run.exchange, "urls", run.bits))
            picks = PicksByUrl.of(exchange, ledgers, upstream, seed=run.seed)
        balancing = Balancing(step=step, upstream=upstream, rule=rule, seed=run.seed, picks=picks)
        facts = balancing.facts(ledgers, run.ledger, ahead=AHEAD if run.bits else 1)
        undone.pop_all()
    return FactsOfAll(balancing=balancing, balance=facts, exchange=exchange)


def balance_pairs(run: Run, _upstream: Records, _rule: BalanceRule, of_all: FactsOfAll) -> StepOutput:
    """Thin out the head: preselect drops what the balance would drop anyway, with headroom for losses on the way.

    Decisions hold P(stay); `PairsToBalance.tables` says which tables come with them, and `sum_tables` which with the
    whole.
    """
    judged = of_all.balancing.judged(of_all.balance, run.ledger)
    decisions = judged.decisions.to_table(judged.uids)
    return StepOutput(decisions=decisions, tables=judged.tables, partial=judged.partial)


def balance_sums(
    run: Run, upstream: Records, rule: BalanceRule, of_all: FactsOfAll, partials: Sequence[pa.Table]
) -> StepOutput:
    """The tables of counts and thresholds, and how many pairs were expected to stay."""
    facts = of_all.balance
    concepts = matched_entries(run.ledger, upstream)
    sums = BalanceSums.summed(partials, facts.languages, len(concepts))
    notes = balance_notes(rule, facts, concepts, sums)
    return StepOutput(tables=sum_tables(rule, facts, concepts, sums), notes=notes)


def say_concepts(run: Run, records: Records) -> None:
    """Tell which list captions were matched with, its largest concepts, and which concepts decide much of a balancing.

    A line each. Without a list, or without a balancing, there is nothing to tell of it.
    """
    of_regions = any(record.rule.get("texts") == "regions" for record in records)
    for record in records:
        for line in concept_lines(record, of_regions=of_regions):
            run.progress.say(line)


def concept_lines(record: StepRecord, *, of_regions: bool = False) -> list[str]:
    """Lines on a step's concepts that a person should know; none of other steps, nor counts that regions replace."""
    notes = record.notes
    if record.name == COUNT_CONCEPTS.name and "largest" in notes:
        largest = ", ".join(f"{concept} {count:,}" for concept, count in notes["largest"])
        counted = "" if of_regions else f"; largest: {largest}"
        return [f"{'concepts':<24} list {notes['list'][:16]}, {notes['entries']:,} entries{counted}"]
    if record.name != BALANCE.name or not notes.get("drawn"):
        return []
    drawn, lines = notes["drawn"], []
    if tail := notes.get("tail"):
        moved = f"{tail['pool']:.1%} of all matches before any draw, {tail['kept']:.1%} of those kept"
        lines.append(f"{'tail':<24} {tail['concepts']:,} concepts that are not thinned out: {moved}")
    if notes["decide_many"] and drawn >= WARN_PAIRS:
        concepts = ", ".join(f"{concept} {count / drawn:.1%}" for concept, count in notes["decide_many"][:SHOWN])
        further = f" and {len(notes['decide_many']) - SHOWN} more" if len(notes["decide_many"]) > SHOWN else ""
        pairs = f"over {WARN_SHARE:.0%} of the {drawn:,} pairs drawn for"
        lines.append(f"{'warning':<24} concepts that each decide {pairs}: {concepts}{further}")
    if notes["alone"]:
        most = ", ".join(f"{concept} {count:,}" for concept, count in notes["alone_most"])
        lines.append(f"{'warning':<24} {notes['alone']:,} pairs hang on a single head concept: {most}")
    return lines


def stored_balance(rule: BalanceRule) -> dict[str, Any]:
    """The rule as it is stored: thresholds that are given, and a `reference` where there are languages."""
    fields = stored_fields(rule)
    return {name: value for name, value in fields.items() if name != "reference" or rule.language is not None}


def _stored_without_headroom(rule: BalanceRule) -> dict[str, Any]:
    return {name: value for name, value in stored_balance(rule).items() if name != "headroom"}


def _step(name: str, stored: Callable[[BalanceRule], dict[str, Any]]) -> Step[BalanceRule]:
    return Step(
        name=name,
        rule=BalanceRule,
        stored=stored,
        resolve=partial(balance_facts, name),
        judge=balance_pairs,
        finish=balance_sums,
        version=2,
        seeded=True,
    )


PRESELECT = _step(judgement.PRESELECT.name, stored_balance)
BALANCE = _step(judgement.BALANCE.name, _stored_without_headroom)
