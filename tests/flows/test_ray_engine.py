"""Rebuilds in a Ray cluster of two nodes give the build that one process gives."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.recipe import RecipeError, read_recipe
from evenly.flows.recipe.steps import content_of
from evenly.flows.runs import with_engine
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from evenly.tasks.run import EngineChoice
from tests.ray_nodes import add_node, ray_nodes

pytestmark = [
    pytest.mark.timeout(900),  # Ray takes its time on a busy machine
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*ray_client_server:pytest.PytestUnraisableExceptionWarning"
    ),
]
CLIENT_PORT = 10_077
NOUNS = ("dog", "cat", "ship", "tree", "river", "bridge", "horse")


def write_recipe(folder: Path, source: dict, **curate) -> Path:
    content = {"name": "pairs", "seed": 5, "sources": [source], "curate": curate}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def texts(tmp_path):
    """A recipe of captions alone over 400 rows in three files."""
    for number in range(3):
        rows = range(number, 400, 3)
        captions = [None if row % 50 == 49 else f"a {NOUNS[row % 7]} of number {row}" for row in rows]
        table = pa.table({"url": [f"http://a.test/{row}" for row in rows], "text": captions})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    source = {"kind": "parquet", "path": str(tmp_path / "*.parquet"), "url": "url", "caption": "text"}
    rules = {"text": {"caption_length": {"min_words": 2}}, "match": {}, "balance": {"t": 20}}
    return write_recipe(tmp_path, source, **rules)


@pytest.fixture
def pictures(tmp_path):
    """A recipe of 60 pictures in a folder, some of them the same."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        colour = (number % 20 * 12, number % 7 * 30, 200)
        Image.new("RGB", (64 + number % 20, 64), colour).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a {NOUNS[number % 7]} of number {number}")
    rules = {"image": {"image_size": {"min_side": 8}}, "deduplicate": {"perceptual": None}, "balance": {"t": 20}}
    return write_recipe(tmp_path, {"kind": "folder", "path": str(folder)}, match={}, download={}, **rules)


@pytest.mark.parametrize(("value", "address"), [("ray", None), ({"ray": "head:6379"}, "head:6379"), ("auto", "auto")])
def test_a_recipe_names_its_engine_which_is_no_part_of_the_content(texts, value, address):
    plain = read_recipe(texts)
    assert plain.engine == EngineChoice()
    texts.write_text(yaml.safe_dump(yaml.safe_load(texts.read_text()) | {"engine": value}))
    named = read_recipe(texts)
    assert named.engine == EngineChoice(name="ray", address=address)
    assert content_of(named) == content_of(plain)
    assert with_engine(named, None) is named
    assert with_engine(named, "local").engine == EngineChoice()


def test_an_engine_that_cannot_be_is_refused_in_a_recipe_and_as_an_option(texts):
    with pytest.raises(InputError, match=r"`engine` must be local, ray .*; got `dask`\. Correct --engine\."):
        with_engine(read_recipe(texts), "dask")
    texts.write_text(yaml.safe_dump(yaml.safe_load(texts.read_text()) | {"engine": {"ray": "head"}}))
    with pytest.raises(RecipeError, match=r"`engine`: must be local, ray .*; got `head`\. Change it and run"):
        read_recipe(texts)


@pytest.fixture(scope="module")
def cluster(request):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    request.getfixturevalue("prefect_server")  # workers report to it
    with ray_nodes(2, client_port=CLIENT_PORT) as nodes:
        yield nodes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["texts", "pictures", "by the port of clients"])
