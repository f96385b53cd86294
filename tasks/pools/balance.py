"""Balance matched pools in stretches: global counts first, then each row by itself, by a rebuild's draws."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
    choose_thresholds,
    entry_probabilities,
    expected_units,
    tail_share,
    thresholds_by,
)
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.matches.matches import MATCHES
from evenly.storage.matches.parts import PoolParts, writing_alone
from evenly.storage.matches.stamped import BALANCED, BalancedFile, finished_facts, write_balanced
from evenly.storage.records import content_hash
from evenly.storage.step_records import StoredPart
from evenly.tasks.pools.matches import MatchedPool, MatchGroup, MatchPlace
from evenly.tasks.pools.work import PoolWork
from evenly.tasks.run import Each, Run

VERSION = 1
STEP = "balance_pool"
_SUMS = ("units", "kept", "matched")
_COLUMNS = ["uid", "language", "entries", "reason"]
_AHEAD = 3  # halvings of the range of thresholds that one pass over the matches tries
HELD_BYTES = 512 << 20
"""Of matches that are held to find the threshold of a target; more are read again and again."""


def balance_pool(
    matches: MatchPlace,
    rule: BalanceRule,
    out: Path,
    *,
    seed: int,
    work: PoolWork,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Decide each row of `matches` and write `out`; return the rule, thresholds, and rows kept and expected.

    Memory is bounded by the row groups that are held, one or two for each thread, and for a target by HELD_BYTES.
    Raises WriterError while another process writes `out`.
    """
    with writing_alone(out):
        return _balance_alone(matches, rule, out, seed=seed, work=work, overwrite=overwrite)


