"""Encoding that is killed or interrupted, by one worker or two, here or on Ray: the same rows, each encoded once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import psutil
import pytest
import yaml
from PIL import Image

from evenly.flows.process.interruption import INTERRUPTED
from tests.interrupted import MARK, processes, signalled
from tests.tiny_encoders import write_clip

pytestmark = pytest.mark.timeout(900)
PAIRS = 200  # as extraction_driver.py has it, which is not imported: it changes constants
DRIVER = str(Path(__file__).with_name("extraction_driver.py"))
LINE = f"evenly: {INTERRUPTED}"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe of PAIRS pictures in a folder, each another, and an encoder of a folder."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "pictures").mkdir()
    for number in range(PAIRS):
        colour = (number % 20 * 12, number % 7 * 30, number)
        Image.new("RGB", (40 + number % 20, 40), colour).save(folder / "pictures" / f"{number}.png")
        (folder / "pictures" / f"{number}.txt").write_text(f"a fox of number {number}")
    content = {
        "name": "pairs",
        "seed": 5,
        "sources": [{"kind": "folder", "path": str(folder / "pictures")}],
        "curate": {"download": {}, "align": {"keep_top": 0.9}},
        "features": {"model": f"local-dir:{write_clip(folder / 'model')}", "batch_size": 4},
    }
    (folder / "pairs.yaml").write_text(yaml.safe_dump(content))
    return folder / "pairs.yaml"


def words(recipe: Path, root: Path, *options: str) -> list[str]:
    return ["rebuild", str(recipe), "--root", str(root), *options, "--json"]


def rebuild(recipe: Path, root: Path, *options: str) -> str:
    """Run it to its end: the build."""
    command = [sys.executable, DRIVER, *words(recipe, root, *options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["build"]


def stored(root: Path) -> dict[str, dict[str, tuple]]:
    """The rows of pictures and texts, by id; each is there once."""
    rows = {}
    for path in (root / "features").glob("*/*.lance"):
        table = lance.dataset(str(path)).to_table(["id", "vector", "norm"])
        rows[path.stem] = {row["id"]: (tuple(row["vector"]), row["norm"]) for row in table.to_pylist()}
        assert len(rows[path.stem]) == table.num_rows
    return rows


def by_encoder(root: Path) -> dict[str, list]:
    """The rows of pictures of each encoder, sorted."""
    return {
        path.parent.name: sorted(
            (row["id"], tuple(row["vector"]), row["norm"])
            for row in lance.dataset(str(path)).to_table(["id", "vector", "norm"]).to_pylist()
        )
        for path in (root / "features").glob("*/images.lance")
    }


def n_commits(root: Path) -> int:
    """How often features of pictures were stored."""
    return len(list((root / "features").glob("*/images.lance/_versions/*.manifest")))


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory) -> tuple[str, dict]:
    """The build by one process, and its rows."""
    root = tmp_path_factory.mktemp("undisturbed")
    build = rebuild(recipe, root, "--workers", "1")
    rows = stored(root)
    assert {kind: len(by_id) for kind, by_id in rows.items()} == {"images": PAIRS, "texts": PAIRS}
    return build, rows


@pytest.mark.slow
def test_extract_by_another_encoder_takes_several_processes_and_gives_the_rows_of_one(recipe, tmp_path):
    content = yaml.safe_load(recipe.read_text())
    content["features"]["batch_size"] = 8
    other = tmp_path / "pairs.yaml"
    other.write_text(yaml.safe_dump(content))
    rows = []
    for name, *options in (("several",), ("one", "--profile")):
        root = tmp_path / name
        rebuild(recipe, root, "--workers", "1")
        command = [sys.executable, DRIVER, "extract", str(other), "--root", str(root), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["images"] == found["images_new"]
        rows.append(by_encoder(root)[found["encoder"][:32]])
    assert len(rows[0]) == found["images"] == found["profile"]["pictures"]  # of one: other processes tell none
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_encoding_that_is_ended_goes_on_where_it_was(recipe, undisturbed, tmp_path, number, workers):
    root = tmp_path / "w"
    end = signalled(
        words(recipe, root, "--workers", workers),
        {},
        folder=tmp_path,
        moment_s=0.1,
        number=number,
        group=number == signal.SIGINT,
        program=[DRIVER],
        after=lambda _mark: n_commits(root) > 2,
    )
    assert (end.status, end.left) == (130 if number == signal.SIGINT else -number, ())
    if number == signal.SIGINT:
        assert end.err.splitlines()[-1] == LINE
        assert end.seconds < 5
    half = stored(root)["images"]
    assert 0 < len(half) < PAIRS
    assert rebuild(recipe, root, "--workers", workers) == undisturbed[0]
    assert stored(root) == undisturbed[1]
    assert half.items() <= stored(root)["images"].items()


def kill_a_worker(root: Path, started: psutil.Process, name: str, killed: list[int]) -> None:
    """Kill a worker, whose command line has the name, once features are stored: no child of the command itself."""
    while started.is_running() and n_commits(root) < 3:
        time.sleep(0.005)
    for process in psutil.process_iter():
        try:
            is_worker = name in " ".join(process.cmdline()) and process.ppid() != started.pid
            if is_worker and os.environ[MARK] == process.environ().get(MARK):
                process.kill()
                killed.append(process.pid)
                return
        except psutil.Error:
            continue


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_worker_that_is_killed_in_mid_encoding_changes_no_row(recipe, undisturbed, tmp_path, engine, monkeypatch):
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    monkeypatch.setenv(MARK, tmp_path.name)
    monkeypatch.setenv("PYTHONPATH", str(Path(DRIVER).parents[2]))
    root, killed = tmp_path / "w", list[int]()
    command = [sys.executable, DRIVER, *words(recipe, root, "--workers", "2", "--engine", engine)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        name = "forkserver" if engine == "local" else "ray::partitions"
        kill_a_worker(root, psutil.Process(process.pid), name, killed)
        out, error = process.communicate(timeout=800)
    assert process.returncode == 0, error
    assert killed
    assert json.loads(out)["build"] == undisturbed[0]
    assert stored(root) == undisturbed[1]


def n_processes(mark: str) -> int:
    return len(processes(mark))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_encode_that_is_ended_leaves_no_file_and_no_process(recipe, tmp_path, number):
    listed = [str(recipe.parent / "pictures")] * 100
    end = signalled(
        ["encode", *listed, "--out", str(tmp_path / "rows.npz"), "--root", str(tmp_path / "w"), *model(recipe)],
        {},
        folder=tmp_path,
        moment_s=1,
        number=number,
        group=number == signal.SIGINT,
        after=lambda mark: n_processes(mark) > 1,  # which decode pictures
    )
    assert (end.status, end.left) == (130 if number == signal.SIGINT else -number, ())
    assert end.out == ""
    assert [path.name for path in tmp_path.glob("*rows*")] == []
    if number == signal.SIGINT:
        assert end.err.splitlines()[-1] == LINE
        assert end.seconds < 5


@pytest.mark.slow
def test_tuning_that_is_interrupted_keeps_no_figure(recipe, tmp_path):
    end = signalled(
        ["encoders", "tune", *model(recipe)[1:], "--rounds", "100000", "--batch-sizes", "2,4"],
        {"EVENLY_CACHE": str(tmp_path / "cache")},
        folder=tmp_path,
        moment_s=8,
        number=signal.SIGINT,
    )
    assert (end.status, end.left, end.out, end.err) == (130, (), "", f"{LINE}\n")
    assert end.seconds < 5
    assert not list((tmp_path / "cache").rglob("*.json"))


def model(recipe: Path) -> list[str]:
    return ["--model", yaml.safe_load(recipe.read_text())["features"]["model"]]
