"""A build as it would be by other rules, in numbers and pair by pair: what `what_if.suppose` gives."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import UnknownSampleError
from evenly.audit.explanation import Explanation
from evenly.audit.overlay import Overlay
from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.steps import STEPS
from evenly.keys import places_in
from evenly.storage.ledger import Ledger, StepRecord

EXAMPLES = 10
ENTER, LEAVE, UNKNOWN = "enter", "leave", "unknown"
MOVES = (ENTER, LEAVE, UNKNOWN)
"""Moves of a pair: it comes into the build, goes out of it, or nothing is known of it at a step."""


@dataclass(frozen=True, kw_only=True)
class OpenStep:
    """A step whose verdicts on known pairs are not certain: `pairs` unknown ones might be judged with them.

    moved: how many known pairs may leave for that, and how many may come back; None: that is not bounded. fitted: what
    the step fits to all pairs, and is that of the build here.
    """

    step: str
    pairs: int
    moved: tuple[int, int] | None = None
    fitted: str = ""

    def to_text(self) -> str:
        """The step and what is not certain, as a sentence."""
        if self.fitted:
            return (
                f"{self.step}: {self.fitted} are those of the build; a rebuild fits them to the pairs that come then."
            )
        bounds = "which is not bounded"
        if self.moved is not None:
            bounds = f"by which at most {self.moved[0]:,} known pairs leave and {self.moved[1]:,} come back"
        return f"{self.step}: {self.pairs:,} unknown pairs may be judged with the known ones, {bounds}."


@dataclass(frozen=True, kw_only=True, eq=False)
class WhatIf:
    """A build as it would be by other rules.

    rules: by step, the fields that differ. steps: of each the pairs that it kept and would keep, and those that are
    unknown there. fates: the pairs whose end is another: uid, move (enter, leave, unknown, or "" where they go for
    another reason), and step and reason where each ended and would end, null where it is kept. open_steps: where that
    is not certain. balancing: of the last step that balances, by "before" and "after".
    """

    published: PublishedBuild
    rules: Mapping[str, Sequence[str]]
    kept: Mapping[str, int]
    steps: Sequence[Mapping[str, Any]]
    fates: pa.Table
    open_steps: Sequence[OpenStep]
    balancing: Mapping[str, Mapping[str, Any] | None]
    ledger: Overlay
    records: Sequence[StepRecord]

    @classmethod
    def of(
        cls,
        build: PublishedBuild,
        laid: tuple[Overlay, Sequence[StepRecord]],
        *,
        rules: Mapping[str, Sequence[str]],
        unknown: Mapping[str, pa.Array],
        open_steps: Sequence[OpenStep],
    ) -> Self:
        """The differences between a build and the same by other rules, `laid` over its ledger."""
        ledger, records = laid
        uids = ledger.decisions(records[0], ["uid"])["uid"].combine_chunks()
        ended = {"before": _ended(build.ledger, build.deciding), "after": _ended(ledger, records, unknown)}
        places = {side: places_in(uids, table["uid"]) for side, table in ended.items()}
        fates = pa.table(
            {"uid": uids}
            | {
                f"{side}_{end}": table[end].combine_chunks().take(places[side])
                for side, table in ended.items()
                for end in _ENDS
            }
        )
        ended_at, ends_at = (fates[f"{side}_step"].combine_chunks() for side in ended)
        is_unknown = pc.fill_null(pc.equal(fates["after_reason"].combine_chunks(), UNKNOWN), False)
        comes, goes = (
            pc.and_(out.is_valid(), kept.is_null()) for out, kept in ((ended_at, ends_at), (ends_at, ended_at))
        )
        move = pc.if_else(is_unknown, UNKNOWN, pc.if_else(comes, ENTER, pc.if_else(goes, LEAVE, "")))
        differs = pc.not_equal(*(_joined(fates, side) for side in ended))
        kept_before, kept_after = _kept(build.ledger, build.deciding), _kept(ledger, records)
        return cls(
            published=build,
            rules=rules,
            kept={"before": ended_at.null_count, "after": ends_at.null_count},
            steps=[
                {
                    "step": name,
                    "before": kept_before.get(name),
                    "after": kept_after.get(name),
                    "unknown": len(unknown.get(name, ())),
                }
                for name in STEPS
                if name in kept_before or name in kept_after
            ],
            fates=fates.append_column("move", move).filter(differs),
            open_steps=open_steps,
            balancing={"before": _balanced(build.ledger, build.deciding), "after": _balanced(ledger, records)},
            ledger=ledger,
            records=records,
        )

    @property
    def build(self) -> str:
        """The id of the build."""
        return self.published.name

    @property
    def unknown(self) -> int:
        """The number of pairs of which a step would know nothing."""
        return sum(int(step["unknown"]) for step in self.steps)

    @property
    def stops(self) -> str | None:
        """The step at which a rebuild would stop, since no pair is left; None where there is none."""
        return next((str(row["step"]) for row in self.steps if row["after"] == 0 and not row["unknown"]), None)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """How many pairs are kept at least and at most, whatever is unknown; None where that is not bounded."""
        kept, moved = self.kept["after"], [step.moved for step in self.open_steps]
        if len(moved) > 1 or None in moved:
            return None
        leave, back = moved[0] or (0, 0) if moved else (0, 0)
        return max(kept - leave, 0), kept + back + self.unknown

    def moves(self, move: str) -> list[dict[str, Any]]:
        """How many pairs make a move, by step and reason: of those that enter, where they had ended."""
        side = "before" if move == ENTER else "after"
        rows = self.fates.filter(pc.equal(self.fates["move"], move)).select([f"{side}_{end}" for end in _ENDS])
        counted = rows.rename_columns(_ENDS).group_by([*_ENDS]).aggregate([([], "count_all")])
        order = {step["step"]: place for place, step in enumerate(self.steps)}
        groups = counted.rename_columns([*_ENDS, "pairs"]).to_pylist()
        return sorted(groups, key=lambda row: (order[row["step"]], -row["pairs"], row["reason"]))

    def examples(self, move: str, n: int = EXAMPLES) -> list[dict[str, Any]]:
        """The first pairs by uid, which is a hash, that make a move."""
        rows: list[dict[str, Any]] = self.fates.filter(pc.equal(self.fates["move"], move)).slice(0, n).to_pylist()
        return rows

    def pair(self, uid: str) -> list[dict[str, Any]]:
        """A pair by each step: step, verdict, reason, value; to where it ends or is unknown."""
        rows = list[dict[str, Any]]()
        for record in self.records:
            judged = self.ledger.decisions(record, ["verdict", "reason", "value"], pc.field("uid") == uid).to_pylist()
            if not judged:
                unknown = bool(rows) and rows[-1]["verdict"] == "kept"
                rows += [{"step": record.name, "verdict": UNKNOWN, "reason": UNKNOWN, "value": None}] if unknown else []
                break
            rows.append({"step": record.name, **judged[0]})
            if judged[0]["verdict"] != "kept":
                break
        if not rows:
            raise UnknownSampleError(f"`sample` must be a pair of build `{self.build}`; got `{uid}`.")
        return rows

    def history(self, explanation: Explanation) -> "SupposedHistory":
        """The answer to `why`, and the fate of each of its pairs by the other rules."""
        pairs = {pair.uid: self.pair(pair.uid) for pair in explanation.pairs if pair.uid and pair.steps}
        return SupposedHistory(explanation=explanation, pairs=pairs)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the pairs, as JSON has it; `examples` by move."""
        bounds = None if self.bounds is None else dict(zip(("least", "most"), self.bounds, strict=True))
        return {
            "build": self.build,
            "rules": dict(self.rules),
            "kept": {**self.kept, "bounds": bounds},
            "steps": list(self.steps),
            **{move: self.moves(move) for move in MOVES},
            "stops": self.stops,
            "not_certain": [{**asdict(step), "words": step.to_text()} for step in self.open_steps],
            "balancing": dict(self.balancing),
            "examples": {move: self.examples(move) for move in MOVES},
        }


