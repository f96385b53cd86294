"""A pool in partitions, by worker processes: the build that one process makes of it."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError, StorageError
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from evenly.tasks.engine import Workers
from evenly.tasks.run import Run

CAPTIONS = {"min_jaccard": 0.8, "scope": "pool"}
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
        "curate": {
            "text": {"caption_length": {"min_words": 2}},
            "match": {},
            "deduplicate": {"captions": CAPTIONS},
            "balance": {"t": 20},
        },
    }
    path = tmp_path / "captions.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_workers_give_the_build_that_one_process_gives(recipe, tmp_path, monkeypatch):
    whole = rebuild_dataset(recipe=str(recipe), root=str(tmp_path / "whole"), quiet=True)
    monkeypatch.setattr(partitioning, "MOST_ROWS", 100)
    cut = rebuild_dataset(recipe=str(recipe), root=str(tmp_path / "cut"), workers=2, quiet=True)
    assert cut == whole
    workspace = Workspace.at(tmp_path / "cut")
    steps = {step["name"]: Ledger(workspace).get(step["key"]) for step in Builds(workspace).read(cut)["steps"]}
    assert {record.bits for record in steps.values() if record.counts} == {2}
    assert steps["deduplicate_captions"].counts["merged"] > 20
    assert not list(workspace.exchange.iterdir())


def test_a_memory_that_is_given_decides_how_the_pool_is_cut_and_refuses_too_little(recipe, tmp_path, monkeypatch):
    for name, value in (("MOST_ROWS", 400), ("LEAST_ROWS", 50), ("PAIR_BYTES", 10**7)):  # 4 GB the whole pool
        monkeypatch.setattr(partitioning, name, value)
    builds = {}
    for memory in ("6GB", "3.2GB"):
        root = tmp_path / memory
        builds[memory] = rebuild_dataset(recipe=str(recipe), root=str(root), workers=1, memory=memory, quiet=True)
        step = Builds(Workspace.at(root)).read(builds[memory])["steps"][0]
        assert Ledger(Workspace.at(root)).get(step["key"]).bits == (0 if memory == "6GB" else 1)
    assert builds["6GB"] == builds["3.2GB"]
    recipe.write_text(recipe.read_text() + "memory: 1GB\n")
    with pytest.raises(InputError, match=r"^`memory` must be at least 3.15GB for about 400 pairs; got `1GB`"):
        rebuild_dataset(recipe=str(recipe), root=str(tmp_path / "little"), workers=1, quiet=True)


def fail_or_write(_run: Run, path: str) -> None:
    """Fail at once for no path; else write the file, late."""
    if not path:
        raise StorageError("the disk is full")
    time.sleep(1)
    Path(path).write_text("late")


@pytest.mark.slow
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
