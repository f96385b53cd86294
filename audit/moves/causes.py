"""Causes of moves between two builds: for each pair, which difference of the builds moved it.

A pair that moved is out at a step of one build, and went past that step in the other. Looked at are, in this order:
1. the step itself: it differs in version, rule, model, seed or what it reads. Where steps before it differ too, the
   older build's pairs are judged by the newer one's rule and seed: what ends as in the newer build the step has moved.
2. the pair: what the step reads of it was given otherwise by a step before. The cause is what differs there.
3. the other pairs: nothing that the step reads of the pair differs, and its verdict depends on all of them, by a
   threshold, a count, a quota or a twin. That is a knock-on, of the differences before the step that have an effect.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import CannotTellError
from evenly.audit.moves.differences import PairColumns, StepDifferences, is_same
from evenly.audit.published import PublishedBuild
from evenly.curation.arrays import Flags
from evenly.curation.collecting import COLLECT
from evenly.curation.errors import CurationError
from evenly.curation.step import ByLedger, caption_in_force, gives
from evenly.curation.steps import STEPS
from evenly.keys import places_in, rows_with
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.removal.forget import FORGOTTEN
from evenly.storage.tables.hashing import table_hash
from evenly.storage.tables.partitions import Partition

NOT_IN_POOL = "not_in_pool"
OTHER = "other_"
"""The beginning of what is said of a pair that is in both builds and reads differently."""
KNOCK_ON, UNEXPLAINED = "knock-on", "unexplained"
_LIMIT = "limit"
_MATCHES = "matches"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """name: pool, data, rule, model, seed, code, forgotten, several joined by " and ", knock-on or unexplained.

    origin: of a knock-on, the names of what it follows from. detail: in words.
    """

    name: str
    detail: str
    origin: str = ""

    @property
    def title(self) -> str:
        """The name, with its origin."""
        return f"{self.name} of {self.origin}" if self.origin else self.name


class Causes:
    """Compares the step runs of two builds, step by step, and finds the cause of each pair's move."""

    def __init__(self, older: PublishedBuild, newer: PublishedBuild) -> None:
        self._older, self._newer = older, newer
        self.steps = StepDifferences(older, newer)
        self._lock, self._effects = RLock(), dict[str, bool]()
        self._rejudged = dict[str, pa.Table | None]()

    def of_pairs(self, step: str, reason: str, uids: pa.Array, columns: PairColumns) -> Iterator[tuple[Cause, Flags]]:
        """The causes of pairs that are out, or read differently, at a step for a reason, each with its pairs (n,).

        columns: of the partition in which they lie.
        """
        left = np.ones(len(uids), np.bool_)
        if reason in (NOT_IN_POOL, FORGOTTEN):
            words = "the pair is not in the pool of that build" if reason == NOT_IN_POOL else "it is on the forget list"
            yield Cause(name="pool" if reason == NOT_IN_POOL else FORGOTTEN, detail=words), left
            return
        differing = self.steps.by_cause(step)
        if step == COLLECT.name and reason == _LIMIT and "rule" not in differing:
            words = f"the limit takes other pairs, since {step}: {'; '.join(differing.values())}"
            yield Cause(name=KNOCK_ON, origin=" and ".join(differing), detail=words), left
            return
        if differing and (step not in self.steps.older or step not in self.steps.newer or not self._origins(step)):
            yield _joined(differing), left
            return
        readings = self._given_otherwise(step, uids, columns)
        if differing:
            is_changed = np.logical_or.reduce([~left, *(rows for _, _, rows in readings)])
            by_step, unknown = self._by_step(step, reason, uids, ~is_changed)
            yield _joined(differing), by_step
            yield self._not_told_apart(step, differing), unknown
            left = ~(by_step | unknown)
        yield from self._of_read(step, uids, readings, left, columns)

    def _not_told_apart(self, step: str, differing: Mapping[str, str]) -> Cause:
        """The cause of pairs that a step or what differs before it moved: one, where that is the same difference."""
        upstream = self._before(step)
        if upstream == differing:
            return _joined(differing)
        joint = {**differing, **upstream, **differing}  # the own ones first
        return replace(_joined(joint), detail=f"not told apart: {_joined(differing).detail}; {self._words(step)}")

    def _of_read(
        self, step: str, uids: pa.Array, readings: "Sequence[Reading]", left: Flags, columns: PairColumns
    ) -> Iterator[tuple[Cause, Flags]]:
        """The causes of the pairs `left`, of which a step that differs in nothing reads, or decides, otherwise."""
        for giver, column, rows in readings:
            chosen = rows & left
            if not chosen.any():
                continue
            of_them, differing = uids.filter(pa.array(chosen)), self.steps.by_cause(giver)
            everything = np.ones(len(of_them), np.bool_)
            causes: Iterator[tuple[Cause, Flags]] = iter([(_joined(differing), everything)])
            if not differing:
                further = self._given_otherwise(giver, of_them, columns)
                causes = self._of_read(giver, of_them, further, everything, columns)
            for cause, caused in causes:
                placed = chosen.copy()
                placed[chosen] = caused
                yield replace(cause, detail=f"{giver} gave it another {column}: {cause.detail}"), placed
            left = left & ~chosen
        yield self._knock_on(step), left

    def _by_step(self, step: str, reason: str, uids: pa.Array, is_alike: Flags) -> tuple[Flags, Flags]:
        """The pairs (n,) that a step's own difference moves, where steps before it differ too; those not known of.

        is_alike: of these it reads the same in both builds.
        """
        certain = is_alike if not _is_of_all(self.steps.newer[step]) else np.zeros(len(uids), np.bool_)
        rejudged = None if reason.startswith(OTHER) else self._judged_alone(step)
        if rejudged is None:
            return certain, ~certain
        moves = rejudged["moves"].combine_chunks().take(places_in(uids, rejudged["uid"])).to_numpy(zero_copy_only=False)
        return certain | moves, np.zeros(len(uids), np.bool_)

    def _judged_alone(self, step: str) -> pa.Table | None:
        """Whether pairs of the older build [uid, moves] end otherwise by the newer rule and seed; None: not known."""
        from evenly.audit.what_if import judged_alone

        with self._lock:
            if step not in self._rejudged:
                a, b = self.steps.older[step], self.steps.newer[step]
                self._rejudged[step] = None
                if step in STEPS and a.model == b.model and self.steps.own_inputs(a) == self.steps.own_inputs(b):
                    with suppress(CannotTellError, CurationError, TypeError, KeyError):  # a rule of another time
                        rejudged, stored = judged_alone(self._older, a, b), self._older.ledger.decisions(a, ["verdict"])
                        moves = ~_equal(rejudged["verdict"].combine_chunks(), stored["verdict"].combine_chunks())
                        self._rejudged[step] = pa.table({"uid": rejudged["uid"], "moves": moves})
            return self._rejudged[step]

    def _given_otherwise(self, step: str, uids: pa.Array, columns: PairColumns) -> "list[Reading]":
        """The pairs (n,) of which a step reads otherwise in the two builds: who gave that first, and which column."""
        upstreams = [_before(build, step) for build in (self._older, self._newer)]
        if "draws" in self.steps.newer[step].hashes:
            return self._matched_otherwise(upstreams, uids, columns)
        readings = list[Reading]()
        for names in _columns_read(step, (self.steps.older[step], self.steps.newer[step]), upstreams):
            givers = [
                next(record for record in reversed(upstream) if name in record.columns)
                for upstream, name in zip(upstreams, names, strict=True)
            ]
            if (
                names[0] == names[1]
                and givers[0].name == givers[1].name
                and is_same(givers[0], givers[1], columns.part)
            ):
                continue
            values = [columns.read(giver, name, uids) for giver, name in zip(givers, names, strict=True)]
            if (differs := ~_equal(*values)).any():
                readings.append((max((giver.name for giver in givers), key=self.steps.order.index), names[1], differs))
        return sorted(readings, key=lambda item: self.steps.order.index(item[0]))

    def _matched_otherwise(
        self, upstreams: Sequence[Sequence[StepRecord]], uids: pa.Array, columns: PairColumns
    ) -> "list[Reading]":
        """The pairs whose concepts are others, for a step that draws by these."""
        givers = [
            next((record for record in reversed(upstream) if _MATCHES in record.hashes), None) for upstream in upstreams
        ]
        if givers[0] is None or givers[1] is None or givers[0].hashes[_MATCHES] == givers[1].hashes[_MATCHES]:
            return []
        rows = [
            _concepts(columns, giver, upstream, uids)
            for giver, upstream in zip(givers, upstreams, strict=True)
            if giver
        ]
        old, new = (dict(zip(*(table[name].to_pylist() for name in ("uid", "entries")), strict=True)) for table in rows)
        differs = np.array([old.get(uid) != new.get(uid) for uid in uids.to_pylist()], np.bool_)
        return [(givers[1].name, "concepts", differs)] if differs.any() else []

    def _knock_on(self, step: str) -> Cause:
        """The cause of pairs that a step moved although nothing differs of them."""
        origins = self._origins(step)
        if not origins or not _is_of_all(self.steps.newer.get(step) or self.steps.older.get(step)):
            detail = "nothing that is recorded of the step and the pair explains it"
            return Cause(name=UNEXPLAINED, detail=f"{detail}. Before it: {self._words(step)}" if origins else detail)
        origin = " and ".join(self._before(step))
        return Cause(name=KNOCK_ON, origin=origin, detail=f"{self._shifted(step)}{self._words(step)}")

    def _shifted(self, step: str) -> str:
        """The threshold of all pairs, where a step notes it and it is another now."""
        old, new = (records[step].notes.get("threshold") for records in (self.steps.older, self.steps.newer))
        if not isinstance(old, float) or not isinstance(new, float) or old == new:
            return "decided with other pairs than before, since "
        return f"threshold of all pairs {old:.6g} -> {new:.6g}, since "

    def _before(self, step: str) -> dict[str, str]:
        """What differs at the steps before one, with an effect: cause -> words."""
        return {cause: words for name in self._origins(step) for cause, words in self.steps.by_cause(name).items()}

    def _words(self, step: str) -> str:
        """The differences before a step, in words: those of several steps that are the same once."""
        steps: dict[str, list[str]] = {}
        for name in self._origins(step):
            steps.setdefault("; ".join(self.steps.by_cause(name).values()), []).append(name)
        return ". ".join(f"{', '.join(names)}: {words}" for words, names in steps.items())

    def _origins(self, step: str) -> list[str]:
        """The steps before one that differ; of several those whose difference has an effect on pairs of both builds."""
        names = self.steps.order[: self.steps.order.index(step)] if step in self.steps.order else self.steps.order
        differing = [name for name in names if self.steps.by_cause(name)]
        if len(differing) < 2:
            return differing
        return [name for name in differing if self._has_effect(name)] or differing

    def _has_effect(self, step: str) -> bool:
        """Whether a step's own difference moves or changes a pair that both builds give it."""
        with self._lock:
            if step not in self._effects:
                self._effects[step] = self._effect(step)
            return self._effects[step]

    def _effect(self, step: str) -> bool:
        a, b = self.steps.older.get(step), self.steps.newer.get(step)
        if a is None or b is None or "decisions" not in a.hashes:
            return True
        if step == COLLECT.name or a.hashes == b.hashes:
            return a.hashes != b.hashes
        bits = min(build.deciding[0].bits for build in (self._older, self._newer))
        parts = (Ledger(self._older.workspace, part=part) for part in Partition.all(bits))
        if not any(_differs_on_common(ledger, a, b) for ledger in parts):
            return False
        if not _is_of_all(b) or (rejudged := self._judged_alone(step)) is None:
            return True
        return bool(pc.any(rejudged["moves"]).as_py())


