"""Verdicts: each step that can be is judged again, and held against what it said of every pair, or of a sample."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from evenly.audit.checks.findings import Finding
from evenly.audit.published import PublishedBuild
from evenly.audit.replay import Mismatch, mismatch_in_words, mismatches, mismatching_notes, open_rejudging
from evenly.curation.draws import draws
from evenly.curation.errors import CurationError
from evenly.curation.step import Rejudging
from evenly.curation.steps import STEPS
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.hashing import table_hash

PAIRS_JUDGED = 100_000
"""Of a larger build about so many pairs are judged again by steps that judge each pair alone, drawn by a seed."""


def check_verdicts(build: PublishedBuild, *, seed: int) -> Iterator[Finding]:
    """Yield a finding for each column of a step, and each table, that comes out otherwise."""
    for record in build.records:
        judgement = STEPS.get(record.name)
        if judgement is None or judgement.rejudge is None or (judgement.seeded and record.seed is None):
            continue
        try:
            with open_rejudging(build, record, judgement) as rejudging:
                yield from _check_step(build, record, rejudging, seed)
        except (CurationError, TypeError, KeyError) as error:
            yield Finding.of("verdicts", record.name, f"cannot be judged again by this code: {error}")


def _check_step(build: PublishedBuild, record: StepRecord, rejudging: Rejudging, seed: int) -> Iterator[Finding]:
    share = 1.0 if rejudging.totals else min(1.0, PAIRS_JUDGED / max(record.rows_in, 1))
    parts = build.each(f"judging again: {record.name}", partial(_judged_again, record, rejudging, share, seed))
    n_pairs = sum(n for n, _, _ in parts)
    for note in mismatching_notes(rejudging, record):
        yield Finding.of(
            "verdicts", f"{record.name}.notes", f"{note.column} comes out otherwise: {mismatch_in_words(note)}"
        )
    of_columns = dict[tuple[str, str], list[Mismatch]]()
    for mismatch in (mismatch for _, differing, _ in parts for mismatch in differing):
        of_columns.setdefault((mismatch.table, mismatch.column), []).append(mismatch)
    for (table, name), differing in of_columns.items():
        place = record.name if table == "decisions" else f"{record.name}/{table}"
        rows = sum(mismatch.rows for mismatch in differing)
        text = f"{rows:,} rows of {n_pairs:,} pairs have another {name} when judged again"
        yield Finding.of("verdicts", place, f"{text}: {mismatch_in_words(differing[0])}")
    partials = [part for _, _, part in parts if part is not None]
    totals = {} if rejudging.totals is None else rejudging.totals(partials)
    for name, table in totals.items():
        if name not in record.hashes or table_hash(table) != table_hash(build.ledger.table(record, name)):
            yield Finding.of("verdicts", f"{record.name}/{name}", "differs when it is made again of all pairs")


def _judged_again(
    record: StepRecord, rejudging: Rejudging, share: float, seed: int, ledger: Ledger
) -> tuple[int, list[Mismatch], pa.Table | None]:
    """Verdicts of a partition judged again: how many, what differs, and what they give to a sum over all."""
    if share < 1:
        uids = ledger.decisions(record, ["uid"])["uid"].combine_chunks()
        drawn = draws(seed=seed, step="verify", uids=uids.to_pylist(), entries=[record.name] * len(uids))
        ledger = Ledger(ledger.workspace, part=ledger.part, only=uids.filter(pa.array(drawn < share)))
    judged = rejudging.judge(ledger)
    return len(judged.uids), mismatches(judged, record, ledger), judged.partial
