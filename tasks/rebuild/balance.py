"""Preselection before the download and balancing at the end, by the same draws."""

from functools import partial
from typing import Any

from evenly.curation.balance.inputs import BalanceInputs, read_inputs
from evenly.curation.balance.thresholds import BalanceRule
from evenly.storage.ledger import StepOutput
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults


def balance_pairs(step: str, run: Run, upstream: Records, rule: BalanceRule) -> StepOutput:
    """Thin out the head: preselect drops what the balance would drop anyway, with headroom for losses on the way.

    Decisions hold P(stay); `BalanceInputs.tables` says which tables come with them.
    """
    inputs = read_inputs(run.ledger, upstream, step, stored_balance(rule), seed=run.seed)
    balanced = inputs.decide()
    return StepOutput(
        decisions=balanced.decisions.to_table(inputs.pairs.uids),
        tables=inputs.tables(balanced),
        notes=_notes(inputs) | {"expected": round(float(balanced.expected.sum()), 3)},
    )


def _notes(inputs: BalanceInputs) -> dict[str, Any]:
    """The threshold that the others follow from, where there is one; the table has all."""
    rule, languages = inputs.rule, inputs.pairs.languages
    if rule.language is None:
        return {"t": float(inputs.thresholds[0])}
    if rule.tail_share is None:
        return {"t": float(inputs.thresholds[languages.index(rule.reference)]), "language": rule.reference}
    return {"languages": len(languages)}


def stored_balance(rule: BalanceRule) -> dict[str, Any]:
    """The rule as it is stored: thresholds that are given, and a `reference` where there are languages."""
    plain = without_defaults("t", "tail_share", "target", "language")(rule)
    return {name: value for name, value in plain.items() if name != "reference" or rule.language is not None}


def _stored_without_headroom(rule: BalanceRule) -> dict[str, Any]:
    return {name: value for name, value in stored_balance(rule).items() if name != "headroom"}


PRESELECT = Step(
    name="preselect",
    rule=BalanceRule,
    stored=stored_balance,
    compute=partial(balance_pairs, "preselect"),
    version=2,
    seeded=True,
)
BALANCE = Step(
    name="balance",
    rule=BalanceRule,
    stored=_stored_without_headroom,
    compute=partial(balance_pairs, "balance"),
    version=2,
    seeded=True,
)
