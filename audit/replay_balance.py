"""Replay of the two balancing steps: counts summed again, then the pair decided again by the function of the step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc

from evenly.audit.checks.draws import open_balancing
from evenly.audit.explanation import PairHistory, Replay, StepSight
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.balancing import Balanced
from evenly.curation.balance.inputs import BalanceInputs
from evenly.curation.balance.tables import draw_rows

_CLOSE = 1e-9


def replay_draws(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return whether thresholds, probabilities, draws and verdict of a balancing step come out as stored for a pair."""
    record, concepts = build.step(sight.step), build.concepts
    if sight.seed is None or record is None or concepts is None:
        return Replay(label="not replayed", agrees=None, detail="no seed or concepts are stored")
    with open_balancing(build, replace(record, rule=sight.rule, seed=sight.seed)) as balancing:
        facts = balancing.facts(build.each, build.ledger)
        inputs = balancing.inputs(facts, build.around(pair.uid))
    balanced, picked = _decided_alone(inputs, pair.uid)
    stored = sight.rows.get("draws", ())
    computed = [drawn for row in balanced.draws.to_pylist() for drawn in draw_rows(row, concepts)]
    agreed = _compare(computed, stored) or _compare_pick(picked, sight.rows.get("texts", ()))
    if agreed is not None:
        return agreed
    reason, value = str(balanced.decisions.reason[0].as_py()), float(balanced.decisions.value[0].as_py())
    same_verdict = reason == sight.reason and (not reason) == (sight.verdict == "kept")
    agrees = same_verdict and sight.value is not None and abs(value - sight.value) <= _CLOSE
    n_draws = len({row["draw"] for row in computed} - {None})
    draws = {0: "no draw needed", 1: "1 draw made again"}.get(n_draws, f"{n_draws} draws made again")
    detail = f"{draws}, probabilities from {record.rows_in:,} pairs counted again"
    if not agrees:
        detail = f"gives {reason or 'kept'}, P(keep) {value:.6f}"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _decided_alone(inputs: BalanceInputs, uid: str) -> tuple[Balanced, Sequence[Mapping[str, Any]]]:
    """The decision of one pair by the counts of all, and the pick among its picture's texts."""
    row = pc.index(inputs.pairs.uids, uid).as_py()
    pairs, earlier = inputs.pairs, inputs.earlier
    rows, matches = slice(row, row + 1), slice(pairs.ends[row], pairs.ends[row + 1])
    one_pair = replace(
        inputs, pairs=pairs.part(row, row + 1), earlier=None if earlier is None else earlier.part(rows, matches)
    )
    table = None if inputs.picked is None else inputs.picked.to_table()
    picks = [] if table is None else table.filter(pc.equal(table["uid"], uid)).drop(["uid"]).to_pylist()
    return one_pair.decide(), picks


def _compare(computed: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> Replay | None:
    """What differs between draws made and stored; None where they are the same."""
    by_entry = {row["entry"]: row for row in stored}
    if by_entry.keys() != {row["entry"] for row in computed}:
        entries = ", ".join(sorted(str(row["entry"]) for row in computed)) or "none"
        return Replay(label="re-checked", agrees=False, detail=f"the concepts drawn for are {entries}")
    for row in computed:
        entry, stored_row = row["entry"], by_entry[row["entry"]]
        if row["draw"] != stored_row["draw"]:
            drawn = "not needed" if row["draw"] is None else f"{row['draw']:.6f}"
            return Replay(label="recomputed", agrees=False, detail=f"the draw of {entry} is {drawn}")
        if abs(row["p"] - stored_row["p"]) > _CLOSE * row["p"]:
            return Replay(label="re-checked", agrees=False, detail=f"counts give {entry} a probability of {row['p']!r}")
    return None


def _compare_pick(computed: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> Replay | None:
    """Whether the pick among the texts of a picture differs; None where it is the same, or there was none."""
    if list(computed) == list(stored):
        return None
    detail = (
        f"the pick among the picture's texts gives {dict(computed[0])}" if computed else "the picture has no other text"
    )
    return Replay(label="recomputed", agrees=False, detail=detail)
