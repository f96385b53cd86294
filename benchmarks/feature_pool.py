"""Write a pool of made-up features to measure rebuilds on: Parquet files of 250,000 rows, and a recipe.

Captions are those of benchmarks/text_pool.py; beside each stand a web address, the size of its picture and a vector of
few 32-bit floats. One in fifty has the vector of the row before, so that the two are one picture; few are null, all
zeros or not finite. A pool is a function of its seed, and a smaller one is the beginning of a larger one.

Vectors are shorter than those of any encoder: the steps of a rebuild up to the build are measured on them, not the
encoding of captions after it. `--rebuild` runs these steps in the workspace ROOT, partition by partition where the pool
is large, and prints of each the seconds of work in it, and the peak of this process's memory; the second time, where
all is reused, the same.

Run: python -m benchmarks.feature_pool --pairs N --out FOLDER [--seed S] [--t T] [--dimension D] [--rebuild ROOT]
     [--workers N]
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.text_pool import FILE_ROWS, Phrases, captions, urls
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import prefect_api, run_in
from evenly.tasks.partitioning import cut_run, open_engine
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_steps

RECIPE = """\
name: feature-pool
seed: {seed}
sources:
  - {{kind: features, path: "{folder}/*.parquet", caption: text, name: made, encoder: {{model: embedded}}}}
curate:
  text:
    caption_length: {{min_words: 3, max_words: 40}}
  match: {{metadata: wordnet, mode: faithful}}
  preselect: {{headroom: 2.0}}
  download: {{}}
  deduplicate: {{exact: true, perceptual: null, semantic: null, colour: null}}
  balance: {{t: {t}}}
features: {{model: embedded, encode: false}}
"""


def vectors(rng: np.random.Generator, n: int, dimension: int) -> pa.FixedSizeListArray:
    """Vectors of float32 (n,): one in 50 is that of the row before, one in 500 each is null, zero or not finite."""
    rows = rng.standard_normal((n, dimension), dtype=np.float32)
    kind = rng.random(n)
    is_copy = kind < 0.02
    is_copy[0] = False
    rows[is_copy] = rows[np.flatnonzero(is_copy) - 1]
    rows[(kind > 0.02) & (kind < 0.022)] = 0
    rows[(kind > 0.022) & (kind < 0.024), 0] = np.nan
    flat = pa.array(rows.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dimension, mask=pa.array((kind > 0.024) & (kind < 0.026)))


def write_pool(folder: Path, pairs: int, *, seed: int, t: int = 20_000, dimension: int = 8) -> Path:
    """Write `pairs` rows to `folder`, and a recipe, whose path comes back. Holds one file at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    if pairs < 1 or any(folder.glob("*.parquet")):
        sys.exit(f"`--pairs` must be at least 1 and `--out` hold no Parquet files; got {pairs}, `{folder}`. Change it.")
    phrases = Phrases(seed)
    for number, start in enumerate(range(0, pairs, FILE_ROWS)):
        rng = np.random.default_rng([seed, 2, number])
        sizes = rng.integers(64, 2048, (2, FILE_ROWS), dtype=np.int32)
        columns = {
            "url": urls(seed, start, FILE_ROWS),
            "text": captions(phrases, np.random.default_rng([seed, 1, number]), FILE_ROWS),
            "width": pa.array(sizes[0]),
            "height": pa.array(sizes[1]),
            "vector": vectors(rng, FILE_ROWS, dimension),
        }
        table = pa.table(columns).slice(0, pairs - start)
        pq.write_table(table, folder / f"{number:06}.parquet", compression="zstd", use_dictionary=False)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(seed=seed, folder=folder.resolve(), t=t), encoding="utf-8")
    return recipe


@contextmanager
def measured(name: str) -> Iterator[None]:
    """Print what the block took: seconds by the processor and by the clock, and the peak of memory so far."""
    processor, clock = time.process_time(), time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    spent = (time.process_time() - processor, time.perf_counter() - clock)
    print(f"{name:<20} {spent[0]:8.2f} s processor {spent[1]:8.2f} s clock, peak {peak:,} MiB", flush=True)


def rebuild(recipe: Path, root: Path, workers: int) -> str:
    """Run the steps of a recipe and publish the build; its content hash. The encoding of captions is left out."""
    chosen = read_recipe(str(recipe))
    run = run_in(chosen, root=root, workers=workers)
    chosen_cut = cut_run(run, pictured=True)
    with open_engine(cut := replace(run, bits=chosen_cut.bits), chosen_cut.workers) as each:
        records = run_steps(cut, steps_of(chosen), each)
        with measured("publish"):
            manifest = publish_build(
                cut, records, name=chosen.name, recipe=content_of(chosen), limit=None, max_change=None, engine=each
            )
    return str(manifest["content_hash"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, required=True, help="rows to write")
    parser.add_argument("--out", type=Path, required=True, help="a folder without Parquet files")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another pool")
    parser.add_argument("--t", type=int, default=20_000, help="the threshold of balancing in the recipe")
    parser.add_argument("--dimension", type=int, default=8, help="numbers of a vector")
    parser.add_argument("--rebuild", type=Path, help="an empty workspace: rebuild in it, and once more")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of a rebuild")
    options = parser.parse_args()
    recipe = options.out / "recipe.yaml"
    if options.rebuild is None or not recipe.exists():
        with measured("write the pool"):
            write_pool(options.out, options.pairs, seed=options.seed, t=options.t, dimension=options.dimension)
    for title in ("computed", "reused") if options.rebuild else ():
        with prefect_api(), measured(f"{title}: all"):
            content = rebuild(recipe, options.rebuild, options.workers)
        print(f"{title}: content hash {content}\n")


if __name__ == "__main__":
    main()
