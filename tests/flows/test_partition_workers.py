"""A pool in partitions, by worker processes under a Prefect server: the build that one process makes of it."""

import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.ledger import Ledger
from evenly.storage.pool_size import estimate_rows
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from evenly.tasks.engine import Workers
from evenly.tasks.partitioning import cut_bits
from evenly.tasks.run import Run

NOUNS = ("dog", "cat", "ship", "tree", "river", "bridge", "horse")


@pytest.fixture
def recipe(tmp_path):
    """A recipe of captions alone over 400 rows in three files."""
    for number in range(3):
        rows = range(number, 400, 3)
        captions = [None if row % 50 == 49 else f"a {NOUNS[row % 7]} of number {row}" for row in rows]
        table = pa.table({"url": [f"http://a.test/{row}" for row in rows], "text": captions})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    content = {
        "name": "captions",
        "seed": 5,
        "sources": [{"kind": "parquet", "path": str(tmp_path / "*.parquet"), "url": "url", "caption": "text"}],
        "curate": {"text": {"caption_length": {"min_words": 2}}, "download": None, "balance": {"t": 20}},
    }
    path = tmp_path / "captions.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.usefixtures("prefect_server")
def test_workers_give_the_build_that_one_process_gives(recipe, tmp_path, monkeypatch):
    whole = rebuild_dataset(recipe=str(recipe), root=str(tmp_path / "whole"), quiet=True)
    monkeypatch.setattr(partitioning, "MOST_ROWS", 100)
    cut = rebuild_dataset(recipe=str(recipe), root=str(tmp_path / "cut"), processes=2, quiet=True)
    assert cut == whole
    workspace = Workspace.at(tmp_path / "cut")
    step = Builds(workspace).read(cut)["steps"][0]
    record = Ledger(workspace).find(step["key"])
    assert record is not None
    assert record.bits == 2
    assert not list(workspace.exchange.iterdir())


def fail_or_write(_run: Run, path: str) -> None:
    """Fail at once for no path; else write the file, late."""
    if not path:
        raise StorageError("the disk is full")
    time.sleep(1)
    Path(path).write_text("late")


@pytest.mark.usefixtures("prefect_server")
def test_no_worker_writes_any_more_once_an_error_is_seen(tmp_path):
    late = tmp_path / "late.txt"
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1)
    seen = None
    with Workers(run, 2) as workers:
        try:
            list(workers.items("writing", fail_or_write, ["", str(late)]))
        except StorageError:
            seen = late.exists()
    assert seen is not None
    assert seen == late.exists()


@pytest.mark.parametrize(("rows", "bits"), [(0, 0), (1, 0), (250_000, 0), (250_001, 1), (500_001, 2), (10_000_000, 6)])
def test_a_pool_is_cut_into_partitions_of_up_to_250000_pairs(tmp_path, monkeypatch, rows, bits):
    source = PoolSource(kind="parquet", path="any")
    run = Run(workspace=Workspace.at(tmp_path), seed=1, sources=(source,))
    monkeypatch.setattr(partitioning, "estimate_rows", lambda _: rows)
    assert cut_bits(run) == bits
    assert cut_bits(run, limit=100) == 0
    assert cut_bits(replace(run, sources=())) == 0


def test_rows_are_estimated_from_what_files_say_or_weigh(tmp_path):
    pq.write_table(pa.table({"url": ["u"] * 70, "text": ["t"] * 70}), tmp_path / "a.parquet")
    assert estimate_rows(PoolSource(kind="parquet", path=str(tmp_path / "a.parquet"))) == 70
    (tmp_path / "b.csv").write_text("url,text\n" + "http://a.test/1,a dog\n" * 500)
    assert 450 <= estimate_rows(PoolSource(kind="csv", path=str(tmp_path / "b.csv"))) <= 550
