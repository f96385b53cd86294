"""A balancing step on a pool in parts: what is known of all pairs is counted part by part, and adds up exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.inputs import (
    BalanceFacts,
    BalanceInputs,
    PairsToBalance,
    StepTables,
    matched_entries,
    pairs_to_balance,
)
from evenly.curation.balance.keep_probability import expected_units
from evenly.curation.balance.thresholds import BalanceRule, entry_probabilities, thresholds_by

T = TypeVar("T")
Tables = StepTables[Any]


class EachPart(Protocol):
    """Work on all parts of a pool."""

    def __call__(self, title: str, function: Callable[[Tables], T], /) -> list[T]:
        """What `function` gives of the tables of each part, in their order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Balancing:
    """A balancing step, preselect or balance, after the steps `upstream`.

    picks: the table PICKS of the pairs of a part, or of more; None where each text is judged.
    """

    step: str
    upstream: Sequence[Any]
    rule: BalanceRule
    seed: int
    picks: Callable[[Tables], pa.Table | None]

    def facts(self, each: EachPart, whole: Tables, *, ahead: int = 1) -> BalanceFacts:
        """Count the matches of all pairs, and choose thresholds by them.

        whole: the tables of all parts. ahead: halvings of the range of thresholds that one pass over the parts tries.
        """
        parts = each(f"counting for {self.step}", self._counted)
        languages = tuple(sorted({name for names, _ in parts for name in names})) or ("",)
        counts = np.zeros((len(languages), len(matched_entries(whole, self.upstream))))
        for names, cells in parts:
            rows = np.array([languages.index(name) for name in names], np.int64)
            counts[rows[cells["language"].to_numpy()], cells["entry"].to_numpy()] += cells["count"].to_numpy()
        untried = BalanceFacts(languages=languages, counts=counts, thresholds=np.empty(0))

        def expected(tried: Sequence[Floats]) -> list[int]:
            facts = [replace(untried, thresholds=thresholds) for thresholds in tried]
            units = each(f"thresholds of {self.step}", partial(self._expected, facts))
            return [int(total) for total in np.sum(units, axis=0)]

        return replace(untried, thresholds=thresholds_by(self.rule, languages, counts, expected, ahead=ahead))

    def inputs(self, facts: BalanceFacts, ledger: Tables) -> BalanceInputs:
        """The pairs of a part, with what is known of all."""
        part = self._pairs(ledger, facts.languages)
        return BalanceInputs.of(self.step, self.rule, part, facts, seed=self.seed)

    def _pairs(self, ledger: Tables, languages: tuple[str, ...] | None = None) -> PairsToBalance:
        picks = self.picks(ledger)
        return pairs_to_balance(
            ledger, self.upstream, self.step, self.rule, seed=self.seed, languages=languages, picks=picks
        )

    def _counted(self, ledger: Tables) -> tuple[tuple[str, ...], pa.Table]:
        """The languages of a part, and its counts above 0: language by its number, entry, count."""
        part = self._pairs(ledger)
        counts = part.counts
        languages, entries = np.nonzero(counts)
        names = part.pairs.languages if len(part.pairs) or self.rule.language is None else ()
        return names, pa.table({"language": languages, "entry": entries, "count": counts[languages, entries]})

    def _expected(self, facts: Sequence[BalanceFacts], ledger: Tables) -> Ints:
        """How many pairs of a part are expected to stay by each of several thresholds, in units of 2**-30."""
        part = self._pairs(ledger, facts[0].languages)
        units = [
            expected_units(part.pairs, entry_probabilities(tried.counts, tried.thresholds), part.earlier).sum()
            for tried in facts
        ]
        return np.array(units, np.int64)
