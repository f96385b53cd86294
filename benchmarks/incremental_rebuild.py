"""Measure what a change of one row in a hundred costs: rows judged and seconds per step, in place and from scratch.

Two pools, each rebuilt whole, then changed (of every 300 rows one leaves, one gets another caption, one is new), then
rebuilt in place and from scratch. `texts`: short texts of WordNet, up to the preselection, language identification on.
`pictures`: the demo's recipe over its web; from scratch takes the downloads that were recorded. Steps that look at all
rows at once (counts, draws, deduplication, captions by retrieved concepts) decide all again, from what is stored: what
each takes in place and from scratch is told as global work.

Run: python -m benchmarks.incremental_rebuild [--texts N] [--no-pictures]
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import BuildInputs, content_hash_of
from evenly.storage.files.identities import default_cache
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.ledger import StepRecord
from evenly.tasks.stage import run_step

DEMO = Path(__file__).parents[1] / "recipes" / "demo.yaml"
TEXT_STEPS = ("collect", "check_texts", "match_concepts", "count_concepts", "preselect")
ONCE_PER_PICTURE = {"download", "embed_images"}
EVERY = 300


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--pictures", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    recipe = read_recipe(DEMO)
    with tempfile.TemporaryDirectory() as folder:
        pool = short_texts(options.texts)
        compare("texts", recipe, pool, Path(folder, "texts"), lambda name: name in TEXT_STEPS)
        if options.pictures:
            with open_run(recipe, root=Path(folder, "web"), quiet=True):  # makes the web where it is not there yet
                pool = pq.read_table(default_cache() / "demo" / "pool.parquet")
            compare("pictures", recipe, pool, Path(folder, "pictures"), lambda _name: True)


def short_texts(n: int) -> pa.Table:
    """Lemmas and definitions of WordNet, each with a URL of its own; where there are too few, with a number."""
    synsets = load_noun_synsets().to_pylist()
    texts = [f"{row['lemmas'][0].replace('_', ' ')}, {row['gloss']}" for row in synsets]
    captions = [texts[at % len(texts)] + (f" ({at // len(texts)})" if at >= len(texts) else "") for at in range(n)]
    names = pa.array(["texts"] * n)
    return pa.table({"url": [f"https://a.test/{at}.png" for at in range(n)], "alt": captions, "source": names})


def changed(pool: pa.Table) -> pa.Table:
    rows = pool.to_pylist()
    added = [row | {"alt": f"{row['alt']} again"} for row in rows[2::EVERY]]
    for row in rows[1::EVERY]:
        row["alt"] = f"a picture of {row['alt']}"
    left = [row for at, row in enumerate(rows) if at % EVERY]
    return pa.Table.from_pylist([*left, *added], schema=pool.schema)


def compare(name: str, recipe: Recipe, pool: pa.Table, folder: Path, wanted: Callable[[str], bool]) -> None:
    file = folder / "pool.parquet"
    folder.mkdir()
    source = replace(recipe.sources[0], path=str(file))
    labels = recipe.labels if wanted("download") else None  # which are of the demo's own web
    recipe = recipe.model_copy(update={"sources": (source,), "labels": labels})
    pq.write_table(pool, file)
    rebuild(recipe, folder / "kept", wanted)
    pq.write_table(changed(pool), file)
    in_place, hash_in_place = rebuild(recipe, folder / "kept", wanted)
    row_by_row = {step.name for step, _ in steps_of(recipe) if step.reads is not None and step.resume is None}
    scratch, hash_scratch = rebuild(
        recipe, folder / "new", wanted, replay_from=folder / "kept" if wanted("download") else None
    )
    print(f"\n{name}: {pool.num_rows:,} rows, 1 % changed\n{'':26}{'from scratch':>20}{'in place':>30}")
    for name_, (record, seconds) in scratch.items():
        again, seconds_again = in_place[name_]
        computed = again.work.get("computed", again.rows_in)
        print(f"  {name_:24}{record.rows_in:>9,} rows {seconds:5.1f} s{computed:>19,} rows {seconds_again:5.1f} s")
    totals = [sum(seconds for _, seconds in side.values()) for side in (scratch, in_place)]
    per_row = [record for record, _ in in_place.values() if record.name in row_by_row]
    share = sum(record.work["computed"] for record in per_row) / sum(record.rows_in for record in per_row)
    print(
        f"  rows judged again by steps that judge row by row: {share:.2%}; seconds in place / scratch: "
        f"{totals[1] / totals[0]:.2f}"
    )
    global_steps = [name for name in scratch if name not in row_by_row | ONCE_PER_PICTURE | {"collect"}]
    each = ", ".join(f"{name} {in_place[name][1]:.2f} / {scratch[name][1]:.2f}" for name in global_steps)
    taken = sum(in_place[name][1] for name in global_steps)
    print(f"  global work, seconds in place / scratch: {each}\n    in all {taken:.1f} s of {totals[1]:.1f} s in place")
    print(f"  content hash {'equal' if hash_in_place == hash_scratch else 'DIFFERENT'}: {hash_in_place[:16]}")
    if hash_in_place != hash_scratch:
        raise SystemExit("the two builds differ")
    shutil.rmtree(folder)


def rebuild(
    recipe: Recipe, root: Path, wanted: Callable[[str], bool], replay_from: Path | None = None
) -> tuple[dict[str, tuple[StepRecord, float]], str]:
    """The record and the seconds of each step, and the content hash of all."""
    found: dict[str, tuple[StepRecord, float]] = {}
    past: Any = None if replay_from is None else str(replay_from)
    with open_run(recipe, root=root, replay_from=past, quiet=True) as run:
        records: tuple[StepRecord, ...] = ()
        for step, rule in steps_of(recipe):
            if wanted(step.name):
                started = time.perf_counter()
                record = run_step(run, step, records, rule)
                found[step.name] = record, time.perf_counter() - started
                records = (*records, record)
        inputs = BuildInputs(recipe=content_of(recipe), seed=run.seed, limit=None)
        content = content_hash_of(run.ledger, records, inputs)
    return found, content


if __name__ == "__main__":
    main()