def test_a_cluster_of_two_nodes_gives_the_build_that_one_process_gives(kind, tmp_path, cluster, request, monkeypatch):
    address = f"ray://127.0.0.1:{CLIENT_PORT}" if "port" in kind else cluster.address
    recipe = str(request.getfixturevalue("texts" if "port" in kind else kind))
    whole = rebuild_dataset(recipe=recipe, root=str(tmp_path / "whole"), quiet=True)
    monkeypatch.setattr(partitioning, "MOST_ROWS", 15)
    cut = rebuild_dataset(recipe=recipe, root=str(tmp_path / "cut"), engine=address, quiet=True)
    assert cut == whole
    workspace = Workspace.at(tmp_path / "cut")
    record = Ledger(workspace).find(Builds(workspace).read(cut)["steps"][0]["key"])
    assert record is not None
    assert record.bits > 1
    assert not list(workspace.exchange.iterdir())


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker of Ray that has been given something to do."""
    try:
        return process.cmdline()[:1] == ["ray::partitions"]
    except psutil.Error:
        return False


def kill_first(node, *, whole: bool, killed: list[int]) -> None:
    """Kill the first worker of a node that has been given something to do; with its node, where that is lost whole."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    deadline = time.monotonic() + 200
    while not killed and time.monotonic() < deadline:
        workers = [process for process in raylet.children() if is_worker(process)]
        for process in (*([raylet, *raylet.children()] if whole else workers),) if workers else ():
            killed.append(process.pid)
            process.kill()
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["worker", "node"])
def test_a_rebuild_that_loses_a_worker_or_a_node_gives_the_same_build(texts, tmp_path, cluster, monkeypatch, whole):
    expected = rebuild_dataset(recipe=str(texts), root=str(tmp_path / "whole"), quiet=True)
    monkeypatch.setattr(partitioning, "MOST_ROWS", 15)
    node = add_node(cluster)
    killed = list[int]()
    thread = threading.Thread(target=kill_first, args=(node,), kwargs={"whole": whole, "killed": killed})
    thread.start()
    try:
        build = rebuild_dataset(recipe=str(texts), root=str(tmp_path / "w"), engine=cluster.address, quiet=True)
    finally:
        thread.join()
        cluster.remove_node(node, allow_graceful=False)
    assert killed
    assert build == expected
    assert not list(Workspace.at(tmp_path / "w").exchange.iterdir())


COMMAND = """
import sys
from evenly.tasks import partitioning
partitioning.MOST_ROWS = 15
from evenly.flows.__main__ import main
if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_no_process_of_its_cluster(texts, tmp_path, number):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    arguments = ["rebuild", str(texts), "--engine", "ray", "--workers", "2", "--root", str(tmp_path / "w"), "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        started = psutil.Process(command.pid)
        while command.poll() is None and not any(map(is_worker, started.children(recursive=True))):
            time.sleep(0.05)
        processes = started.children(recursive=True)
        assert any("raylet" in process.name() for process in processes)
        command.send_signal(number)
        out, error = command.communicate(timeout=60)
    assert out == ""
    if number == signal.SIGINT:
        assert command.returncode == 130
        assert error.splitlines()[-1].startswith("evenly: interrupted. Run the same command again")
    _, alive = psutil.wait_procs(processes, timeout=30)
    # Ray's agents of a node look for the others for a minute, also where a busy machine had no time to end them
    assert {process.name().partition(":")[0] for process in alive} <= {"ray"}
    _, alive = psutil.wait_procs(alive, timeout=180)
    assert not alive


@pytest.mark.slow
def test_a_cluster_of_the_command_gives_the_build_of_one_process_and_nothing_but_that_on_stdout(texts, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    builds = []
    for engine in ("local", "ray"):
        arguments = ["rebuild", str(texts), "--engine", engine, "--root", str(tmp_path / engine), "--json"]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True, timeout=800
        )
        builds.append(json.loads(done.stdout)["build"])
        assert "Ray" not in done.stderr
    assert builds[0] == builds[1]


SESSION = """
import os
from pathlib import Path
import ray
from evenly.storage.workspace import Workspace
from evenly.tasks.ray.cluster import open_cluster
from evenly.tasks.run import EngineChoice, Run
with open_cluster(Run(workspace=Workspace.at("w"), seed=1, processes=1, engine=EngineChoice(name="ray"))):
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    print(session, oct(session.parents[1].stat().st_mode & 0o777))
"""


@pytest.mark.slow
def test_nobody_else_may_enter_the_folder_of_a_cluster_of_ours_which_goes_with_it():
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True, check=True, timeout=300)
    session, mode = done.stdout.split()
    assert mode == "0o700"
    assert not Path(session).parents[1].exists()
