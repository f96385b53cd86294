"""Preselect before the download, and balance at the end, by the same draws."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balancing import (
    Balanced,
    balance,
    count_entries,
    match_limits,
    preselect,
    tail_share,
    threshold_for_tail,
    threshold_for_target,
)
from storage.ledger import StepOutput
from tasks.concepts import record_named
from tasks.run import Run
from tasks.step import Records, Rule, Step

Floats = npt.NDArray[np.float64]


def preselect_pairs(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Drop what the balance would drop anyway, with headroom for losses on the way: value is P(stay)."""
    uids, matches, entries = _matched(run, before, "match_concepts")
    t = _threshold(rule, matches, count_entries(matches, len(entries)))
    found = preselect(uids, matches, entries, t=t, headroom=rule["headroom"], seed=run.seed)
    return StepOutput(
        decisions=found.decisions.to_table(pa.array(uids)),
        tables={"draws": found.draws},
        notes={"t": t, "headroom": rule["headroom"]},
    )


def balance_pairs(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Balance the survivors: counts estimate the pool's, so survivors weigh by the inverse of P(stay) before."""
    uids, matches, entries = _matched(run, before, "match_again")
    stayed, caps = _preselection(run, before, uids)
    weights = None if stayed is None else 1.0 / stayed
    counts = count_entries(matches, len(entries), weights)
    limits = None if caps is None else match_limits(uids, matches, entries, caps)
    t = _threshold(rule, matches, counts, weights, limits)
    found = balance(uids, matches, entries, t=t, seed=run.seed, stayed=stayed, caps=caps)
    table = _card(found, matches, entries, counts)
    notes = {"t": t, "tail_share": tail_share(counts, t), "expected": round(found.expected, 3)}
    return StepOutput(
        decisions=found.decisions.to_table(pa.array(uids)), tables={"draws": found.draws, "counts": table}, notes=notes
    )


def _matched(run: Run, before: Records, step: str) -> tuple[list[str], pa.Array, list[str]]:
    """Uids of the pairs, the entries that each matches, and all entries' texts."""
    uids = run.ledger.alive(before, [])["uid"].combine_chunks()
    table = run.ledger.table(record_named(before, step), "matches")
    at = pc.index_in(uids, table["uid"].combine_chunks())
    entries = run.ledger.table(record_named(before, "match_concepts"), "concepts", ["entry"])["entry"].to_pylist()
    return uids.to_pylist(), table["entries"].combine_chunks().take(at), entries


def _preselection(
    run: Run, before: Records, uids: list[str]
) -> tuple[Floats | None, dict[tuple[str, str], float] | None]:
    """P(stay) of each pair in the preselection, and its probability per (uid, entry); None where there was none."""
    records = [record for record in before if record.name == "preselect"]
    if not records:
        return None, None
    decisions = run.ledger.decisions(records[0], ["uid", "value"])
    at = pc.index_in(pa.array(uids, pa.string()), decisions["uid"].combine_chunks())
    draws = run.ledger.table(records[0], "draws", ["uid", "entry", "p"])
    draws = draws.filter(pc.is_in(draws["uid"], pa.array(uids, pa.string())))
    keys = zip(draws["uid"].to_pylist(), draws["entry"].to_pylist(), strict=True)
    caps = dict(zip(keys, draws["p"].to_pylist(), strict=True))
    return decisions["value"].take(at).to_numpy(), caps


def _threshold(
    rule: Rule, matches: pa.Array, counts: Floats, weights: Floats | None = None, limits: Floats | None = None
) -> float:
    if "t" in rule:
        return float(rule["t"])
    if "tail_share" in rule:
        return threshold_for_tail(counts, rule["tail_share"])
    return threshold_for_target(matches, counts, rule["target"], weights=weights, limits=limits)


def _card(found: Balanced, matches: pa.Array, entries: list[str], counts: Floats) -> pa.Table:
    """Counts per concept that occurs: before, weighted (an estimate of the pool's), after, and p."""
    kept = found.decisions.kept
    before, after = count_entries(matches, len(entries)), count_entries(matches.filter(kept), len(entries))
    table = pa.table(
        {
            "entry": pa.array(range(len(entries)), pa.int32()),
            "concept": pa.array(entries, pa.string()),
            "before": before.astype(np.int64),
            "weighted": np.round(counts, 6),
            "after": after.astype(np.int64),
            "p": found.probabilities,
        }
    )
    return table.filter(pa.array(before > 0))


PRESELECT = Step(name="preselect", compute=preselect_pairs, seeded=True)
BALANCE = Step(name="balance", compute=balance_pairs, seeded=True)