Reading = tuple[str, str, Flags]
"""A step, the column that it gave, and the pairs (n,) that it gave another value than in the older build."""


def _joined(differences: Mapping[str, str]) -> Cause:
    return Cause(name=" and ".join(differences), detail="; ".join(differences.values()))


def _before(build: PublishedBuild, step: str) -> Sequence[StepRecord]:
    names = [record.name for record in build.records]
    return build.records[: names.index(step)]


def _is_of_all(record: StepRecord | None) -> bool:
    """Whether a step's verdicts depend on other pairs; of one that this version does not know, it is taken so."""
    judgement = None if record is None else STEPS.get(record.name)
    if judgement is None or record is None:
        return True
    rejudge = judgement.rejudge
    if rejudge is None or (isinstance(rejudge, ByLedger) and not rejudge.has_facts):
        return judgement.grouped(record.rule)
    return True


def _columns_read(
    step: str, records: tuple[StepRecord, StepRecord], upstreams: Sequence[Sequence[StepRecord]]
) -> list[tuple[str, str]]:
    """The columns of a pair that a step reads, by their names in the two builds.

    Of a step that does not say which: picture, caption and source, and those that its rule names.
    """
    judgement = STEPS.get(step)
    names = list[list[str]]()
    for record, upstream in zip(records, upstreams, strict=True):
        try:
            rule = None if judgement is None else judgement.stored_rule(record.rule)
            reads = None if judgement is None else judgement.measured_of or judgement.reads
            read = None if reads is None else list(reads(upstream, rule))
        except (CurationError, TypeError, KeyError):  # a rule of another time
            rule = read = None
        content = [*caption_in_force(upstream, rule), "image_id", "source"]
        names.append([*content, *_named_columns(rule)] if read is None else read)
    pairs = dict.fromkeys(zip(*names, strict=False))
    return [pair for pair in pairs if gives(upstreams[0], pair[0]) and gives(upstreams[1], pair[1])]


