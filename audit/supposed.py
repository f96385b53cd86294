"""A build as it would be by other rules, in numbers and pair by pair: what `what_if.suppose` gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import UnknownSampleError
from evenly.audit.explanation import Explanation
from evenly.audit.overlay import Overlay
from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.balance.data_card import summed_balancing
from evenly.curation.steps import STEPS
from evenly.curation.supposed import (
    MOVES,
    UNKNOWN,
    OpenStep,
    compared_ends,
    counted_moves,
    end_otherwise,
    ended_pairs,
    kept_bounds,
)
from evenly.storage.ledger import Ledger, StepRecord

EXAMPLES = 10


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
        recorded = ended_pairs(_dropped(build.ledger, build.deciding), {})
        ends = compared_ends(uids, recorded, ended_pairs(_dropped(ledger, records), unknown))
        kept_before, kept_after = _kept(build.ledger, build.deciding), _kept(ledger, records)
        return cls(
            published=build,
            rules=rules,
            kept={side: ends[f"{side}_step"].null_count for side in ("before", "after")},
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
            fates=end_otherwise(ends),
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
        """The least and the most pairs that are kept, whatever is unknown; None where that is not bounded."""
        return kept_bounds(self.kept["after"], self.unknown, self.open_steps)

    def moves(self, move: str) -> list[dict[str, Any]]:
        """The number of pairs that make a move, by step and reason: of those that enter, where they had ended."""
        return counted_moves(self.fates, move, [str(step["step"]) for step in self.steps])

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


def _dropped(ledger: Ledger, records: Sequence[StepRecord]) -> Iterator[tuple[str, pa.Table]]:
    for record in records:
        yield record.name, ledger.decisions(record, ["uid", "reason"], pc.field("verdict") != "kept")


def _kept(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, int]:
    """The number of pairs that each step keeps."""
    is_kept = pc.field("verdict") == "kept"
    return {record.name: ledger.decisions(record, ["uid"], is_kept).num_rows for record in records}


def _balanced(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, Any] | None:
    """The last step that balances, as `summed_balancing` says it; None where none does."""
    record = next((step for step in reversed(records) if "draws" in step.hashes), None)
    if record is None:
        return None
    thresholds = ledger.table(record, "thresholds", ["language", "t", "expected"])
    return {"step": record.name} | summed_balancing(thresholds, ledger.table(record, "counts", ["after", "p"]))
