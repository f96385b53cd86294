import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evenly.demo import make
from evenly.demo.errors import FolderError
from evenly.demo.make import MANIFEST, make_demo

ROOT = Path(__file__).resolve().parents[2]
CODES = ["1F34C", "1F600", "1F408", "1F468-200D-1F33E", "1F9D1-200D-1F33E", "E000"]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_folders_are_equal_to_the_byte(tmp_path):
    for name in ("one", "two"):
        make_demo(tmp_path / name, codes=CODES)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_call_does_nothing(web_folder):
    codes = sorted(path.stem for path in (web_folder / "pictures").iterdir())
    before = {path: path.stat().st_mtime_ns for path in web_folder.rglob("*") if path.name != ".lock"}
    done = []
    manifest = make_demo(web_folder, codes=codes, progress=done.append)
    assert manifest == json.loads((web_folder / MANIFEST).read_text())
    assert {path: path.stat().st_mtime_ns for path in web_folder.rglob("*") if path.name != ".lock"} == before
    assert done == []


def test_the_manifest_counts_the_faults(web_folder, truth):
    counts = json.loads((web_folder / MANIFEST).read_text())["counts"]
    assert sum(counts.values()) == len(truth)
    assert counts["natural_duplicate"] >= 1


def test_a_lost_or_cut_file_is_made_again(tmp_path):
    make_demo(tmp_path, codes=CODES)
    before = contents(tmp_path)
    (tmp_path / "pictures" / "1F34C.png").unlink()
    (tmp_path / "pool.parquet").write_bytes(b"")
    make_demo(tmp_path, codes=CODES)
    assert contents(tmp_path) == before


def test_new_wording_makes_new_tables_and_keeps_the_pictures(tmp_path, monkeypatch):
    make_demo(tmp_path, codes=CODES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    stranger = tmp_path / "variants" / "1F34C-old.jpg"
    stranger.write_bytes(b"of an older pool")
    monkeypatch.setattr("evenly.demo.make._WRITING", ("captions",))
    done = []
    make_demo(tmp_path, codes=CODES, progress=done.append)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before
    assert not stranger.exists()
    assert json.loads((tmp_path / MANIFEST).read_text())["identity"]["writing"]


def test_every_module_that_makes_the_web_counts_in_its_identity():
    folder = ROOT / "demo"
    modules = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("[!_]*.py")}
    beside = {
        "pictures/binding",
        "pictures/digits",
        "pictures/folder",
        "pictures/kinds",
        "pictures/photographs",
        "pictures/planted",
        "errors",
        "files",
        "make",
        "processes",
        "truth",
        "web",
    }
    assert {*make._DRAWING, *make._WRITING} == {
        name for name in modules - beside if not name.startswith(("scenes/", "ground/"))
    }


def test_another_seed_replaces_what_was_there(tmp_path):
    make_demo(tmp_path / "a", codes=CODES)
    make_demo(tmp_path / "a", codes=CODES, seed=7)
    make_demo(tmp_path / "b", codes=CODES, seed=7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"got .* with 'thesis.txt'"):
        make_demo(tmp_path, codes=CODES)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


KILLED_RUN = """
import itertools, os, signal, sys
from pathlib import Path
from evenly.demo import make_demo

calls = itertools.count(1)

def progress(done):
    if next(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

make_demo(Path(sys.argv[1]), codes=sys.argv[3:], progress=progress)
"""


@pytest.mark.parametrize("calls", [45, *(pytest.param(calls, marks=pytest.mark.slow) for calls in (7, 85))])
def test_a_killed_run_is_taken_up_again(tmp_path, web_folder, calls):
    codes = [path.stem for path in (web_folder / "pictures").iterdir()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path), str(calls), *codes]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    held = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert held
    assert not (tmp_path / MANIFEST).exists()
    make_demo(tmp_path, codes=codes)
    assert contents(tmp_path) == contents(web_folder)
    assert {path: path.stat().st_mtime_ns for path in held} == held


def test_the_pool_tells_nothing_of_the_faults(web_folder):
    pool = pq.read_table(web_folder / "pool.parquet")
    assert pool.column_names == ["url", "alt", "source"]
    assert set(pool["source"].to_pylist()) <= {"crawl", "gallery", "blog"}


@pytest.mark.slow
def test_the_whole_web_is_made_within_ninety_seconds(tmp_path):
    start = time.monotonic()
    manifest = make_demo(tmp_path)
    assert time.monotonic() - start < 90
    assert manifest["counts"]["natural_duplicate"] > 150
