"""kill -9 at any point, then the same command: the same build as an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evenly.storage.builds import Builds
from evenly.storage.web.shards import read_downloads
from evenly.storage.workspace import Workspace

pytestmark = pytest.mark.embedded


@pytest.mark.slow
@pytest.mark.parametrize("point", ["balance", "samples-written", "before-manifest"])
def test_a_run_that_was_killed_gives_the_same_build(small_web, undisturbed, tmp_path, point):
    root, wanted = undisturbed
    killed = small_web.drive(tmp_path, "--kill-at", point, "--replay-from", str(root), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Builds(Workspace.at(tmp_path)).names() == []
    assert small_web.drive(tmp_path).stdout.strip() == wanted


@pytest.mark.slow
def test_a_run_that_was_killed_during_the_download_gives_the_same_build(small_web, undisturbed, tmp_path):
    command = [sys.executable, str(small_web.driver), str(small_web.recipe), str(tmp_path)]
    process = subprocess.Popen(command, env=os.environ | small_web.environment, stdout=subprocess.DEVNULL)
    partial = tmp_path / "downloads" / ".partial"
    until = time.monotonic() + 120
    while not partial.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert Builds(Workspace.at(tmp_path)).names() == []
    assert small_web.drive(tmp_path).stdout.strip() == undisturbed[1]
    urls = read_downloads(tmp_path / "downloads", ["url"])["url"].to_pylist()
    assert len(urls) == len(set(urls))


@pytest.mark.slow
def test_another_folder_with_other_workers_gives_the_same_content_hash(small_web, undisturbed, tmp_path):
    root, wanted = undisturbed
    again = small_web.drive(tmp_path, "--replay-from", str(root), "--workers", "1")
    assert again.stdout.strip() == wanted


@pytest.mark.slow
def test_a_second_run_reuses_every_step_and_makes_no_second_build(small_web, undisturbed):
    root, wanted = undisturbed
    before = sorted(path.name for path in (root / "steps").iterdir())
    assert small_web.drive(root).stdout.strip() == wanted
    assert sorted(path.name for path in (root / "steps").iterdir()) == before
    assert len(Builds(Workspace.at(root)).names()) == 1


def test_the_manifest_adds_up(undisturbed):
    root, wanted = undisturbed
    manifest = Builds(Workspace.at(root)).read("latest")
    assert manifest["content_hash"] == wanted
    rows = None
    for step in manifest["steps"]:
        if step["counts"]:
            assert sum(step["counts"].values()) == step["rows_in"]
            assert rows in (None, step["rows_in"])
            rows = step["counts"]["kept"]
    assert rows == manifest["samples"]["kept"]
    assert json.dumps(manifest)


def test_the_small_web_exercises_every_verdict(undisturbed):
    root: Path = undisturbed[0]
    counts = [step["counts"] for step in Builds(Workspace.at(root)).read("latest")["steps"] if step["counts"]]
    assert all(any(count[verdict] for count in counts) for verdict in ("kept", "dropped", "failed", "merged"))
