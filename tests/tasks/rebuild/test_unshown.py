"""`clean` frees downloads and features of pictures that no build shows where that is asked for, and nothing else."""

from dataclasses import replace
from functools import partial

import pytest

from evenly.audit.verify import verify_build
from evenly.storage.feature_store import FeatureStore
from evenly.storage.removal.clean import Wanted, clean_workspace, look_through
from evenly.storage.removal.leftovers import list_files
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.web.images import read_images
from evenly.tasks.encoders import encoder_identity
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, RULES, STEPS, Row, open_run, publish, rows, run_steps

OTHERS = [Row(f"new{n}", f"one blue cat number {n}", picture(BLUE, pattern=100 + n)) for n in range(6)]
NO_AGE = Wanted(older_than_s=0)


@pytest.fixture
def crowded(copied, tmp_path):
    """A workspace with a build, and with pictures of another pool of which none was built; their image ids."""
    built = copied()
    (tmp_path / "more").mkdir()
    more = replace(open_run(tmp_path / "more" / "w", OTHERS), workspace=built.run.workspace)
    last = next(number for number, step in enumerate(STEPS) if step.name == "embed_images")
    records = run_steps(more, STEPS[: last + 1], RULES)
    ids = more.ledger.alive(records, ["image_id"])["image_id"].unique()
    return built, more, ids


def downloads(workspace):
    return [file.name for file in list_files(workspace.root) if file.kind == "downloads" and "." in file.path.name[1:]]


def missing(run, ids):
    return len(FeatureStore(run.workspace, encoder_identity(run), "images").missing(ids))


def test_only_what_no_build_shows_is_freed_and_only_when_asked(crowded, rebuilt_once):
    built, more, ids = crowded
    workspace = built.run.workspace
    shown = built.run.ledger.alive(built.records, ["image_id"])["image_id"].unique()
    before, first = downloads(workspace), downloads(rebuilt_once.run.workspace)
    assert len(ids) == len(OTHERS)
    assert set(first) < set(before)

    clean_workspace(workspace, workspace.exchange, NO_AGE)
    assert downloads(workspace) == before
    assert missing(more, ids) == 0

    asked = replace(NO_AGE, downloads=True, features=True)
    assert sum(idle.rows for idle in look_through(workspace, workspace.exchange, asked).rows) >= len(ids)
    assert downloads(workspace) == before
    freed = clean_workspace(workspace, workspace.exchange, asked)
    assert {leftover.why for leftover in freed.leftovers if leftover.kind == "downloads"} == {
        "pictures that no build shows"
    }
    assert downloads(workspace) == first
    assert missing(more, ids) == len(ids)
    assert missing(more, shown) == 0
    read = partial(read_images, workspace.downloads)
    assert verify_build(workspace, built.manifest, read_bytes=read, every_image=True) == []

    again = look_through(workspace, workspace.exchange, asked)
    assert (again.leftovers, again.rows) == ([], [])
    assert run_steps(built.run) == built.records
    assert publish(built.run, built.records)["build"] == built.manifest["build"]


def test_what_is_young_stays_though_it_was_asked_for(crowded):
    built, _, _ = crowded
    workspace = built.run.workspace
    before = downloads(workspace)
    clean_workspace(workspace, workspace.exchange, Wanted(older_than_s=3600, downloads=True))
    assert downloads(workspace) == before


@pytest.mark.slow
@pytest.mark.usefixtures("colour_words")
def test_a_rebuild_takes_over_downloads_and_features_when_all_its_records_were_freed(tmp_path, rebuilt_once):
    run = open_run(tmp_path / "w", rows())
    workspace = run.workspace
    run_steps(run)  # and no more: it ends before it publishes
    kept = {
        file.name: file.changed
        for file in list_files(workspace.root)
        if file.path.suffix in (".tar", ".parquet") or (file.name.startswith("features/") and "/data/" in file.name)
    }
    freed = clean_workspace(workspace, workspace.exchange, NO_AGE)
    assert {leftover.kind for leftover in freed.leftovers} >= {"step records", "ledger tables"}
    assert not list(workspace.steps.rglob("*.json"))
    again = replace(run, recent=RecentTables())
    assert publish(again, run_steps(again))["content_hash"] == rebuilt_once.manifest["content_hash"]
    after = {file.name: file.changed for file in list_files(workspace.root)}
    assert {name: after.get(name) for name in kept} == kept
    assert len(downloads(workspace)) == len([name for name in kept if name.startswith("downloads/")])
