"""Replay of the two balancing steps: counts summed again, then the pair decided again by the function of the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.explanation import PairHistory, Replay, StepSight
from audit.published import PublishedBuild
from curation.balancing import balance, count_entries

_CLOSE = 1e-9


def replay_draws(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return whether draws, probabilities and verdict of a balancing step come out as stored for a pair.

    The threshold t is taken as stored where the rule asks for a tail share or a target instead of naming it.
    """
    rows, t, matches = sight.rows.get("draws", ()), sight.notes.get("t"), _matches(build, sight.step)
    if sight.seed is None or t is None or not rows or matches is None:
        return Replay(label="not replayed", agrees=None, detail="no draws, threshold or matches are stored")
    concepts, uids, lists = matches
    first = sight.step == "preselect"
    counts = count_entries(lists, len(concepts), None if first else _weights(build, uids))
    found = balance(
        [pair.uid],
        lists.filter(pc.equal(uids, pair.uid)),
        concepts,
        t=float(t) * float(sight.notes.get("headroom", 1.0)) if first else float(t),
        seed=sight.seed,
        stayed=None if first else _stayed(pair),
        caps=None if first else _caps(pair),
        counts=counts,
    )
    agreed = _compare(found.draws.to_pylist(), rows)
    if agreed is not None:
        return agreed
    kept, value = bool(found.decisions.kept[0].as_py()), float(found.decisions.value[0].as_py())
    agrees = kept == (sight.verdict == "kept") and sight.value is not None and abs(value - sight.value) <= _CLOSE
    draws = "1 draw" if len(rows) == 1 else f"{len(rows)} draws"
    detail = f"{draws} made again, probabilities from {len(uids):,} pairs counted again"
    if not agrees:
        detail = f"gives {'kept' if kept else 'dropped'}, P(keep) {value:.6f}"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _compare(made: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> Replay | None:
    """What differs between draws made and stored; None where they are the same."""
    by_entry = {row["entry"]: row for row in stored}
    if by_entry.keys() != {row["entry"] for row in made}:
        entries = ", ".join(sorted(str(row["entry"]) for row in made))
        return Replay(label="re-checked", agrees=False, detail=f"the matched concepts are {entries}")
    for row in made:
        entry, held = row["entry"], by_entry[row["entry"]]
        if row["draw"] != held["draw"]:
            return Replay(label="recomputed", agrees=False, detail=f"the draw of {entry} is {row['draw']:.6f}")
        if abs(row["p"] - held["p"]) > _CLOSE * row["p"]:
            return Replay(label="re-checked", agrees=False, detail=f"counts give {entry} a probability of {row['p']!r}")
    return None


def _matches(build: PublishedBuild, step: str) -> tuple[list[str], pa.Array, pa.ListArray] | None:
    """All concepts, the pairs that a balancing step judged, and the entries that each matched by then."""
    record, concepts = build.step(step), build.concepts
    again = build.table("match_again", "matches") if step == "balance" else None
    table = again if again is not None else build.table("match_concepts", "matches")
    if record is None or table is None or concepts is None:
        return None
    uids = build.ledger.decisions(record, ["uid"])["uid"].combine_chunks()
    return concepts, uids, table["entries"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks()))


def _weights(build: PublishedBuild, uids: pa.Array) -> Any:  # noqa: ANN401 - an array of doubles, or None
    """1 / P(keep) of each pair in the preselection; None where there was none."""
    record = build.step("preselect")
    if record is None:
        return None
    table = build.ledger.decisions(record, ["uid", "value"])
    return 1.0 / table["value"].combine_chunks().take(pc.index_in(uids, table["uid"].combine_chunks())).to_numpy()


def _stayed(pair: PairHistory) -> Any:  # noqa: ANN401 - an array of one double, or None
    """P(keep) of the pair in the preselection; None where there was none."""
    values = [sight.value for sight in pair.steps if sight.step == "preselect"]
    return np.array(values, dtype=np.float64) if values else None


def _caps(pair: PairHistory) -> dict[tuple[str, str], float]:
    """The probabilities of the preselection, above which those of the balance may not rise."""
    sights = [sight for sight in pair.steps if sight.step == "preselect"]
    return {(pair.uid, row["entry"]): row["p"] for sight in sights for row in sight.rows.get("draws", ())}
