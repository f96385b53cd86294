"""Measure what deduplication costs after a change of one pair in a hundred: in place, and from scratch.

Synthetic features and captions of `--rows` pairs, one in twenty with a near twin, go through the steps on a real
ledger. Then of every 300 pairs one leaves, one gets another picture and caption, and one is new. Decisions, edges and
captions must be equal. CPU seconds include finding the pairs that changed, and writing.

Run: python -m benchmarks.incremental_duplicates [--rows N]
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.semantic_duplicates import make
from evenly.curation.decisions import Decisions
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash
from evenly.storage.workspace import Workspace
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_CAPTIONS, DEDUPLICATE_SEMANTIC
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step
from tests.step_outputs import output_of

EVERY, CELLS = 300, 768
STEPS: tuple[tuple[Step, dict[str, Any]], ...] = (
    (DEDUPLICATE_SEMANTIC, {"min_cosine": 0.95, "max_colour": 22.0, "tables": 64}),
    (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.8, "scope": "pool"}),
)
Pool = Mapping[str, int]  # uid -> number of its picture and caption


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    n = parser.parse_args().rows
    rows, left, right, _ = make(n + n // EVERY * 2)
    texts = captions(len(rows), left, right)
    pool = {f"{at:032}": at for at in range(n)}
    with tempfile.TemporaryDirectory() as folder:
        kept, new = (
            Run(workspace=Workspace.at(Path(folder, name)), seed=3, progress=Progress(quiet=True)) for name in "kn"
        )
        for run in (kept, new):
            store = FeatureStore(run.workspace, encoder_identity(run), "images")
            store.append([picture(at) for at in range(len(rows))], rows, np.ones(len(rows)))
        first = given(kept, pool, texts)
        for step, rule in STEPS:
            timed(kept, step, first, rule)
        now = changed(pool, n)
        print(f"{n:,} pairs, 1 % changed; seconds of CPU{'':14}from scratch     in place")
        for step, rule in STEPS:
            again, seconds_again = timed(kept, step, given(kept, now, texts), rule)
            scratch, seconds = timed(new, step, given(new, now, texts), rule)
            if again.hashes != scratch.hashes:
                raise SystemExit(f"{step.name} differs")
            print(
                f"  {step.name:24}{again.work['computed']:>8,} pairs anew {seconds:11.1f} {seconds_again:12.1f}   "
                f"{seconds / seconds_again:.1f} times less, equal"
            )


def captions(n: int, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> list[str]:
    """Texts of made-up words; one that has a twin nearly repeats the other's."""
    words = np.random.default_rng(n).integers(0, 50_000, (n, 8))
    texts = [" ".join(f"w{word:x}" for word in row) for row in words.tolist()]
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        texts[other] = f"{texts[one]}!"
    return texts


def changed(pool: Pool, n: int) -> Pool:
    rows = dict(pool)
    for number, at in enumerate(range(0, n - n % EVERY, EVERY)):
        del rows[f"{at:032}"]
        rows[f"{at + 1:032}"] = n + 2 * number
        rows[f"{at + 2:031}x"] = n + 2 * number + 1
    return rows


def picture(number: int) -> str:
    return f"{number:064x}"


def given(run: Run, pool: Pool, texts: list[str]) -> StepRecord:
    """The record of a step that gave the pairs with what deduplication looks at."""
    uids = sorted(pool)
    numbers = np.array([pool[uid] for uid in uids])
    grids = np.repeat((numbers % 16 + 100).astype(np.uint8), CELLS)
    ones = pa.array(np.ones(len(uids), np.int32))
    columns = {
        "url": pa.array(uids),
        "caption": pa.array([texts[at] for at in numbers.tolist()]),
        "image_id": pa.array([picture(at) for at in numbers.tolist()]),
        "width": ones,
        "height": ones,
        "phash": pa.array(numbers.astype(np.uint64)),
        "colour": pa.FixedSizeListArray.from_arrays(pa.array(grids), CELLS),
    }
    decisions = Decisions.keep_all(len(uids)).to_table(pa.array(uids))
    for name, values in columns.items():
        decisions = decisions.append_column(name, values)
    step = Step(name="given", rule=dict, stored=dict, load=dict, judge=lambda *_: StepOutput(decisions=decisions))
    spec = step.spec(run, [], {"pairs": content_hash([uids[0], numbers.tolist()])})
    return run.ledger.commit(spec, output_of(step, run, [], {}), uids=None, started=datetime.now(UTC))


def timed(run: Run, step: Step, before: StepRecord, rule: dict[str, Any]) -> tuple[StepRecord, float]:
    started = time.process_time()
    record = run_step(run, step, [before], step.read(rule))
    return record, time.process_time() - started


if __name__ == "__main__":
    main()
