"""Balancing and mixing a pool in parts: facts of all pairs are counted part by part, and add up exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.balancing import balance
from evenly.curation.balance.inputs import (
    BalanceFacts,
    PairsToBalance,
    matched_entries,
    pairs_to_balance,
)
from evenly.curation.balance.picked_texts import PICKS, keyed_urls, picks_of_urls
from evenly.curation.balance.source_mixing import (
    SourceCounts,
    SourceCut,
    SourceRule,
    count_sources,
    cut_sources,
    draws_in_bins,
    mix_by,
)
from evenly.curation.balance.thresholds import BalanceRule, entry_probabilities, expected_units, thresholds_by
from evenly.curation.step import EachPart, Exchange, Judged, PartTables, StepTables


@dataclass(frozen=True, kw_only=True)
class PicksByUrl:
    """One text per picture, picked where all pairs of its URL meet, by a hash of it; the picks return by uid."""

    exchange: Exchange
    upstream: Sequence[Any]
    seed: int

    @classmethod
    def of(cls, exchange: Exchange, over_parts: EachPart, upstream: Sequence[Any], *, seed: int) -> "PicksByUrl":
        """Pick one of the texts of each URL that several pairs have, as `pick_texts` does of all pairs at once."""
        picks = cls(exchange=exchange, upstream=upstream, seed=seed)
        over_parts("sending URLs", picks._send_urls)
        over_parts("picking texts", picks._send_picks)
        return picks

    def in_part(self, part: int) -> pa.Table:
        """The picks, a table PICKS, among the pairs of a part."""
        return pa.concat_tables([PICKS.empty_table(), *self.exchange.received("picks", part)])

    def _send_urls(self, tables: PartTables) -> None:
        self.exchange.send("urls", tables.part.number, "key", keyed_urls(tables.alive(self.upstream, ["url"])))

    def _send_picks(self, tables: PartTables) -> None:
        if urls := self.exchange.received("urls", tables.part.number):
            picks = picks_of_urls(pa.concat_tables(urls), seed=self.seed)
            self.exchange.send("picks", tables.part.number, "uid", picks)


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


@dataclass(frozen=True, kw_only=True)
class SourceMixing:
    """The step that mixes sources, after the steps `upstream`."""

    upstream: Sequence[Any]
    rules: Mapping[str, SourceRule]
    seed: int

    def cuts(self, over_parts: EachPart) -> tuple[dict[str, SourceCut], str | None]:
        """Count all pairs by source and draw, and cut each source as `cut_sources` does."""
        counts: dict[str, SourceCounts] = {}
        for part in over_parts("counting sources", self._counted):
            counts = {name: counts[name] + part[name] if counts else part[name] for name in part}

        def draws_of(bins: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            parts = over_parts("finding thresholds", partial(self._drawn, bins))
            return {name: [drawn for part in parts for drawn in part[name]] for name in bins}

        return cut_sources(self.rules, counts, draws_of)

    def decided(self, cuts: Mapping[str, SourceCut], ledger: StepTables[Any]) -> Judged:
        """The pairs of a part by the cuts: `mix_by`."""
        uids, sources = self._pairs(ledger)
        decisions, thresholds = mix_by(uids, sources, self.rules, cuts, seed=self.seed)
        return Judged(uids=uids, decisions=decisions, columns={"mix_threshold": thresholds})

    def _pairs(self, ledger: StepTables[Any]) -> tuple[pa.Array, pa.Array]:
        pairs = ledger.alive(self.upstream, ["source"])
        return pairs["uid"].combine_chunks(), pairs["source"].combine_chunks()

    def _counted(self, ledger: StepTables[Any]) -> dict[str, SourceCounts]:
        return count_sources(*self._pairs(ledger), self.rules, seed=self.seed)

    def _drawn(self, bins: Mapping[str, int], ledger: StepTables[Any]) -> dict[str, list[tuple[float, str]]]:
        return draws_in_bins(*self._pairs(ledger), bins, seed=self.seed)
