"""Balance matched pools in stretches: global counts first, then each row by itself, by a rebuild's draws."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.balancing import balance, decide_rows
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.sums import draw_rows
from evenly.curation.balance.thresholds import (
    UNIT,
    BalanceRule,
    Law,
    entry_probabilities,
    expected_units,
    tail_share,
    thresholds_by,
)
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.ledger import Ledger
from evenly.storage.matches.matches import value_counts
from evenly.storage.matches.stamped import BALANCED, BalancedFile, write_balanced
from evenly.storage.records import content_hash
from evenly.tasks.partitioning import allowed_memory
from evenly.tasks.pools.work import Group, MatchedPool, PoolParts, PoolWork, written_facts
from evenly.tasks.run import Each, Run

VERSION = 1
STEP = "balance_pool"
SUMS = ("units", "kept", "matched")
"""Per language: pairs expected to stay, in units of 2**-30, pairs that stay, and pairs that match."""
_COLUMNS = ["uid", "language", "entries", "reason"]
_COUNTED = ["language", "entries"]
_AHEAD = 3  # halvings of the range of thresholds that one pass over the matches tries
HELD_BYTES = 512 << 20
"""Of matches that are held to find the threshold of a target; more are read again and again."""
Decided = tuple[pa.Table, pa.Table]
"""BALANCED of some rows, and their SUMS."""


@dataclass(frozen=True, kw_only=True)
class BalanceJob:
    """The work of `evenly balance`: decide each row of `matches` by a rule, and write decisions to `out`.

    entries: the concept list, where its texts do not lie beside the matches. What is read is looked at once, and errors
    are raised for it.
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
    def pool(self) -> MatchedPool:
        """The matches, opened once."""
        return MatchedPool.at(self.matches, self.entries, per_language=self.rule.language is not None)

    @cached_property
    def fitted(self) -> PoolWork:
        """The work, with as many processes and threads as there is memory and work for: each holds all counts."""
        return self.work.fitting(self.pool.counts.size, len(self.pool.groups))

    @property
    def has_workers(self) -> bool:
        """Whether other processes work, so that Prefect is needed."""
        return self.fitted.has_workers(len(self.pool.groups))

    def run(self) -> dict[str, Any]:
        """The rule, thresholds, and rows kept and expected.

        Memory is bounded by the row groups that are held, one or two for each thread, and for a target by HELD_BYTES.
        """
        wanted = {"version": VERSION, "rule": asdict(self.rule), "seed": self.seed, **self.pool.identity}
        return written_facts(self.out, BalancedFile, wanted, partial(self._write, wanted), overwrite=self.overwrite)

    def _write(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        work, groups = self.fitted, self.pool.groups
        with work.each(self.out, rows=self.pool.rows, stretches=len(groups), at_once=work.threads) as (engine, ledger):
            held_bytes = min(HELD_BYTES, allowed_memory(work.memory) // 4)
            thresholds = _chosen_thresholds(self.pool, self.rule, engine, held_bytes) * self.rule.headroom
            judge = Judge(pool=self.pool, thresholds=thresholds, law=self.rule.law, seed=self.seed)
            key = content_hash(wanted) if self.has_workers else None
            sums, reasons = np.zeros((len(SUMS), len(self.pool.languages)), np.int64), Counter[str]()
            tables = _summed(_decided(judge, engine, ledger, key), sums, reasons)
            write_balanced(self.out, tables, lambda: {**wanted, **_facts(judge, sums, reasons)})
        return {}


def explain_row(uid: str, matches: Sequence[Path], out: Path, *, entries: str | None = None) -> list[dict[str, Any]]:
    """Recompute each row named `uid` alone, and hold it against what `out` says of it.

    Raises NotFoundError where no row has that name, InputError where `out` was made of other matches.
    """
    balanced = BalancedFile.at(out)
    rule, seed = BalanceRule(**balanced.facts["rule"]), int(balanced.facts["seed"])
    pool = MatchedPool.at(matches, entries, per_language=rule.language is not None)
    if any(balanced.facts.get(name) != value for name, value in pool.identity.items()):
        raise InputError(f"`matches` must be those that `{out}` was made of; they are others. Name the same files.")
    thresholds = np.array([row["t"] for row in balanced.facts["languages"]])
    judge = Judge(pool=pool, thresholds=thresholds, law=rule.law, seed=seed)
    explanations = []
    for group, stored in zip(pool.tables([*_COLUMNS, "file", "row"]), balanced.groups(), strict=True):
        if not stored["uid"].equals(group["uid"]):
            raise DamagedError(f"`{out}` must hold the rows of its matches in order; it does not. Balance again.")
        explanations += [
            _explained(judge, group.slice(place, 1).combine_chunks(), stored.slice(place, 1))
            for place in np.flatnonzero(pc.equal(group["uid"], uid).to_numpy())
        ]
    if not explanations:
        raise NotFoundError(f"a row must be named `{uid}`; none is in `{out}`. Look its uid up in the matches.")
    return explanations


def _chosen_thresholds(pool: MatchedPool, rule: BalanceRule, engine: Each, most_bytes: int) -> Floats:
    """Thresholds per language (L,), before headroom.

    For a target, matches are held where they take at most `most_bytes`, else read again for every three halvings of the
    range: the sums are of integers, and so the same.
    """
    is_held = rule.target is not None and pool.held_bytes <= most_bytes
    loaded = [pool.pairs(table) for table in pool.tables(_COUNTED)] if is_held else []

    def expected(tried: Sequence[Floats]) -> list[int]:
        function = TriedThresholds(pool, tried)
        sums = [function.units(pairs) for pairs in loaded]
        if not is_held:
            sums = list(engine.items(f"trying {len(tried)} thresholds", function, pool.groups))
        return [int(units) for units in np.sum(sums, axis=0)]

    return thresholds_by(rule, pool.languages, pool.counts, expected, ahead=1 if is_held else _AHEAD)


@dataclass(frozen=True, eq=False)
class TriedThresholds:
    """The number of rows of a group expected to stay by each of several thresholds (L,), in units of 2**-30."""

    pool: MatchedPool
    tried: Sequence[Floats]

    @cached_property
    def chances(self) -> list[Floats]:
        """The chance of each entry (L, E) by each of them."""
        return [entry_probabilities(self.pool.counts, thresholds) for thresholds in self.tried]

    def __call__(self, _run: Run, group: Group) -> Ints:
        """The sum for each (T,)."""
        return self.units(self.pool.pairs(self.pool.table(group, _COUNTED)))

    def units(self, pairs: MatchedPairs) -> Ints:
        """The same of some pairs."""
        return np.array([expected_units(pairs, chances).sum() for chances in self.chances], dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Everything by which a row is decided alone; thresholds (L,) with headroom."""

    pool: MatchedPool
    thresholds: Floats
    law: Law
    seed: int

    @cached_property
    def probabilities(self) -> Floats:
        """The chance of each entry (L, E)."""
        return entry_probabilities(self.pool.counts, self.thresholds)

    def __call__(self, _run: Run, group: Group) -> Decided:
        """Decide the rows of a group that is named."""
        return self.decide(self.pool.table(group, _COLUMNS))

    def decide(self, table: pa.Table) -> Decided:
        """Decide the rows of a group."""
        pairs = self.pool.pairs(table)
        decided = decide_rows(pairs, self.probabilities, law=self.law, seed=self.seed)
        n, columns = len(pairs.languages), decided.columns(pairs, table["reason"].combine_chunks())
        of_languages = [np.bincount(pairs.language[rows], minlength=n) for rows in (decided.kept, pairs.lengths > 0)]
        sums = pa.table([decided.units(pairs), *of_languages], names=list(SUMS))
        return pa.table([table["uid"], *columns], schema=BALANCED), sums


def _decided(judge: Judge, engine: Each, ledger: Ledger, key: str | None) -> Iterator[Decided]:
    """The decisions for each row group in order; where a `key` is given, other processes keep them as parts."""
    if key is None:
        yield from engine.items("balancing", judge, judge.pool.groups)
        return
    parts = PoolParts(ledger=ledger, step=STEP, key=key)
    for stored in engine.items("balancing", partial(_kept, judge, key), judge.pool.groups):
        for part in stored:
            yield parts.read(part).cast(BALANCED), parts.sums(part)


def _kept(judge: Judge, key: str, run: Run, group: Group) -> list[Any]:
    """Decisions for a row group as a part; key: what they depend on besides the group."""
    place = {"file": group[0], "group": group[1]}
    return PoolParts(ledger=run.ledger, step=STEP, key=key).of(place, lambda: [judge(run, group)])[0]


def _summed(decided: Iterable[Decided], sums: Ints, reasons: Counter[str]) -> Iterator[pa.Table]:
    """The decisions, when `sums` of SUMS (3, L) and `reasons` hold what they give."""
    for table, part_sums in decided:
        sums += np.stack([column.to_numpy() for column in part_sums.columns])
        reasons.update(value_counts(table["reason"]))
        yield table


def _facts(judge: Judge, sums: Ints, reasons: Mapping[str, int]) -> dict[str, Any]:
    """Thresholds per language, and rows that were expected to stay and that did."""
    units, kept, matched = sums.tolist()
    counts, reasons = judge.pool.counts, dict(sorted(reasons.items()))
    languages = [
        {
            "language": name,
            "t": float(judge.thresholds[number]),
            "tail_share": tail_share(counts[number], float(judge.thresholds[number])),
            "matches": int(counts[number].sum()),
            "matched": matched[number],
            "expected": round(float(units[number]) * UNIT, 6),
            "kept": kept[number],
        }
        for number, name in enumerate(judge.pool.languages)
    ]
    return {
        "rows": sum(reasons.values()),
        "kept": reasons.pop("", 0),
        "dropped": sum(reasons.values()),
        "reasons": reasons,
        "expected": round(float(sum(units)) * UNIT, 6),
        "languages": languages,
    }


def _explained(judge: Judge, row: pa.Table, decision: pa.Table) -> dict[str, Any]:
    pool = judge.pool
    pairs, (decided, _) = pool.pairs(row), judge.decide(row)
    language = int(pairs.language[0])
    balanced = balance(pairs, counts=pool.counts, thresholds=judge.thresholds, law=judge.law, seed=judge.seed)
    entries = [
        {"number": number, "count": int(pool.counts[language, number]), **draw}
        for draws in balanced.draws.to_pylist()
        for number, draw in zip(draws["entries"], draw_rows(draws, pool.concepts), strict=True)
    ]
    return {
        **{name: row[name][0].as_py() for name in ("uid", "file", "row")},
        "language": pool.languages[language],
        "t": float(judge.thresholds[language]),
        **{name: value for name, value in decided.to_pylist()[0].items() if name != "uid"},
        "as_stored": decided.equals(decision.combine_chunks()),
        "matches": row["entries"].to_pylist()[0],
        "entries": entries,
    }
