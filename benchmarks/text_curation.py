"""Measure the curation of texts alone, `evenly match` and `evenly balance`, on a million and on ten million captions.

Entries and texts are those of benchmarks/concept_matching.py, over 500,000 and a million. Ten million captions are the
million and nine recombinations of it: the first half of each text's words with the second half of another's. Pools are
Parquet files of 250,000 rows with uids. Everything is written as the commands do: matches and decisions of each row.

Each measurement has a process of its own, and says wall time, processor time and the most memory held. What a pool of
20,000 captions takes is the start (imports, compiled code, the list and its index); cost per caption is processor time
without it, since other load on the machine weighs little there. By t, one caption in 500 begins to be thinned.

Run: python -m benchmarks.text_curation [--rows N ...] [--texts FILE] [--entries FILE]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.concept_matching import debian, peak, real_entries, real_texts, shuffled
from evenly.curation.balance.thresholds import BalanceRule
from evenly.storage.pools.captions import CaptionColumns
from evenly.tasks.pools.balance import BalanceJob
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork

TEXTS, FILE_ROWS, START_ROWS = 1_000_000, 250_000, 20_000
WORK = PoolWork(threads=2, quiet=True)


def given_or_real(folder: Path, texts: Path | None, entries: Path | None, count: int) -> tuple[Path, list[str]]:
    """The path of a list with an entry per line, and texts."""
    share = Path() if texts and entries else debian(folder)
    lists = entries or folder / "list.txt"
    if entries is None:
        lists.write_text("\n".join(real_entries(share)), encoding="utf-8")
    lines = iter(texts.read_text(encoding="utf-8").splitlines()) if texts else real_texts(share)
    return lists, shuffled(lines, count)


def write_pool(folder: Path, texts: Sequence[str], rows: int) -> str:
    """A pool of `rows` captions in files: the texts, then recombinations of them."""
    folder.mkdir()
    halves = [cut(text) for text in texts]
    heads, tails = (pa.array(half, pa.string()) for half in zip(*halves, strict=True))
    for start in range(0, rows, FILE_ROWS):
        numbers = np.arange(start, min(start + FILE_ROWS, rows))
        turn, at = np.divmod(numbers, len(texts))
        others = pa.array((at + turn * (len(texts) // 10 + 1)) % len(texts))
        captions = pc.binary_join_element_wise(heads.take(pa.array(at)), tails.take(others), " ")
        table = pa.table({"uid": uids(start, len(numbers)), "text": captions})
        pq.write_table(table, folder / f"{start:09}.parquet")
    return str(folder)


def cut(text: str) -> tuple[str, str]:
    words = text.split(" ")
    return " ".join(words[: (len(words) + 1) // 2]), " ".join(words[(len(words) + 1) // 2 :])


def uids(first: int, n: int) -> pa.Array:
    """32 hex digits each, as a hash gives them."""
    digits = np.random.default_rng(first).bytes(16 * n).hex().encode()
    ends = pa.py_buffer((32 * np.arange(n + 1, dtype=np.int32)).tobytes())
    return pa.Array.from_buffers(pa.string(), n, [None, ends, pa.py_buffer(digits)])


def match(pool: str, metadata: str, out: str) -> dict[str, Any]:
    columns = CaptionColumns(caption="text", uid="uid")
    return MatchJob(pool=pool, metadata=metadata, out=Path(out), columns=columns, work=WORK).run()


def balance(matches: str, out: str, rule: BalanceRule) -> dict[str, Any]:
    return BalanceJob(matches=[Path(matches)], rule=rule, out=Path(out), work=WORK).run()


def measured(task: Callable[..., dict[str, Any]], *arguments: object) -> tuple[dict[str, Any], float, float, int]:
    """What a task returns in this process, wall seconds, processor seconds and peak MB."""
    wall = time.perf_counter()
    found = task(*arguments)
    return found, time.perf_counter() - wall, time.process_time(), peak()


def alone(task: Callable[..., dict[str, Any]], *arguments: object) -> tuple[dict[str, Any], float, float, int]:
    """The same in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(measured, task, *arguments).result()


def curate(folder: Path, metadata: str, texts: Sequence[str], rows: int) -> dict[str, tuple[float, float, int]]:
    """Wall, processor seconds and peak MB of each part on a pool of `rows`, which is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        pool, matches = write_pool(Path(place) / "pool", texts, rows), f"{place}/matches.parquet"
        found, *spent = alone(match, pool, metadata, matches)
        parts, sizes = {"match": spent}, {"matches": size_of(place, "matches*.parquet")}
        rules = {"balance by t": BalanceRule(t=max(rows / 500, 1)), "balance by target": BalanceRule(target=rows / 4)}
        kept = {}
        for name, rule in rules.items():
            facts, *spent = alone(balance, matches, f"{place}/balanced.parquet", rule)
            parts[name], sizes["decisions"] = spent, size_of(place, "balanced.parquet")
            kept[name] = (
                f"{name}: t {facts['languages'][0]['t']:.6g}, {facts['kept']:,} kept, {facts['expected']:,} expected"
            )
            Path(f"{place}/balanced.parquet").unlink()
    if rows > START_ROWS:
        print(f"\n{rows:,} captions: {found['matched']:,} matched, {found['matches']:,} matches")
        print(*kept.values(), sep="\n")
        print(", ".join(f"{name} {size / rows:.1f} bytes per row" for name, size in sizes.items()))
    return {name: tuple(spent) for name, spent in parts.items()}


def size_of(place: str, pattern: str) -> int:
    return sum(file.stat().st_size for file in Path(place).glob(pattern))


def compare(folder: Path, metadata: Path, texts: Sequence[str], sizes: Sequence[int]) -> None:
    curate(folder, str(metadata), texts, START_ROWS)  # compiles what is not yet compiled
    start = curate(folder, str(metadata), texts, START_ROWS)
    print("start: " + ", ".join(f"{name} {cpu:.1f} s of processor time" for name, (_, cpu, _) in start.items()))
    costs: dict[str, list[float]] = {}
    for rows in sizes:
        found = curate(folder, str(metadata), texts, rows)
        for name, (wall, cpu, most) in found.items():
            cost = (cpu - start[name][1]) / (rows - START_ROWS) * 1e6
            costs.setdefault(name, []).append(cost)
            print(f"{name:18} {wall:6.1f} s, processor {cpu:6.1f} s, {cost:5.2f} us per caption, peak {most:,} MB")
        costs.setdefault("match, balance by t", []).append(costs["match"][-1] + costs["balance by t"][-1])
        print(f"match and balance by t: {found['match'][0] + found['balance by t'][0]:.1f} s")
    for name, some in costs.items():
        print(f"{name}: cost per caption, largest pool to smallest, {some[-1] / some[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="sizes of pools")
    parser.add_argument("--texts", type=Path, help="a file with a text per line")
    parser.add_argument("--entries", type=Path, help="a file with an entry per line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        metadata, texts = given_or_real(folder, options.texts, options.entries, TEXTS)
        size = sum(len(text.encode()) for text in texts) / len(texts)
        print(f"{len(texts):,} texts of {size:.0f} bytes in the mean")
        compare(folder, metadata, texts, options.rows)


if __name__ == "__main__":
    main()
