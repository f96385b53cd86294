"""Balancing a pool in parts: what is read of each from the ledger, facts of all pairs that add up, and who stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.balancing import Balanced, balance, earlier_limits
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.picked_texts import PickedTexts, PicksByUrl, pick_texts, picks_of_urls
from evenly.curation.balance.sums import BalanceSums, count_table, threshold_table
from evenly.curation.balance.thresholds import (
    UNIT,
    BalanceRule,
    PreselectionLimits,
    entry_probabilities,
    expected_units,
    thresholds_by,
)
from evenly.curation.collecting import DOWNLOAD
from evenly.curation.concepts.judgement import MATCH_AGAIN, MATCH_CONCEPTS
from evenly.curation.errors import MissingStepError, RuleError
from evenly.curation.step import EachPart, Judged, PartTables, S, StepTables
from evenly.keys import one_array, places_in


@dataclass(frozen=True, eq=False, kw_only=True)
class PairsToBalance:
    """The pairs that a balancing step judges, all of them or a part.

    picked: where one text per picture is judged. earlier: the preselection that the pairs survived, where there was
    one; weights (n,): the inverse of each one's P(stay) there.
    """

    pairs: MatchedPairs
    picked: PickedTexts | None
    earlier: PreselectionLimits | None
    weights: Floats | None

    @property
    def counts(self) -> Floats:
        """The matches per language and entry (L, E), each weighed."""
        return count_matches(self.pairs, self.weights)

    def tables(self, balanced: Balanced) -> dict[str, pa.Table]:
        """Tables of a step beside its verdicts: draws, and where one text per picture is judged, `texts`."""
        return {"draws": balanced.draws} | ({} if self.picked is None else {"texts": self.picked.to_table()})

    def sums(self, balanced: Balanced) -> BalanceSums:
        """Counts of the decided pairs."""
        kept = balanced.decisions.kept.to_numpy(zero_copy_only=False)
        return BalanceSums.of(self.pairs, kept, np.rint(balanced.expected / UNIT).astype(np.int64), balanced.draws)


@dataclass(frozen=True, eq=False, kw_only=True)
class BalanceFacts:
    """Facts of all pairs.

    languages; counts (L, E); thresholds (L,), before headroom. probabilities (L, E), headroom included: where they are
    read as a step stored them, and counts are not.
    """

    languages: tuple[str, ...]
    counts: Floats
    thresholds: Floats
    probabilities: Floats | None = None

    @classmethod
    def stored(cls, tables: StepTables[S], record: S, upstream: Sequence[S]) -> "BalanceFacts":
        """The facts of all pairs as a step stored them."""
        table = tables.table(record, "thresholds", ["language", "t"])
        languages = tuple(table["language"].to_pylist())
        shape = (len(languages), len(matched_entries(tables, upstream)))
        return cls(
            languages=languages,
            counts=np.zeros(shape),
            thresholds=table["t"].to_numpy(),
            probabilities=_stored_probabilities(tables, record, languages, shape),
        )


def sum_tables(rule: BalanceRule, facts: BalanceFacts, concepts: pa.Array, sums: BalanceSums) -> dict[str, pa.Table]:
    """Tables of all pairs: counts, per language and concept; thresholds, per language."""
    probabilities = entry_probabilities(facts.counts, facts.thresholds * rule.headroom)
    return {
        "counts": count_table(sums, facts.languages, concepts, facts.counts, probabilities),
        "thresholds": threshold_table(sums, facts.languages, facts.counts, facts.thresholds),
    }


def matched_entries(ledger: StepTables[S], upstream: Sequence[S]) -> pa.Array:
    """The entries that captions were matched with, by number."""
    return one_array(ledger.table(_named(upstream, MATCH_CONCEPTS.name), "concepts", ["entry"])["entry"])


def pick_of_all(ledger: StepTables[S], upstream: Sequence[S], rule: BalanceRule, *, seed: int) -> pa.Table | None:
    """The table PICKS of all pairs that a ledger shows; None where each text is judged."""
    if rule.texts == "each":
        return None
    return picks_of_urls(ledger.alive(upstream, ["url"]), seed=seed)


def pairs_to_balance(
    ledger: StepTables[S],
    upstream: Sequence[S],
    step: str,
    rule: BalanceRule,
    *,
    seed: int,
    languages: tuple[str, ...] | None = None,
    picks: pa.Table | None = None,
) -> PairsToBalance:
    """Read the pairs that a ledger shows.

    Raises RuleError where the rule names a column of languages that no step gave, MissingStepError where captions were
    not matched. languages and picks (a table PICKS): those of the whole, where the pairs are a part of it.
    """
    columns = [rule.language] if rule.language else []
    available = {name for record in upstream for name in record.columns}
    if missing := [name for name in columns if name not in available]:
        raise RuleError(
            f"`language` must be a column of the pool or of a step before `{step}`; got {missing[0]!r}. "
            f"There are {', '.join(sorted(available))}."
        )
    alive = ledger.alive(upstream, [*columns, "url"] if rule.texts == "one_per_image" else columns)
    language = one_array(alive[rule.language]) if rule.language else None
    read = partial(_pairs, ledger, upstream, language=language, languages=languages)
    matched_by = _matched_by(upstream, step)
    pairs = preselected = read(matched_by, one_array(alive["uid"]))
    picked = None
    if rule.texts == "one_per_image":
        picked = (
            pick_texts(pairs.uids, alive["url"].combine_chunks(), seed=seed)
            if picks is None
            else PickedTexts.of_table(pairs.uids, picks)
        )
        pairs = picked.applied_to(pairs)
    earlier, weights = None, None
    if preselect := next((record for record in upstream if record.name == "preselect"), None):
        if pairs is not preselected or matched_by != MATCH_CONCEPTS.name:
            preselected = read(MATCH_CONCEPTS.name, pairs.uids)
        earlier, weights = _earlier(ledger, preselect, pairs, preselected)
    return PairsToBalance(pairs=pairs, picked=picked, earlier=earlier, weights=weights)


def stored_rule(rule: Mapping[str, Any]) -> BalanceRule:
    """The rule of a balancing as the ledger has it. Raises RuleError for fields that are none of it."""
    names = {field.name for field in fields(BalanceRule)}
    if unknown := sorted(rule.keys() - names):
        raise RuleError(f"the rule of a balancing must hold only {', '.join(sorted(names))}; got {', '.join(unknown)}.")
    return BalanceRule(**rule)


def _matched_by(upstream: Sequence[S], step: str) -> str:
    """The step whose matches count: for `balance` the one after captions were chosen, which needs pictures."""
    chosen = {DOWNLOAD.name, MATCH_AGAIN.name} & {record.name for record in upstream}
    return MATCH_AGAIN.name if step == "balance" and chosen else MATCH_CONCEPTS.name


def _pairs(
    ledger: StepTables[S],
    upstream: Sequence[S],
    step: str,
    uids: pa.Array,
    *,
    language: pa.Array | None,
    languages: tuple[str, ...] | None,
) -> MatchedPairs:
    """The pairs `uids` with the entries that they matched at `step`."""
    table = ledger.table(_named(upstream, step), "matches")
    matches = one_array(table["entries"]).take(places_in(uids, table["uid"]))
    concepts = matched_entries(ledger, upstream)
    return MatchedPairs.of(uids, matches, concepts, language=language, languages=languages)


def _earlier(
    ledger: StepTables[S], preselect: S, pairs: MatchedPairs, preselected: MatchedPairs
) -> tuple[PreselectionLimits, Floats]:
    """The preselection's draws of these pairs, and the weight of each by it."""
    decisions = ledger.decisions(preselect, ["uid", "value"])
    value = one_array(decisions["value"]).take(places_in(pairs.uids, decisions["uid"])).to_numpy()
    texts = np.ones(len(pairs))
    if "texts" in preselect.hashes:
        picks = ledger.table(preselect, "texts", ["uid", "texts"])
        places = places_in(pairs.uids, picks["uid"])
        texts = pc.fill_null(picks["texts"].combine_chunks().take(places), 1).to_numpy().astype(np.float64)
    probabilities = _stored_probabilities(ledger, preselect, pairs.languages, pairs.table_shape)
    earlier = PreselectionLimits(chances=value * texts, limits=earlier_limits(pairs, preselected, probabilities))
    return earlier, 1.0 / value


