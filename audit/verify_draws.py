"""Draws: every stored one follows from seed, uid and concept, and together they decide their pair."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.findings import Finding
from audit.published import PublishedBuild
from curation.balancing import STEP
from curation.draws import draws
from storage.ledger import StepRecord


def check_draws(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each step with stored draws that cannot be drawn again or that decided otherwise."""
    for record in build.deciding:
        if "draws" in record.hashes and record.seed is not None:
            table = build.ledger.table(record, "draws")
            yield from _check_numbers(record, record.seed, table)
            yield from _check_verdicts(record, table, build.ledger.decisions(record, ["uid", "verdict"]))


def _check_numbers(record: StepRecord, seed: int, table: pa.Table) -> Iterator[Finding]:
    made = draws(seed=seed, step=STEP, uids=table["uid"].to_pylist(), entries=table["entry"].to_pylist())
    wrong = int((made != table["draw"].to_numpy()).sum())
    if wrong:
        yield Finding.of("draws", record.name, f"{wrong} of {table.num_rows} stored draws differ when drawn again")


def _check_verdicts(record: StepRecord, table: pa.Table, decisions: pa.Table) -> Iterator[Finding]:
    """A pair with draws is kept if and only if one of its draws is below its probability."""
    at = pc.fill_null(pc.index_in(table["uid"], decisions["uid"]), -1).to_numpy()
    if foreign := int((at < 0).sum()):
        yield Finding.of("draws", record.name, f"{foreign} draws are of pairs that the step did not judge")
        return
    drawn = np.zeros(decisions.num_rows, dtype=bool)
    drawn[at] = True
    passes = np.zeros(decisions.num_rows, dtype=bool)
    passes[at[table["draw"].to_numpy() < table["p"].to_numpy()]] = True
    kept = pc.equal(decisions["verdict"], "kept").to_numpy()
    wrong = int((drawn & (passes != kept)).sum())
    if wrong:
        yield Finding.of("draws", record.name, f"{wrong} pairs are decided otherwise than their draws say")