def _balance_alone(
    matches: MatchPlace, rule: BalanceRule, out: Path, *, seed: int, work: PoolWork, overwrite: bool
) -> dict[str, Any]:
    pool = matches.pool
    wanted = {"version": VERSION, "rule": asdict(rule), "seed": seed, **pool.identity}
    facts = finished_facts(out, wanted, lambda path: BalancedFile.at(path).facts, overwrite=overwrite)
    if facts is not None:
        return {"out": str(out), "reused": True, **facts}
    work = work.fitting(pool.n_cells, len(pool.places))
    run = work.run(out, pool.rows)
    with work.each(run, len(pool.places), run.processes) as each:
        thresholds = _chosen_thresholds(matches, rule, each, min(HELD_BYTES, work.allowed // 4)) * rule.headroom
        judge = Judge(matches=matches, thresholds=thresholds, law=rule.law, seed=seed)
        report = _Report(pool, thresholds)
        decided = _decided(judge, each, run, content_hash(wanted) if work.has_workers(len(pool.places)) else None)
        write_balanced(out, _watched(decided, report), lambda: wanted | report.facts())
    return {"out": str(out), "reused": False, **BalancedFile.at(out).facts}


def _decided(judge: "Judge", each: Each, run: Run, key: str | None) -> Iterator["_Decided"]:
    """The decisions for each row group in order; where a `key` is given, other processes keep them as parts."""
    places = judge.matches.pool.places
    if key is None:
        yield from each.items("balancing", judge, places)
        return
    parts = PoolParts(ledger=run.ledger, step=STEP, key=key)
    for part in each.items("balancing", KeptDecisions(judge=judge, key=key), places):
        sums = parts.sums(part)
        units, kept, matched = (sums[name].to_numpy() for name in _SUMS)
        yield _Decided(table=parts.read(part).cast(BALANCED), units=units, kept=kept, matched=matched)


def explain_row(uid: str, matches: Sequence[Path], out: Path, *, entries: str | None = None) -> list[dict[str, Any]]:
    """Recompute each row named `uid` alone, and hold it against what `out` says of it.

    Raises NotFoundError where no row has that name, InputError where `out` was made of other matches.
    """
    balanced = BalancedFile.at(out)
    rule, seed = BalanceRule(**balanced.facts["rule"]), int(balanced.facts["seed"])
    opened = MatchPlace.of(matches, entries, per_language=rule.language is not None)
    pool = opened.pool
    if any(balanced.facts.get(name) != value for name, value in pool.identity.items()):
        raise InputError(f"`matches` must be those that `{out}` was made of; they are others. Name the same files.")
    thresholds = np.array([row["t"] for row in balanced.facts["languages"]])
    judge = Judge(matches=opened, thresholds=thresholds, law=rule.law, seed=seed)
    explanations = []
    columns = [*_COLUMNS, "file", "row"]
    for group, stored in zip(pool.groups(columns), balanced.groups(), strict=True):
        if not stored["uid"].equals(group["uid"]):
            raise DamagedError(f"`{out}` must hold the rows of its matches in order; it does not. Balance again.")
        for place in np.flatnonzero(pc.equal(group["uid"], uid).to_numpy()):
            row, decision = group.slice(place, 1).combine_chunks(), stored.slice(place, 1)
            explanations.append(_explained(judge, row, decision))
    if not explanations:
        raise NotFoundError(f"a row must be named `{uid}`; none is in `{out}`. Look its uid up in the matches.")
    return explanations


_NO_ROWS = pa.schema([MATCHES.field(name) for name in ("uid", "language", "entries")]).empty_table()


def _chosen_thresholds(matches: MatchPlace, rule: BalanceRule, each: Each, most_bytes: int) -> Floats:
    """Thresholds per language (L,), before headroom.

    For a target, pairs are held where they take at most `most_bytes`, else read again for every three halvings of the
    range: the sums are of integers, and so the same.
    """
    pool = matches.pool
    if rule.target is None:
        return choose_thresholds(rule, pool.part(_NO_ROWS), pool.counts)
    if pool.held_bytes <= most_bytes:
        return choose_thresholds(rule, pool.pairs(), pool.counts)

    def expected(tried: Sequence[Floats]) -> list[int]:
        sums = each.items(f"trying {len(tried)} thresholds", TriedThresholds(matches, tried), pool.places)
        return [int(units) for units in np.sum(list(sums), axis=0)]

    return thresholds_by(rule, pool.languages, pool.counts, expected, ahead=_AHEAD)


@dataclass(frozen=True, eq=False)
class TriedThresholds:
    """The number of rows of a group expected to stay by each of several thresholds (L,), in units of 2**-30."""

    matches: MatchPlace
    tried: Sequence[Floats]

    @cached_property
    def chances(self) -> list[Floats]:
        """The chance of each entry (L, E) by each of them."""
        return [entry_probabilities(self.matches.pool.counts, thresholds) for thresholds in self.tried]

    def __call__(self, _run: Run, place: MatchGroup) -> Ints:
        """The sum for each (T,)."""
        pool = self.matches.pool
        pairs = pool.part(pool.group(place, _COLUMNS[:3]))
        return np.array([expected_units(pairs, chances).sum() for chances in self.chances], dtype=np.int64)


class _Report:
    """Adds up what goes by, per language."""

    def __init__(self, pool: MatchedPool, thresholds: Floats) -> None:
        self._pool, self._thresholds = pool, thresholds
        n = len(pool.languages)
        self._units, self._kept, self._matched = (np.zeros(n, dtype=np.int64) for _ in range(3))
        self._reasons: dict[str, int] = {}

    def add(self, decided: "_Decided") -> None:
        """Take what was decided of some rows."""
        self._units += decided.units
        self._kept += decided.kept
        self._matched += decided.matched
        for reason in pc.value_counts(decided.table["reason"].combine_chunks()).to_pylist():
            self._reasons[reason["values"]] = self._reasons.get(reason["values"], 0) + reason["counts"]

    def facts(self) -> dict[str, Any]:
        """Thresholds per language, and rows that were expected to stay and that did."""
        counts, reasons = self._pool.counts, dict(sorted(self._reasons.items()))
        languages = [
            {
                "language": name,
                "t": float(self._thresholds[number]),
                "tail_share": tail_share(counts[number], float(self._thresholds[number])),
                "matches": int(counts[number].sum()),
                "matched": int(self._matched[number]),
                "expected": round(float(self._units[number]) * UNIT, 6),
                "kept": int(self._kept[number]),
            }
            for number, name in enumerate(self._pool.languages)
        ]
        return {
            "rows": sum(reasons.values()),
            "kept": reasons.pop("", 0),
            "dropped": sum(reasons.values()),
            "reasons": reasons,
            "expected": round(float(self._units.sum()) * UNIT, 6),
            "languages": languages,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class _Decided:
    """BALANCED of some rows, and per language (L,): expected units, rows kept, rows that match."""

    table: pa.Table
    units: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    matched: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Everything by which a row is decided alone; thresholds (L,) with headroom."""

    matches: MatchPlace
    thresholds: Floats
    law: Law
    seed: int

    @property
    def pool(self) -> MatchedPool:
        """The matches, opened in this process."""
        return self.matches.pool

    @cached_property
    def probabilities(self) -> Floats:
        """The chance of each entry (L, E)."""
        return entry_probabilities(self.pool.counts, self.thresholds)

    def __call__(self, _run: Run, place: MatchGroup) -> "_Decided":
        """Decide the rows of a group that is named."""
        return self.decide(self.pool.group(place, _COLUMNS))

    def decide(self, group: pa.Table) -> "_Decided":
        """Decide the rows of a group."""
        pairs = self.pool.part(group)
        decided = decide_rows(pairs, self.probabilities, law=self.law, seed=self.seed)
        kept, names, n = decided.kept, pairs.lengths > 0, len(pairs.languages)
        columns = [
            group["uid"],
            pa.array(decided.chances),
            pa.array(kept),
            pc.if_else(pa.array(names), pc.if_else(pa.array(kept), "", "balance_draw"), group["reason"]),
            pa.array(decided.deciding_entries(pairs), mask=~kept),
            pa.array(decided.deciding_draws, mask=np.isnan(decided.deciding_draws)),
        ]
        return _Decided(
            table=pa.table(columns, schema=BALANCED),
            units=decided.units(pairs),
            kept=np.bincount(pairs.language[kept], minlength=n),
            matched=np.bincount(pairs.language[names], minlength=n),
        )

    def explain(self, pairs: MatchedPairs) -> list[dict[str, Any]]:
        """The draw for each entry of the pairs."""
        balanced = balance(pairs, counts=self.pool.counts, thresholds=self.thresholds, law=self.law, seed=self.seed)
        rows: list[dict[str, Any]] = balanced.draws.to_pylist()
        return rows


@dataclass(frozen=True, eq=False, kw_only=True)
class KeptDecisions:
    """Decides row groups and keeps what is decided as parts; key: what that depends on besides the group."""

    judge: Judge
    key: str

    def __call__(self, run: Run, place: MatchGroup) -> StoredPart:
        """The part of a group."""
        parts = PoolParts(ledger=run.ledger, step=STEP, key=self.key)
        if (stored := parts.find(asdict(place))) is not None:
            return stored[0]
        decided = self.judge(run, place)
        sums = pa.table({name: getattr(decided, name) for name in _SUMS})
        return parts.keep(asdict(place), 0, decided.table, is_last=True, sums=sums)


def _watched(decided: Iterable[_Decided], report: _Report) -> Iterator[pa.Table]:
    for decided_group in decided:
        report.add(decided_group)
        yield decided_group.table


def _explained(judge: Judge, row: pa.Table, decision: pa.Table) -> dict[str, Any]:
    pool = judge.pool
    pairs = pool.part(row)
    decided = judge.decide(row).table
    language = int(pairs.language[0])
    entries = [
        {"number": number, "count": int(pool.counts[language, number]), **draw}
        for draws in judge.explain(pairs)
        for number, draw in zip(draws["entries"], draw_rows(draws, _Names(pool.concepts)), strict=True)
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


class _Names(Sequence[str]):
    """Texts of an Arrow array by number, without a list of all."""

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401 - as Sequence has it
        return self._texts[number].as_py()