def _stored_probabilities(ledger: StepTables[S], record: S, languages: Sequence[str], shape: tuple[int, int]) -> Floats:
    """The probabilities (L, E) of entries by a step before caps, with its headroom; 1 for an entry that no pair has."""
    table = ledger.table(record, "counts", ["entry", "language", "p"])
    probabilities = np.ones(shape)
    number = pc.index_in(table["language"].combine_chunks(), pa.array(languages, pa.string()))
    present = pc.is_valid(number).to_numpy(zero_copy_only=False)
    entries = table["entry"].to_numpy()[present]
    probabilities[number.drop_null().to_numpy(), entries] = table["p"].to_numpy()[present]
    return probabilities


def _named(records: Sequence[S], name: str) -> S:
    for record in records:
        if record.name == name:
            return record
    raise MissingStepError(f"step `{name}` must come before a balancing; there is none. Rebuild with it.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Balancing:
    """A balancing step, preselect or balance, after the steps `upstream`.

    picks: where one text per picture is judged, the table PICKS of all pairs, or what gives that of a part.
    """

    step: str
    upstream: Sequence[Any]
    rule: BalanceRule
    seed: int
    picks: pa.Table | PicksByUrl | None

    def facts(self, over_parts: EachPart, tables: StepTables[Any], *, ahead: int = 1) -> BalanceFacts:
        """Count the matches of all pairs, and choose thresholds by them.

        tables: the tables of all parts. ahead: halvings of the range of thresholds that one pass over the parts tries.
        """
        parts = over_parts(f"counting for {self.step}", self._counted)
        languages = tuple(sorted({name for names, _ in parts for name in names})) or ("",)
        counts = np.zeros((len(languages), len(matched_entries(tables, self.upstream))))
        for names, cells in parts:
            rows = np.array([languages.index(name) for name in names], np.int64)
            counts[rows[cells["language"].to_numpy()], cells["entry"].to_numpy()] += cells["count"].to_numpy()
        untried = BalanceFacts(languages=languages, counts=counts, thresholds=np.empty(0))

        def expected(tried: Sequence[Floats]) -> list[int]:
            facts = [replace(untried, thresholds=thresholds) for thresholds in tried]
            units = over_parts(f"thresholds of {self.step}", partial(self._expected, facts))
            return [int(total) for total in np.sum(units, axis=0)]

        return replace(untried, thresholds=thresholds_by(self.rule, languages, counts, expected, ahead=ahead))

    def judged(self, facts: BalanceFacts, ledger: PartTables) -> Judged:
        """The pairs of a part by the facts of all: a stay by its chance, with draws, and SUMS as `partial`."""
        part = self._pairs(ledger, facts.languages)
        balanced = balance(
            part.pairs,
            counts=facts.counts,
            thresholds=facts.thresholds * self.rule.headroom,
            law=self.rule.law,
            seed=self.seed,
            reason=f"{self.step}_draw",
            earlier=part.earlier,
            probabilities=facts.probabilities,
        )
        return Judged(
            uids=part.pairs.uids,
            decisions=balanced.decisions,
            tables=part.tables(balanced),
            partial=part.sums(balanced).to_table(facts.languages),
        )

    def _pairs(self, ledger: PartTables, languages: tuple[str, ...] | None = None) -> PairsToBalance:
        picks = self.picks.in_part(ledger.part.number) if isinstance(self.picks, PicksByUrl) else self.picks
        return pairs_to_balance(
            ledger, self.upstream, self.step, self.rule, seed=self.seed, languages=languages, picks=picks
        )

    def _counted(self, ledger: PartTables) -> tuple[tuple[str, ...], pa.Table]:
        """The languages of a part, and its counts above 0: language by its number, entry, count."""
        part = self._pairs(ledger)
        counts = part.counts
        languages, entries = np.nonzero(counts)
        names = part.pairs.languages if len(part.pairs) or self.rule.language is None else ()
        return names, pa.table({"language": languages, "entry": entries, "count": counts[languages, entries]})

    def _expected(self, facts: Sequence[BalanceFacts], ledger: PartTables) -> Ints:
        """The number of a part's pairs that is expected to stay by each of several thresholds, in units of 2**-30."""
        part = self._pairs(ledger, facts[0].languages)
        units = [
            expected_units(part.pairs, entry_probabilities(tried.counts, tried.thresholds), part.earlier).sum()
            for tried in facts
        ]
        return np.array(units, np.int64)
