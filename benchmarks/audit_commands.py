"""Measure `why`, `diff` and `verify`: processor time and peak memory, on builds of a pool and of a quarter of it.

Two builds of each pool (benchmarks/text_pool.py): of the second, a random 1 % of the captions has changed. `why` looks
at one partition, so a larger pool costs no more; `diff` and `verify` may cost as much more as there are pairs.

Run: python -m benchmarks.audit_commands [--pairs N]
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import lance

from benchmarks.process_cost import Cost, cost_of
from benchmarks.text_pool import Change, write_pool

COMMANDS = ("why", "diff", "verify")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=800_000)
    pairs = parser.parse_args().pairs
    print(f"{'pairs':>10} {'':<8} {'processor s':>12} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        small, large = (measure(Path(folder, str(n)), n) for n in (pairs // 4, pairs))
    for name in COMMANDS:
        print(
            f"{name:<8} large / small pool: {large[name].processor_s / small[name].processor_s:.2f} of the processor "
            f"time, {large[name].peak_bytes / small[name].peak_bytes:.2f} of the memory"
        )


def measure(folder: Path, pairs: int) -> dict[str, Cost]:
    """The cost of each command on two builds of a pool, of which one is a little other than the other."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(folder / "prefect")}
    at = ["--root", str(folder / "w"), "--json"]

    def cost(*arguments: str) -> Cost:
        return cost_of([sys.executable, "-m", "evenly.flows", *arguments, *at], environment)

    builds = []
    for number, change in enumerate((None, Change(share=0.01, seed=2))):
        recipe = write_pool(folder / f"pool{number}", pairs, seed=1, change=change)
        builds.append(json.loads(cost("rebuild", str(recipe)).out)["build"])
    samples = next((folder / "w" / "samples").iterdir())
    uid = lance.dataset(str(samples)).to_table(columns=["uid"], limit=1)["uid"][0].as_py()
    arguments = {"why": ["why", uid, "--build", builds[1]], "diff": ["diff", *builds], "verify": ["verify", builds[1]]}
    costs = {name: cost(*arguments[name]) for name in COMMANDS}
    for name, spent in costs.items():
        print(f"{pairs:>10,} {name:<8} {spent.processor_s:12.1f} {spent.peak_bytes / 2**20:8.0f}", flush=True)
    return costs


if __name__ == "__main__":
    main()
