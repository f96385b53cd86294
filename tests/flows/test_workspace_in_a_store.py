"""Rebuilds into an object store: the same build as in a folder, every command on it, nothing of the credentials."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from evenly.audit.published import PublishedBuild
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds
from evenly.storage.stores.object_path import path_at
from evenly.storage.workspace import Workspace, writing
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step
from tests.azure_store_server import ACCOUNT_KEY
from tests.object_store_server import CREDENTIALS

NOUNS = ("dog", "cat", "tree", "house", "car", "flower", "bird", "fish", "boat", "apple")
PLACES = ("in a green garden", "near the old harbour", "under a bridge", "on the kitchen table")
SECRETS = [*CREDENTIALS.values(), ACCOUNT_KEY]
CAPTIONS = [f"a photograph of a {noun} {place}" for noun in NOUNS for place in PLACES]


@pytest.fixture
def recipe(bucket, tmp_path):
    """A recipe of captions, whose pool lies in the bucket."""
    return write_recipe(bucket, tmp_path)


def write_recipe(bucket, tmp_path):
    rows = [{"id": str(number), "text": text} for number, text in enumerate([*CAPTIONS, "dog", CAPTIONS[0]])]
    (path_at(bucket) / "pool" / "p.jsonl").write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "concepts.txt").write_text("\n".join(NOUNS))
    source = {"kind": "jsonl", "path": f"{bucket}/pool/*.jsonl", "caption": "text", "url": None, "id": "id"}
    curate = {
        "text": {"caption_length": {"min_words": 3}},
        "match": {"metadata": str(tmp_path / "concepts.txt")},
        "preselect": {"headroom": 2.0},
        "balance": {"t": 3},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "captions", "seed": 7, "sources": [source], "curate": curate}))
    return path


def rebuild(path, root):
    recipe = read_recipe(path)
    with open_run(recipe, root=root, quiet=True) as run:
        records = ()
        for step, rule in steps_of(recipe):
            records = (*records, run_step(run, step, records, rule))
        return publish_build(run, records, name=recipe.name, recipe=content_of(recipe), limit=None, max_change=1.0)


def facts(evenly, *arguments):
    status, out, err = evenly(*arguments)
    assert status == 0, err
    assert not [value for value in SECRETS if value in out + err]
    return json.loads(out[re.search(r"^[\[{]", out, re.MULTILINE).start() :])


@pytest.mark.parametrize(
    "any_bucket", ["s3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gs", "az"))], indirect=True
)
def test_every_command_works_on_a_workspace_in_a_store(evenly, any_bucket, tmp_path):
    bucket, recipe = any_bucket, write_recipe(any_bucket, tmp_path)
    root = f"{bucket}/team/w"
    at = ("--root", root, "--json")
    result = facts(evenly, "rebuild", str(recipe), *at)
    manifest = Builds(Workspace.at(root)).read(result["build"])
    assert result["report"] == f"{root}/reports/{result['build']}.html"
    assert {row["action"] for row in facts(evenly, "plan", str(recipe), *at)["steps"]} == {"reuse"}
    assert facts(evenly, "rebuild", str(recipe), *at)["build"] == result["build"]
    assert facts(evenly, "verify", "latest", *at)["findings"] == []
    uid = PublishedBuild(Workspace.at(root), manifest).samples(["uid"], "balance_verdict = 'kept'")["uid"][0].as_py()
    (pair,) = facts(evenly, "why", uid, "--replay", *at)["pairs"]
    assert {step["replay"]["agrees"] for step in pair["steps"]} == {True}
    facts(evenly, "diff", result["build"], "latest", *at)
    assert path_at(facts(evenly, "report", "latest", *at)["report"]).is_file()
    facts(evenly, "promote", result["build"], *at)
    assert [row["latest"] for row in facts(evenly, "builds", *at)["builds"]] == [True]
    facts(evenly, "export", "latest", "--to", "parquet", "--out", str(tmp_path / "out"), *at)
    stored = facts(evenly, "export", "latest", "--to", "parquet", *at)
    assert stored["folder"] == f"{root}/exports/{result['build']}/parquet"
    assert pq.read_table(tmp_path / "out" / "samples.parquet").num_rows == manifest["samples"]["kept"]

    assert rebuild(recipe, tmp_path / "w")["content_hash"] == manifest["content_hash"]
    objects = [path_at(bucket).joinpath(*name.split("/")) for name, _ in path_at(bucket).objects()]
    assert not [path for path in objects if any(value.encode() in path.read_bytes() for value in CREDENTIALS.values())]
    assert not [path for path in objects if "locks" in path.parts or ".probe" in path.name or ".clock" in path.name]
    assert not [path for path in Path.cwd().iterdir() if path.name.endswith(":")]


def test_a_recipe_that_another_process_rebuilds_is_refused_in_one_line(evenly, recipe, bucket):
    with writing(Workspace.at(f"{bucket}/w"), "captions"):
        status, _, err = evenly("rebuild", str(recipe), "--root", f"{bucket}/w")
        late, _, waited = evenly("rebuild", str(recipe), "--root", f"{bucket}/w", "--wait", "1")
    assert (status, err.count("\n")) == (1, 1)
    assert (late, waited.count("\n")) == (1, 2)
    assert waited.startswith("waiting ")
    assert f"for `captions`, at most 1 s: process {os.getpid()} on" in waited
    assert (
        f"recipe `captions` must be written by one process at a time in `{bucket}/w`; process {os.getpid()} on" in err
    )


KILLED = """
import os, runpy, signal, sys
from evenly.storage.stores.object_path import ObjectPath
left = int(sys.argv.pop(1))
def counted(write):
    def counting(*arguments, **options):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments, **options)
    return counting
ObjectPath.create, ObjectPath.write_stream = counted(ObjectPath.create), counted(ObjectPath.write_stream)
sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_rebuild_into_a_store_that_was_killed_ahead_of_many_a_write_gives_the_same_build(any_bucket, tmp_path):
    """Each run goes on from what the last one left, and is killed ahead of a later one of its own writes."""
    bucket, recipe = any_bucket, write_recipe(any_bucket, tmp_path)
    driver = Path(__file__).with_name("pipeline_driver.py")
    kills, done = 0, None
    for number in range(1, 60, 3):
        command = [sys.executable, "-c", KILLED, str(number), str(driver), str(recipe), f"{bucket}/w"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != -signal.SIGKILL:
            break
        kills += 1
        assert len(Builds(Workspace.at(f"{bucket}/w")).names()) <= 1
    assert kills >= 4
    assert done.returncode == 0, done.stderr
    local = rebuild(recipe, tmp_path / "w")
    assert done.stdout.strip() == local["content_hash"]
    assert Builds(Workspace.at(f"{bucket}/w")).names() == [local["build"]]
    print(f"{kills} kills")  # noqa: T201