def _named_columns(rule: object) -> list[str]:
    """The columns that the rule of a step names, which keeps pairs by values or caps them."""
    values, capped = getattr(rule, "columns", None), getattr(rule, "column", None)
    return [*(values if isinstance(values, list) else ()), *([capped] if isinstance(capped, str) else ())]


def _concepts(columns: PairColumns, giver: StepRecord, upstream: Sequence[StepRecord], uids: pa.Array) -> pa.Table:
    """The concepts of pairs [uid, entries], by their names."""
    rows = rows_with(columns.table(giver, _MATCHES, "uid", "entries"), uids).combine_chunks()
    listing = next((record for record in upstream if "concepts" in record.hashes), None)
    if listing is None:
        return rows
    words = columns.table(listing, "concepts", "entry")["entry"].combine_chunks()
    entries = rows["entries"].combine_chunks()
    named = pa.ListArray.from_arrays(entries.offsets, words.take(entries.values))  # offsets are into all values
    return pa.table({"uid": rows["uid"].combine_chunks(), "entries": named})


def _differs_on_common(ledger: Ledger, a: StepRecord, b: StepRecord) -> bool:
    """Whether two runs of a step say otherwise of a pair that both judged."""
    if a.hashes["decisions"] == b.hashes["decisions"] and a.hashes == b.hashes:
        return False
    old, new = ledger.decisions(a), ledger.decisions(b)
    common = old["uid"].combine_chunks().filter(places_in(old["uid"], new["uid"]).is_valid())
    columns = [name for name in old.column_names if name in new.column_names]
    tables = [rows_with(table, common).select(columns) for table in (old, new)]
    if set(old.column_names) != set(new.column_names) or table_hash(tables[0]) != table_hash(tables[1]):
        return True
    if _MATCHES not in a.hashes or _MATCHES not in b.hashes:
        return False
    rows = [rows_with(ledger.table(record, _MATCHES), common) for record in (a, b)]
    return table_hash(rows[0]) != table_hash(rows[1])


def _equal(first: pa.Array, second: pa.Array) -> Flags:
    """Equal, where two nulls are."""
    both_null = pc.and_(pc.is_null(first), pc.is_null(second))
    try:
        equal = pc.equal(first, second)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, or other types than before
        return np.array([x == y for x, y in zip(first.to_pylist(), second.to_pylist(), strict=True)], np.bool_)
    return np.asarray(pc.or_(pc.fill_null(equal, False), both_null).to_numpy(zero_copy_only=False))
