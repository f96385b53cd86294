"""The work of `evenly match` and `evenly balance`, as one value each: for the command itself, or for a flow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from evenly.curation.balance.thresholds import BalanceRule
from evenly.tasks.pools.balance import balance_pool
from evenly.tasks.pools.match import MatchOfPool, PoolMatching, match_pool
from evenly.tasks.pools.matches import MatchPlace
from evenly.tasks.pools.work import PoolWork


@dataclass(frozen=True, kw_only=True)
class MatchJob:
    """Match a pool and write its matches to `out`."""

    pool: str
    matching: PoolMatching
    out: Path
    overwrite: bool = False
    work: PoolWork = field(default_factory=PoolWork)

    @property
    def title(self) -> str:
        """The work in words, for people."""
        return f"match {self.pool}"

    @cached_property
    def match(self) -> MatchOfPool:
        """The pool, looked at once."""
        return MatchOfPool.at(self.pool, self.matching)

    @property
    def has_workers(self) -> bool:
        """Whether other processes work, so that Prefect is needed. Raises as `match_pool` does for what is read."""
        return self.match.fitted(self.work).has_workers(len(self.match.stretches))

    def run(self) -> dict[str, Any]:
        """The result of `match_pool`."""
        return match_pool(self.match, self.out, work=self.work, overwrite=self.overwrite)


@dataclass(frozen=True, kw_only=True)
class BalanceJob:
    """Balance files of matches by a rule and write decisions to `out`.

    entries: the concept list, where its texts do not lie beside the matches.
    """

    matches: Sequence[Path]
    rule: BalanceRule
    out: Path
    seed: int = 1
    entries: str | None = None
    overwrite: bool = False
    work: PoolWork = field(default_factory=PoolWork)

    @property
    def title(self) -> str:
        """The work in words, for people."""
        return f"balance {', '.join(path.name for path in self.matches)}"

    @cached_property
    def place(self) -> MatchPlace:
        """The matches, opened once."""
        return MatchPlace.of(self.matches, self.entries, per_language=self.rule.language is not None)

    @property
    def has_workers(self) -> bool:
        """Whether other processes work, so that Prefect is needed. Raises as `balance_pool` does for what is read."""
        groups = len(self.place.pool.places)
        return self.work.fitting(self.place.pool.n_cells, groups).has_workers(groups)

    def run(self) -> dict[str, Any]:
        """The result of `balance_pool`."""
        return balance_pool(self.place, self.rule, self.out, seed=self.seed, work=self.work, overwrite=self.overwrite)
