"""Measure what it costs to write down every decision: the same curation of texts with and without it, side by side.

Pools alone: `evenly match` and `evenly balance`, which write what each row names, its chance, fate, deciding concept
and draw, with hashes of inputs and counts; bare, the same captions are read, matched, counted and drawn for by the
same functions, and the uids that stay are written to a Parquet file, which is all that is left. Reading back which
rows stay, to compare the sides, is timed on neither. Of a rebuild: collect, language identification, match, count and
preselect, with the ledger and with one that keeps tables in memory, without hashes. Both keep the same rows.

Sides take turns; each is timed by the clock and by the processor, which other load on the machine troubles less.
Ratios are medians.

Run: python -m benchmarks.ledger_overhead [--rows N] [--pairs N] [--times N] [--texts FILE] [--entries FILE]
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.text_curation import balance, given_or_real, match, write_pool
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.thresholds import BalanceRule, entry_probabilities
from evenly.curation.concepts.matching import Matcher
from evenly.curation.draws import draws_at
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.pools.captions import CaptionColumns, pool_files, read_caption_rows
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import PRESELECT
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_CONCEPTS, recipe_concepts
from evenly.tasks.rebuild.filters import CHECK_TEXTS
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step

SEED, BATCH = 1, 1 << 18


def bare(pool: str, metadata: str, t: float, out: Path) -> None:
    """Write the uids that stay, and nothing else."""
    texts = recipe_concepts(metadata).table["entry"].combine_chunks().cast(pa.large_string())
    matcher, uids = Matcher(recipe_concepts(metadata).entries), []

    def captions() -> Any:  # noqa: ANN401 - an iterator of arrays
        for file in pool_files(pool):
            for rows in read_caption_rows(file, CaptionColumns(caption="text", uid="uid")):
                uids.append(rows.uid)
                yield rows.caption

    found = list(matcher.match_batches(captions(), workers=2))
    pairs = MatchedPairs.of(pa.concat_arrays(uids), pa.concat_arrays(found), texts)
    p = entry_probabilities(count_matches(pairs)[0], t)
    stays: list[pa.Array] = []
    for _, _, part in pairs.batches(BATCH):
        rows, chances = part.rows, p[part.numbers]
        certain = np.zeros(len(part), dtype=bool)
        certain[rows[chances >= 1]] = True
        asked = np.flatnonzero(~certain[rows])
        numbers = part.numbers[asked].astype(np.int64)
        u = draws_at(seed=SEED, step="balance", uids=part.uids, rows=rows[asked], entries=texts, numbers=numbers)
        certain[rows[asked][u < chances[asked]]] = True
        stays.append(part.uids.filter(pa.array(certain)))
    pq.write_table(pa.table({"uid": pa.concat_arrays(stays)}), out, compression="zstd", use_dictionary=False)


def with_files(pool: str, metadata: str, t: float, folder: Path) -> None:
    """The same in the files that the commands write."""
    match(pool, metadata, str(folder / "matches.parquet"))
    balance(str(folder / "matches.parquet"), str(folder / "balanced.parquet"), BalanceRule(t=t))


def kept(file: Path) -> set[str]:
    """The uids of rows that stay."""
    table = pq.read_table(file)
    return set((table.filter(table["kept"]) if "kept" in table.column_names else table)["uid"].to_pylist())


class MemoryLedger(Ledger):
    """A ledger that keeps tables as they are: no hash, no disk, no check."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._tables: dict[tuple[str, str], pa.Table] = {}

    def commit(self, spec: StepSpec, output: StepOutput, **_told: Any) -> StepRecord:  # noqa: ANN401 - as the other
        tables = {**output.tables, **({} if output.decisions is None else {"decisions": output.decisions})}
        self._tables |= {(spec.key, name): table for name, table in tables.items()}
        columns = [] if output.decisions is None else output.decisions.column_names
        fields: Mapping[str, Any] = {
            name: getattr(spec, name) for name in ("name", "version", "rule", "inputs", "model", "seed")
        }
        return StepRecord(
            key=spec.key, **fields, output_hash=spec.key, hashes=dict.fromkeys(tables, ""), columns=columns, rows_in=0,
            counts={}, reasons={}, notes=output.notes, work={}, layout={}, code={}, started="", ended="",
            flow_run_id=None,
        )  # fmt: skip

    def table(
        self, record: StepRecord, name: str, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        if where is not None:
            raise NotImplementedError(where)
        table = self._tables[record.key, name]
        return table if columns is None else table.select(columns)


@dataclass(frozen=True, kw_only=True)
class BareRun(Run):
    """A run with a ledger in memory."""

    memory: MemoryLedger

    @property
    def ledger(self) -> Ledger:
        return self.memory


def rebuild(run: Run, metadata: str, t: float) -> pa.Table:
    """The text part of a rebuild; the uids that are left."""
    steps = (
        (COLLECT, {"limit": None}),
        (CHECK_TEXTS, {"caption_language": {}}),
        (MATCH_CONCEPTS, {"metadata": metadata, "mode": "faithful", "plurals": False}),
        (COUNT_CONCEPTS, {}),
        (PRESELECT, {"t": t, "headroom": 2.0}),
    )
    records: tuple[StepRecord, ...] = ()
    for step, rule in steps:
        records = (*records, run_step(run, step, records, step.read(rule)))
    return run.ledger.alive(records, [])


def add_urls(pool: str) -> str:
    """The pool's files with a URL per row."""
    for file in pool_files(pool):
        table = pq.read_table(file)
        urls = [f"https://example.org/{uid}" for uid in table["uid"].to_pylist()]
        pq.write_table(table.append_column("url", pa.array(urls)), file)
    return f"{pool}/*.parquet"


Side = Callable[[], Callable[[], set[str]]]
"""What is timed; it returns what, untimed, gives the uids that stay."""


def timed(side: Side) -> tuple[set[str], tuple[float, float]]:
    """The uids that stay, and the seconds of the clock and of the processor that it took to find them."""
    started = time.perf_counter(), time.process_time()
    found = side()
    ended = time.perf_counter(), time.process_time()
    return found(), (ended[0] - started[0], ended[1] - started[1])


def take_turns(name: str, times: int, rows: int, one: Side, other: Side) -> None:
    """Print how much more the other takes than the first, which is bare."""
    one(), other()  # compiled code and lists are loaded once
    spent: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for number in range(times):
        order = ((one, 0), (other, 1)) if number % 2 else ((other, 1), (one, 0))
        results = {at: timed(side) for side, at in order}
        if results[0][0] != results[1][0]:
            raise SystemExit(f"{name}: the two sides keep other rows")
        for at, (_, seconds) in results.items():
            spent[at].append(seconds)
    for clock, called in enumerate(("elapsed time", "processor time")):
        costs = [[turn[clock] / rows * 1e6 for turn in some] for some in spent]
        ratios = [with_it / without - 1 for without, with_it in zip(*costs, strict=True)]
        print(
            f"{name}, {called}: bare {median(costs[0]):.2f} us per row, with everything written down "
            f"{median(costs[1]):.2f}: overhead {median(ratios):+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%})"
        )


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def pools_alone(folder: Path, metadata: str, texts: Sequence[str], rows: int, times: int) -> None:
    pool, t = write_pool(folder / "pool", texts, rows), rows / 500
    place = folder / "decided"

    def uids_alone() -> Callable[[], set[str]]:
        bare(pool, metadata, t, folder / "kept.parquet")
        return lambda: kept(folder / "kept.parquet")

    def written() -> Callable[[], set[str]]:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        with_files(pool, metadata, t, place)
        return lambda: kept(place / "balanced.parquet")

    take_turns(f"pool of {rows:,}", times, rows, uids_alone, written)
    size = size_of(place) / rows
    print(f"pool of {rows:,}: {size:.0f} bytes per row for matches and decisions, list and counts included")


def of_a_rebuild(folder: Path, metadata: str, texts: Sequence[str], pairs: int, times: int) -> None:
    pool, t = add_urls(write_pool(folder / "pairs", texts, pairs)), pairs / 500
    source = PoolSource(kind="parquet", path=pool, caption="text")
    sizes: list[int] = []

    def run(place: str) -> Run:
        return Run(workspace=Workspace.at(Path(place)), seed=SEED, sources=(source,), progress=Progress(quiet=True))

    def in_memory() -> Callable[[], set[str]]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            plain = run(place)
            found = rebuild(BareRun(**vars(plain), memory=MemoryLedger(plain.workspace)), metadata, t)
        return lambda: set(found["uid"].to_pylist())

    def written() -> Callable[[], set[str]]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found = rebuild(run(place), metadata, t)
            sizes.append(size_of(Workspace.at(Path(place)).ledger))
        return lambda: set(found["uid"].to_pylist())

    take_turns(f"rebuild of {pairs:,}", times, pairs, in_memory, written)
    print(f"rebuild of {pairs:,}: {sizes[-1] / pairs:.0f} bytes per pair for the tables of five steps")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000, help="captions of the pool alone")
    parser.add_argument("--pairs", type=int, default=100_000, help="pairs of the rebuild")
    parser.add_argument("--times", type=int, default=3, help="turns")
    parser.add_argument("--texts", type=Path, help="a file with a text per line")
    parser.add_argument("--entries", type=Path, help="a file with an entry per line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        metadata, texts = given_or_real(folder, options.texts, options.entries, max(options.rows, options.pairs))
        pools_alone(folder, str(metadata), texts, options.rows, options.times)
        of_a_rebuild(folder, str(metadata), texts, options.pairs, options.times)


if __name__ == "__main__":
    main()
