"""Replay: for one pair, what a step must have said of it, by the step's own judgement and what is stored.

Each answer carries its label: "recomputed" (a pure function of the pair, the rule and stored inputs), "re-checked" (a
global result, its own inputs summed or compared again), "observed" (a recording that is not made twice) and "not
replayed" (this code does not know the step or its rule).
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from evenly.audit.explanation import Replay
from evenly.audit.published import PublishedBuild
from evenly.audit.rejudged import Mismatch, mismatch_in_words, mismatches, mismatching_notes, open_rejudging
from evenly.curation.errors import CurationError
from evenly.curation.steps import STEPS
from evenly.storage.ledger import Ledger, StepRecord


def replay_step(build: PublishedBuild, uid: str, record: StepRecord) -> Replay:
    """The result of judging one pair again by one step, with its label."""
    judgement = STEPS.get(record.name)
    if judgement is None:
        return Replay(label="not replayed", agrees=None, detail="this version of evenly has no such step")
    if judgement.seeded and record.seed is None:
        return Replay(label="not replayed", agrees=None, detail="no seed is stored")
    if judgement.rejudge is None:
        return Replay(label=judgement.label, agrees=None, detail=judgement.observed)
    part = build.around(uid).part
    ledger = Ledger(build.workspace, part=part, only=pa.array([uid], pa.string()))
    try:
        with open_rejudging(build, record, judgement, recounts=False) as rejudging:
            judged = rejudging.judge(ledger)
            differing = [*mismatching_notes(rejudging, record), *mismatches(judged, record, ledger)]
    except (CurationError, TypeError, KeyError) as error:
        # The rule, the columns or the functions have changed since the step ran.
        return Replay(label="not replayed", agrees=None, detail=f"cannot be computed by this code: {error}")
    detail = "; ".join(map(_with_place, differing)) or judged.detail
    return Replay(label=judgement.label, agrees=not differing, detail=detail)


def deciding_rule(record: StepRecord, pair: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a step's rule that decided a pair; all of it where this code does not know the rule."""
    judgement = STEPS.get(record.name)
    try:
        return record.rule if judgement is None else judgement.decides(record.rule, pair)
    except (CurationError, TypeError, KeyError):  # the rule, or the class that it is of, was another
        return record.rule


def _with_place(mismatch: Mismatch) -> str:
    place = mismatch.column if mismatch.table == "decisions" else f"{mismatch.table}.{mismatch.column}"
    return f"{place}: {mismatch_in_words(mismatch)}"
