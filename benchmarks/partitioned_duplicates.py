"""Search for duplicates by partition: seconds, processor time and peak memory, and that the whole gives the same.

Pairs are made partition by partition and stored as a step would: captions of benchmarks/web_captions, those of
benchmarks/text_pool, which are much alike (`alike`), looks (16 x 16 grids of 4 x 4 random colours with some noise, and
random hashes) or features of 64 dimensions. One in twenty captions, looks and features is a near copy of one in the
next partition. The search runs in this process, one partition after the other. With `--compare` the same pairs are then
searched at once, and edges, decisions and notes must be equal.

Run: python -m benchmarks.partitioned_duplicates captions|alike|looks|features [--rows N] [--bits B] [--compare]
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.text_pool import Phrases, captions
from benchmarks.web_captions import sources, web_captions
from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.caption_duplicates import CaptionTwins, ShingleSets
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.feature_duplicates import Semantic
from evenly.curation.duplicates.image_duplicates import Perceptual
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord, StepSpec
from evenly.storage.tables.partitions import Partition
from evenly.storage.workspace import Workspace
from evenly.tasks import encoders
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_CAPTIONS, DEDUPLICATE_PERCEPTUAL, DEDUPLICATE_SEMANTIC
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import Step

WIDTH, COPIES = 64, 20
NOISE, COPY_NOISE, COPY_BITS, COPY_COSINE = 6, 6, 2, 0.97
GIVEN = StepSpec(name="given", version=1, rule={}, inputs={})


class NoEncoder:
    """Names the features that were made up."""

    identity = "random"
    device_name = "a machine"


def uids_of(part: Partition, n: int) -> list[str]:
    """Uids (n,) of a partition, sorted."""
    random = np.random.default_rng([1, part.number])
    words = random.integers(part.first, part.end, n, dtype=np.uint64)
    rest = random.bytes(12 * n).hex()
    return sorted(f"{word:08x}{rest[24 * row : 24 * (row + 1)]}" for row, word in enumerate(words.tolist()))


def made_captions(_run: Run, part: Partition, n: int) -> dict[str, Any]:
    """Captions (n,) that repeat as those of the web."""
    return {"caption": web_captions(1, part.number, following(part), n)}


def made_alike(_run: Run, part: Partition, n: int) -> dict[str, Any]:
    """Captions (n,) of the text pool."""
    return {"caption": captions(PHRASES[0], np.random.default_rng([1, 1, part.number]), n)}


def following(part: Partition) -> int:
    """The number of the next partition, the first after the last."""
    return (part.number + 1) % (1 << part.bits)


def grids_and_hashes(key: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(key)
    coarse = random.integers(0, 256, (n, 4, 4, 3), dtype=np.int16)
    grids = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2).reshape(n, COLOUR_BYTES)
    grids += random.integers(-NOISE, NOISE + 1, grids.shape, dtype=np.int16)
    return np.clip(grids, 0, 255).astype(np.uint8), random.integers(0, 2**64, n, dtype=np.uint64)


def made_looks(_run: Run, part: Partition, n: int) -> dict[str, Any]:
    """Grids and hashes (n,): those that are copied, others, and copies of the next partition's."""
    copies = n // COPIES
    made = grids_and_hashes([2, part.number, 0], copies), grids_and_hashes([2, part.number, 1], n - copies)
    grids, hashes = (np.concatenate(columns) for columns in zip(*made, strict=True))
    near, codes = grids_and_hashes([2, following(part), 0], copies)
    random = np.random.default_rng([3, part.number])
    moved = near.astype(np.int16) + random.integers(-COPY_NOISE, COPY_NOISE + 1, near.shape, dtype=np.int16)
    grids[n - len(near) :] = np.clip(moved, 0, 255)
    flipped = np.uint64(1) << random.integers(0, 64, (COPY_BITS, len(codes)), dtype=np.uint64)
    hashes[n - len(codes) :] = codes ^ np.bitwise_or.reduce(flipped, axis=0)
    colours = pa.FixedSizeListArray.from_arrays(pa.array(grids.reshape(-1)), COLOUR_BYTES)
    return {"phash": pa.array(hashes), "colour": colours}


def directions(key: list[int], n: int) -> np.ndarray:
    rows = np.random.default_rng(key).normal(size=(n, WIDTH))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def made_features(run: Run, part: Partition, n: int) -> dict[str, Any]:
    """Pictures (n,) with features: those that are copied, others, and copies of the next partition's."""
    copies = n // COPIES
    rows = np.concatenate([directions([4, part.number, 0], copies), directions([4, part.number, 1], n - copies)])
    near = directions([4, following(part), 0], copies)
    other = np.random.default_rng([5, part.number]).normal(size=near.shape)
    other -= (other * near).sum(axis=1, keepdims=True) * near
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    rows[n - len(near) :] = COPY_COSINE * near + np.sqrt(1 - COPY_COSINE**2) * other
    names = [f"{part.number:08x}{row:056x}" for row in range(n)]
    FeatureStore(run.workspace, "random", "images").append(names, rows.astype(np.float16), np.ones(n, np.float32))
    return {"image_id": pa.array(names)}


