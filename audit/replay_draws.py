"""Replay of the two balancing steps: counts summed again, probabilities and draws made again, the verdict compared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.explanation import PairHistory, Replay, StepSight
from audit.published import PublishedBuild
from curation.balancing import STEP, count_entries, entry_probabilities
from curation.draws import draw

_CLOSE = 1e-9


def replay_draws(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return whether counts, probabilities, draws and verdict of a balancing step come out as stored for a pair.

    The threshold t is taken as stored where the rule asks for a tail share or a target instead of naming it.
    """
    rows = sight.rows.get("draws", ())
    if sight.seed is None or not rows:
        return Replay(label="not replayed", agrees=None, detail="no draws are stored for this pair")
    redrawn = [draw(seed=sight.seed, step=STEP, uid=pair.uid, entry=row["entry"]) for row in rows]
    wrong = [row["entry"] for row, number in zip(rows, redrawn, strict=True) if number != row["draw"]]
    if wrong:
        return Replay(label="recomputed", agrees=False, detail=f"draws differ for {', '.join(wrong)}")
    expected = _probabilities(build, pair, sight, [str(row["entry"]) for row in rows])
    stored = [row["p"] for row in rows]
    if expected is not None and not np.allclose(expected, stored, rtol=_CLOSE, atol=0):
        return Replay(label="re-checked", agrees=False, detail=f"counts give probabilities {expected}")
    passed = any(number < p for number, p in zip(redrawn, stored, strict=True))
    keep = 1 - math.prod(1 - p for p in stored)
    agrees = passed == (sight.verdict == "kept") and (sight.value is None or abs(keep - sight.value) <= _CLOSE)
    if not agrees:
        detail = f"draws and probabilities give {'kept' if passed else 'dropped'}, P(keep) {keep:.4f}"
        return Replay(label="recomputed", agrees=False, detail=detail)
    source = "stored probabilities" if expected is None else "probabilities from matches counted again"
    draws = "1 draw" if len(rows) == 1 else f"{len(rows)} draws"
    return Replay(label="recomputed", agrees=True, detail=f"{draws}, P(keep) {keep:.4f} and the verdict, {source}")


def _probabilities(
    build: PublishedBuild, pair: PairHistory, sight: StepSight, entries: Sequence[str]
) -> list[float] | None:
    """The probability of each entry of a pair, from matches counted again; None where they are not stored."""
    t, concepts = sight.notes.get("t"), build.concepts
    matches = _matches(build, sight.step)
    if t is None or concepts is None or matches is None:
        return None
    uids, lists = matches
    weights = _weights(build, uids) if sight.step == "balance" else None
    threshold = float(t) * float(sight.notes.get("headroom", 1.0) if sight.step == "preselect" else 1.0)
    found = entry_probabilities(count_entries(lists, len(concepts), weights), threshold)
    numbers = {entry: number for number, entry in enumerate(concepts)}
    caps = _caps(pair) if sight.step == "balance" else {}
    return [min(float(found[numbers[entry]]), caps.get(entry, 1.0)) for entry in entries]


def _matches(build: PublishedBuild, step: str) -> tuple[pa.Array, pa.ListArray] | None:
    """The pairs that a balancing step judged, and the entries that each matched by then."""
    record = build.step(step)
    again = build.table("match_again", "matches") if step == "balance" else None
    table = again if again is not None else build.table("match_concepts", "matches")
    if record is None or table is None:
        return None
    uids = build.ledger.decisions(record, ["uid"])["uid"].combine_chunks()
    return uids, table["entries"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks()))


def _weights(build: PublishedBuild, uids: pa.Array) -> Any:  # noqa: ANN401 - an array of doubles, or None
    """1 / P(keep) of each pair in the preselection; None where there was none."""
    record = build.step("preselect")
    if record is None:
        return None
    table = build.ledger.decisions(record, ["uid", "value"])
    return 1.0 / table["value"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks())).to_numpy()


def _caps(pair: PairHistory) -> Mapping[str, float]:
    """The probabilities of the preselection, above which those of the balance may not rise."""
    sights = [sight for sight in pair.steps if sight.step == "preselect"]
    return {row["entry"]: row["p"] for sight in sights for row in sight.rows.get("draws", ())}
