"""The inputs of a balancing step, read from the ledger: for the step itself, and for those who check it afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats
from evenly.curation.balance.balancing import Balanced, balance, earlier_limits
from evenly.curation.balance.keep_probability import PreselectionLimits
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.picked_texts import PickedTexts, pick_texts
from evenly.curation.balance.tables import count_table, threshold_table
from evenly.curation.balance.thresholds import BalanceRule, choose_thresholds
from evenly.curation.errors import MissingStepError, RuleError

REASONS = {"preselect": "preselect_draw", "balance": "balance_draw"}


class FinishedStep(Protocol):
    """The record of a step that is done."""

    @property
    def name(self) -> str:
        """The step's name."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it gave to pairs, beside its verdicts."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """The hash of each of its tables, by name."""


S = TypeVar("S", bound=FinishedStep)
S_contra = TypeVar("S_contra", bound=FinishedStep, contravariant=True)


class StepTables(Protocol[S_contra]):
    """Reads what finished steps left behind, as the ledger does."""

    def alive(self, records: Sequence[S_contra], columns: Sequence[str], /) -> pa.Table:
        """The pairs that all `records` kept, sorted by uid: [uid, *columns]."""

    def table(self, record: S_contra, name: str, columns: Sequence[str] | None = None, /) -> pa.Table:
        """A table of a step in its stored order; its `columns`, or all."""

    def decisions(self, record: S_contra, columns: Sequence[str] | None = None, /) -> pa.Table:
        """The decisions of a step, sorted by uid; their `columns`, or all."""


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

    def tables(self, balanced: Balanced) -> dict[str, pa.Table]:
        """What the step leaves beside its verdicts: draws; counts, per language and concept; thresholds, per language.

        Where one text per picture is judged, also the `texts` that were picked from.
        """
        kept = balanced.decisions.kept.to_numpy(zero_copy_only=False)
        tables = {
            "draws": balanced.draws,
            "counts": count_table(self.pairs, self.counts, kept, balanced.probabilities),
            "thresholds": threshold_table(self.pairs, self.counts, self.thresholds, kept, balanced.expected),
        }
        return tables if self.picked is None else tables | {"texts": self.picked.to_table()}


def read_inputs(
    ledger: StepTables[S], upstream: Sequence[S], step: str, rule: Mapping[str, Any], *, seed: int
) -> BalanceInputs:
    """Read the inputs of `step`, preselect or balance, after the steps `upstream`; count, and choose thresholds.

    Raises RuleError where the rule names a column of languages that no such step gave, MissingStepError where captions
    were not matched.
    """
    chosen = _rule(rule)
    columns = [chosen.language] if chosen.language else []
    available = {name for record in upstream for name in record.columns}
    if missing := [name for name in columns if name not in available]:
        raise RuleError(
            f"`language` must be a column of the pool or of a step before `{step}`; got {missing[0]!r}. "
            f"There are {', '.join(sorted(available))}."
        )
    alive = ledger.alive(upstream, [*columns, "url"] if chosen.texts == "one_per_image" else columns)
    language = alive[chosen.language].combine_chunks() if chosen.language else None
    pairs = _pairs(ledger, upstream, _matched_by(upstream, step), alive["uid"].combine_chunks(), language)
    picked = None
    if chosen.texts == "one_per_image":
        picked = pick_texts(pairs.uids, alive["url"].combine_chunks(), seed=seed)
        pairs = picked.applied_to(pairs)
    earlier, weights = None, None
    if preselect := next((record for record in upstream if record.name == "preselect"), None):
        earlier, weights = _earlier(
            ledger, preselect, pairs, _pairs(ledger, upstream, "match_concepts", pairs.uids, language)
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


def _matched_by(upstream: Sequence[S], step: str) -> str:
    """The step whose matches count: for `balance` the one after captions were chosen, which needs pictures."""
    chosen = {"download", "match_again"} & {record.name for record in upstream}
    return "match_again" if step == "balance" and chosen else "match_concepts"


def _pairs(
    ledger: StepTables[S], upstream: Sequence[S], step: str, uids: pa.Array, language: pa.Array | None
) -> MatchedPairs:
    """The pairs `uids` with the entries that they matched at `step`."""
    table = ledger.table(_named(upstream, step), "matches")
    matches = table["entries"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks()))
    concepts = ledger.table(_named(upstream, "match_concepts"), "concepts", ["entry"])["entry"].combine_chunks()
    return MatchedPairs.of(uids, matches, concepts, language=language)


def _earlier(
    ledger: StepTables[S], preselect: S, pairs: MatchedPairs, preselected: MatchedPairs
) -> tuple[PreselectionLimits, Floats]:
    """What the preselection said of these pairs, and the weight of each by it."""
    decisions = ledger.decisions(preselect, ["uid", "value"])
    value = (
        decisions["value"].combine_chunks().take(pc.index_in(pairs.uids, decisions["uid"].combine_chunks())).to_numpy()
    )
    texts = np.ones(len(pairs))
    if "texts" in preselect.hashes:
        picks = ledger.table(preselect, "texts", ["uid", "texts"])
        places = pc.index_in(pairs.uids, picks["uid"].combine_chunks())
        texts = pc.fill_null(picks["texts"].combine_chunks().take(places), 1).to_numpy().astype(np.float64)
    table = ledger.table(preselect, "counts", ["entry", "language", "p"])
    probabilities = np.ones(pairs.table_shape)
    number = pc.index_in(table["language"].combine_chunks(), pa.array(pairs.languages, pa.string()))
    present = pc.is_valid(number).to_numpy(zero_copy_only=False)
    entries = table["entry"].to_numpy()[present]
    probabilities[number.drop_null().to_numpy(), entries] = table["p"].to_numpy()[present]
    earlier = PreselectionLimits(chances=value * texts, limits=earlier_limits(pairs, preselected, probabilities))
    return earlier, 1.0 / value


def _named(records: Sequence[S], name: str) -> S:
    for record in records:
        if record.name == name:
            return record
    raise MissingStepError(f"step `{name}` must come before a balancing; there is none. Rebuild with it.")