PHRASES: list[Phrases] = []
Make = Callable[[Run, Partition, int], dict[str, Any]]
KINDS: dict[str, tuple[Make, Step[Any], Any]] = {
    "captions": (made_captions, DEDUPLICATE_CAPTIONS, CaptionTwins(min_jaccard=0.8, scope="pool")),
    "alike": (made_alike, DEDUPLICATE_CAPTIONS, CaptionTwins(min_jaccard=0.8, scope="pool")),
    "looks": (made_looks, DEDUPLICATE_PERCEPTUAL, Perceptual()),
    "features": (made_features, DEDUPLICATE_SEMANTIC, Semantic(min_cosine=0.95, max_colour=None)),
}


def given(run: Run, make: Make, rows: int) -> StepRecord:
    """The record of a step that gave the pairs, stored partition by partition."""
    parts, started, share = [], datetime.now(UTC), rows >> run.bits
    for part in Partition.all(run.bits):
        columns: dict[str, Any] = {"url": pa.nulls(share, pa.string()), "caption": pa.nulls(share, pa.string())}
        columns |= {"image_id": pa.nulls(share, pa.string())}
        columns |= {name: pa.array(np.full(share, 9, np.int32)) for name in ("width", "height")}
        uids = pa.array(uids_of(part, share))
        table = Decisions.keep_all(share).to_table(uids)
        for name, column in (columns | make(run, part, share)).items():
            table = table.append_column(name, column)
        ledger = replace(run, part=part).ledger
        parts.append(
            ledger.store_part(f"{part.number}", "given", StepOutput(decisions=table), uids=None, started=started)
        )
    return run.ledger.commit_parts(GIVEN, parts, StepOutput(), started=started)


def searched(run: Run, record: StepRecord, step: Step[Any], rule: Any) -> StepRecord:  # noqa: ANN401 - of any step
    return run_steps(run, [(step, rule)], InProcess(run=run), [record])[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--rows", type=int, default=1 << 20)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--min-jaccard", type=float, default=0.8, help="of captions")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    encoders.open_encoder = lambda _run: NoEncoder()  # type: ignore[assignment,return-value]
    make, step, rule = KINDS[options.kind]
    if options.kind == "alike":
        PHRASES.append(Phrases(1))
    if isinstance(rule, CaptionTwins):
        rule = replace(rule, min_jaccard=options.min_jaccard)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run = Run(workspace=Workspace.at(folder), seed=1, bits=options.bits)
        record = given(run, make, options.rows)
        before = peak_gb()
        wall, cpu = time.perf_counter(), time.process_time()
        cut = searched(run, record, step, rule)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{options.kind}: {cut.rows_in:,} rows in {1 << options.bits} partitions: {wall:.0f} s, {cpu:.0f} s of "
            f"processor time, peak {peak_gb():.2f} GB ({before:.2f} GB before); {dict(cut.counts)}, {dict(cut.notes)}",
            flush=True,
        )
        if options.kind == "captions":
            print(planted(run, cut, options.min_jaccard), flush=True)
        if options.compare:
            compare(run, make, options.rows, (step, rule, cut))


def planted(run: Run, record: StepRecord, min_jaccard: float) -> str:
    """How many planted copies are duplicates by their index, and how many of these the search joined."""
    share, total, near, joined = record.rows_in >> run.bits, 0, 0, 0
    for part in Partition.all(run.bits):
        other = Partition(bits=part.bits, number=following(part))
        copied = sources(1, other.number, share).texts()
        count, copies = len(copied), made_captions(run, part, share)["caption"][-len(copied) :]
        index = ShingleSets.of([*copied.to_pylist(), *copies.to_pylist()]).jaccard(
            np.arange(count), np.arange(count) + count
        )
        is_near = index >= min_jaccard
        into = survivors(run, record, other)[:count], survivors(run, record, part)[-count:]
        total, near = total + count, near + int(is_near.sum())
        joined += pc.sum(pc.equal(*into).filter(pa.array(is_near))).as_py() or 0
    return f"planted: {total:,} copies, {near:,} of an index of {min_jaccard} or more, {joined:,} of these joined"


def survivors(run: Run, record: StepRecord, part: Partition) -> pa.Array:
    """The pair (n,) that each of a partition is merged into, or itself."""
    table = replace(run, part=part).ledger.decisions(record, ["uid", "into"])
    return pc.coalesce(table["into"], table["uid"]).combine_chunks()


def compare(run: Run, make: Make, rows: int, searched_parts: tuple[Step[Any], Any, StepRecord]) -> None:
    """Search all pairs at once and leave with an error where anything differs."""
    step, rule, cut = searched_parts
    with tempfile.TemporaryDirectory(dir=run.workspace.root) as folder:
        other = replace(run, workspace=Workspace.at(folder))
        record = given(other, make, rows)
        wall, cpu = time.perf_counter(), time.process_time()
        whole = searched(replace(other, bits=0), record, step, rule)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"at once: {wall:.0f} s, {cpu:.0f} s of processor time, peak {peak_gb():.2f} GB")
    if (whole.hashes, whole.notes, whole.counts) != (cut.hashes, cut.notes, cut.counts):
        sys.exit("`edges, decisions, notes` must be equal in partitions and at once; they are not.")
    print("edges, decisions and notes are equal")


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