@dataclass(frozen=True, kw_only=True)
class SupposedHistory:
    """The answer to `why`, and by uid what each step would say of its pairs by other rules."""

    explanation: Explanation
    pairs: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def agrees(self) -> bool:
        """Whether no replay gives something else than what is stored."""
        return self.explanation.agrees

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON has it, with `what_if`."""
        return self.explanation.to_dict() | {"what_if": dict(self.pairs)}

    def to_text(self, *, verbose: bool = False) -> str:
        """The answer as text, and a line for each pair."""
        lines = [self.explanation.to_text(verbose=verbose)]
        for uid, steps in self.pairs.items():
            last = steps[-1]
            words = _ENDED_BY[last["verdict"]].format(last["step"])
            reason = f" ({visible(last['reason'])})" if last["verdict"] not in {"kept", UNKNOWN} else ""
            lines.append(f"what if: {uid} {words}{reason}")
        return "\n".join(lines)


_ENDED_BY = {
    "kept": "would be in the build",
    "dropped": "would be dropped by `{}`",
    "failed": "would fail at `{}`",
    "merged": "would be merged into another by `{}`",
    UNKNOWN: "is unknown at `{}`, which would have to look at it",
}
_ENDS = ("step", "reason")


def _ended(ledger: Ledger, records: Sequence[StepRecord], unknown: Mapping[str, pa.Array] | None = None) -> pa.Table:
    """Where each pair that is not kept ended: uid, step, reason."""
    tables = [pa.table({name: pa.array([], pa.string()) for name in ("uid", *_ENDS)})]
    is_gone = pc.field("verdict") != "kept"
    for record in records:
        rows = ledger.decisions(record, ["uid", "reason"], is_gone)
        tables.append(pa.table({"uid": rows["uid"], "step": _all(record.name, len(rows)), "reason": rows["reason"]}))
    for name, uids in (unknown or {}).items():
        tables.append(pa.table({"uid": uids, "step": _all(name, len(uids)), "reason": _all(UNKNOWN, len(uids))}))
    return pa.concat_tables(tables)


def _all(word: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(word), n)


def _joined(fates: pa.Table, side: str) -> pa.Array:
    return pc.binary_join_element_wise(*(pc.fill_null(fates[f"{side}_{end}"], "") for end in _ENDS), " ")


def _kept(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, int]:
    """How many pairs each step keeps."""
    is_kept = pc.field("verdict") == "kept"
    return {record.name: ledger.decisions(record, ["uid"], is_kept).num_rows for record in records}


def _balanced(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, Any] | None:
    """Of the last step that balances: thresholds by language, pairs expected to stay, the tail's share of what stays.

    The tail are the concepts that are not thinned out.
    """
    record = next((step for step in reversed(records) if "draws" in step.hashes), None)
    if record is None:
        return None
    thresholds = ledger.table(record, "thresholds", ["language", "t", "expected"])
    counts = ledger.table(record, "counts", ["after", "p"])
    matches = pc.sum(counts["after"]).as_py() or 0
    of_tail = pc.sum(counts.filter(pc.greater_equal(counts["p"], 1.0))["after"]).as_py() or 0
    return {
        "step": record.name,
        "t": dict(zip(thresholds["language"].to_pylist(), thresholds["t"].to_pylist(), strict=True)),
        "expected": round(pc.sum(thresholds["expected"]).as_py() or 0.0, 3),
        "tail_share": round(of_tail / matches, 6) if matches else None,
    }
