"""What a balancing step decides by, read from the ledger: for the step itself, and for who checks it afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import IncompleteBuildError
from evenly.curation.arrays import Floats
from evenly.curation.balance.balancing import Balanced, balance, earlier_limits
from evenly.curation.balance.keep_probability import PreselectionLimits
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.picked_texts import PickedTexts, pick_texts
from evenly.curation.balance.tables import count_table, threshold_table
from evenly.curation.balance.thresholds import BalanceRule, choose_thresholds
from evenly.curation.errors import RuleError
from evenly.storage.ledger import Ledger, StepRecord

REASONS = {"preselect": "preselect_draw", "balance": "balance_draw"}
MATCHED_BY = {"preselect": "match_concepts", "balance": "match_again"}


@dataclass(frozen=True, eq=False, kw_only=True)
class BalanceInputs:
    """The pairs that a balancing step judges, and the global results that it judges them by.

    picked: where one text per picture is judged. earlier: the preselection that the pairs survived, where there was
    one. counts (L, E), each survivor weighed by the inverse of its P(stay) there; thresholds (L,), before headroom.
    """

    step: str
    seed: int
    rule: BalanceRule
    pairs: MatchedPairs
    picked: PickedTexts | None
    earlier: PreselectionLimits | None
    counts: Floats
    thresholds: Floats

    def decide(self) -> Balanced:
        """Decide all pairs."""
        return balance(
            self.pairs,
            counts=self.counts,
            thresholds=self.thresholds * self.rule.headroom,
            law=self.rule.law,
            seed=self.seed,
            reason=REASONS[self.step],
            earlier=self.earlier,
        )

    def tables(self, found: Balanced) -> dict[str, pa.Table]:
        """What the step leaves beside its verdicts: draws; counts, per language and concept; thresholds, per language.

        Where one text per picture is judged, also the `texts` that were picked from.
        """
        kept = found.decisions.kept.to_numpy(zero_copy_only=False)
        tables = {
            "draws": found.draws,
            "counts": count_table(self.pairs, self.counts, kept, found.probabilities),
            "thresholds": threshold_table(self.pairs, self.counts, self.thresholds, kept, found.expected),
        }
        return tables if self.picked is None else tables | {"texts": self.picked.to_table()}


def read_inputs(
    ledger: Ledger, before: Sequence[StepRecord], step: str, rule: Mapping[str, Any], *, seed: int
) -> BalanceInputs:
    """Read the inputs of `step`, preselect or balance, which follows the steps `before`, and count and choose by them.

    Raises RuleError where the rule names a column of languages that no step before gave.
    """
    chosen = _rule(rule)
    columns = [chosen.language] if chosen.language else []
    known = {name for record in before for name in record.columns}
    if missing := [name for name in columns if name not in known]:
        raise RuleError(
            f"`language` must be a column of the pool or of a step before `{step}`; got {missing[0]!r}. "
            f"There are {', '.join(sorted(known))}."
        )
    alive = ledger.alive(before, [*columns, "url"] if chosen.texts == "one_per_image" else columns)
    language = alive[chosen.language].combine_chunks() if chosen.language else None
    pairs = _pairs(ledger, before, MATCHED_BY[step], alive["uid"].combine_chunks(), language)
    picked = None
    if chosen.texts == "one_per_image":
        picked = pick_texts(pairs.uids, alive["url"].combine_chunks(), seed=seed)
        pairs = picked.applied_to(pairs)
    earlier, weights = None, None
    if preselect := next((record for record in before if record.name == "preselect"), None):
        earlier, weights = _earlier(
            ledger, preselect, pairs, _pairs(ledger, before, "match_concepts", pairs.uids, language)
        )
    counts = count_matches(pairs, weights)
    return BalanceInputs(
        step=step,
        seed=seed,
        rule=chosen,
        pairs=pairs,
        picked=picked,
        earlier=earlier,
        counts=counts,
        thresholds=choose_thresholds(chosen, pairs, counts, earlier),
    )


def _rule(rule: Mapping[str, Any]) -> BalanceRule:
    names = {field.name for field in fields(BalanceRule)}
    if unknown := sorted(rule.keys() - names):
        raise RuleError(f"the rule of a balancing must hold only {', '.join(sorted(names))}; got {', '.join(unknown)}.")
    return BalanceRule(**rule)


def _pairs(
    ledger: Ledger, before: Sequence[StepRecord], step: str, uids: pa.Array, language: pa.Array | None
) -> MatchedPairs:
    """The pairs `uids` with the entries that they matched at `step`."""
    table = ledger.table(_named(before, step), "matches")
    matches = table["entries"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks()))
    concepts = ledger.table(_named(before, "match_concepts"), "concepts", ["entry"])["entry"].combine_chunks()
    return MatchedPairs.of(uids, matches, concepts, language=language)


def _earlier(
    ledger: Ledger, preselect: StepRecord, pairs: MatchedPairs, then: MatchedPairs
) -> tuple[PreselectionLimits, Floats]:
    """What the preselection said of these pairs, and the weight of each by it."""
    decisions = ledger.decisions(preselect, ["uid", "value"])
    value = (
        decisions["value"].combine_chunks().take(pc.index_in(pairs.uids, decisions["uid"].combine_chunks())).to_numpy()
    )
    texts = np.ones(len(pairs))
    if "texts" in preselect.hashes:
        picks = ledger.table(preselect, "texts", ["uid", "texts"])
        at = pc.index_in(pairs.uids, picks["uid"].combine_chunks())
        texts = pc.fill_null(picks["texts"].combine_chunks().take(at), 1).to_numpy().astype(np.float64)
    table = ledger.table(preselect, "counts", ["entry", "language", "p"])
    probabilities = np.ones(pairs.table_shape)
    number = pc.index_in(table["language"].combine_chunks(), pa.array(pairs.languages, pa.string()))
    here = pc.is_valid(number).to_numpy(zero_copy_only=False)
    entries = table["entry"].to_numpy()[here]
    probabilities[number.drop_null().to_numpy(), entries] = table["p"].to_numpy()[here]
    earlier = PreselectionLimits(chances=value * texts, limits=earlier_limits(pairs, then, probabilities))
    return earlier, 1.0 / value


def _named(records: Sequence[StepRecord], name: str) -> StepRecord:
    for record in records:
        if record.name == name:
            return record
    raise IncompleteBuildError(f"step `{name}` must come before a balancing; there is none. Rebuild with it.")
