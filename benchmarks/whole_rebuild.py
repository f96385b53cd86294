"""Measure whole rebuilds: wall, processor time and peak memory per million pairs, of a pool and of a quarter of it.

`evenly rebuild` of a text-only pool (benchmarks/text_pool.py) as a command, with all processes it starts; then again,
where all is reused. What does not grow with the pool (the start, Prefect) is told by the smaller one.

Run: python -m benchmarks.whole_rebuild [--pairs N]
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.process_cost import Cost, cost_of
from benchmarks.text_pool import write_pool

_MILLION = 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200_000)
    pairs = parser.parse_args().pairs
    print(f"{'pairs':>10} {'':<8} {'wall s':>8} {'processor s':>12} {'peak MB':>8}    per million: wall, processor, MB")
    with tempfile.TemporaryDirectory() as folder:
        costs = {n: measure(Path(folder, str(n)), n) for n in (pairs // 4, pairs)}
    (small, small_again), (large, large_again) = costs.values()
    more = (pairs - pairs // 4) / _MILLION
    print(
        f"each further million pairs: {(large.processor_s - small.processor_s) / more:.0f} s of processor time and "
        f"{(large.peak_bytes - small.peak_bytes) / 2**20 / more:.0f} MB; reused / computed: "
        f"{large_again.processor_s / large.processor_s:.2f} of the processor time; reused, large / small pool: "
        f"{large_again.processor_s / small_again.processor_s:.2f}"
    )


def measure(folder: Path, pairs: int) -> tuple[Cost, Cost]:
    """The cost of a rebuild from nothing and of the same again."""
    write_pool(folder / "pool", pairs, seed=1)
    command = [sys.executable, "-m", "evenly.flows", "rebuild", str(folder / "pool" / "recipe.yaml")]
    command += ["--root", str(folder / "w"), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    costs = []
    for title in ("computed", "reused"):
        cost = cost_of(command, environment | {"PREFECT_HOME": str(folder / "prefect")})
        costs.append(cost)
        each = pairs / _MILLION
        print(
            f"{pairs:>10,} {title:<8} {cost.wall_s:8.1f} {cost.processor_s:12.1f} {cost.peak_bytes / 2**20:8.0f}    "
            f"{cost.wall_s / each:.0f} s, {cost.processor_s / each:.0f} s, {cost.peak_bytes / 2**20 / each:.0f} MB",
            flush=True,
        )
    hashes = [json.loads(cost.out)["content_hash"] for cost in costs]
    if hashes[0] != hashes[1]:
        sys.exit("the two builds differ")
    return costs[0], costs[1]


if __name__ == "__main__":
    main()
