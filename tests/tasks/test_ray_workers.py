"""Partitions in a Ray cluster of two nodes on this machine: what comes of them, and of those whose workers die."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from evenly.storage.errors import StorageError
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import EngineError
from evenly.tasks.partitioning import open_engine
from evenly.tasks.progress import Progress
from evenly.tasks.ray import cluster as clusters
from evenly.tasks.ray.cluster import Capacity, capacity, connecting, has_gpu
from evenly.tasks.ray.workers import RayWorkers
from evenly.tasks.run import EngineChoice, Run, read_engine, with_model
from tests.ray_nodes import add_node, ray_nodes

pytestmark = pytest.mark.timeout(900)  # Ray takes its time on a busy machine


@pytest.mark.parametrize(
    ("value", "engine"),
    [
        ("local", EngineChoice()),
        ("ray", EngineChoice(name="ray")),
        ("auto", EngineChoice(name="ray", address="auto")),
        ("head:6379", EngineChoice(name="ray", address="head:6379")),
        ("[fd00::1]:6379", EngineChoice(name="ray", address="[fd00::1]:6379")),
        ("ray://head.example:10001", EngineChoice(name="ray", address="ray://head.example:10001")),
        ({"ray": "10.0.0.1:6379"}, EngineChoice(name="ray", address="10.0.0.1:6379")),
        ({"ray": "auto"}, EngineChoice(name="ray", address="auto")),
    ],
)
def test_an_engine_is_read_from_a_name_or_an_address(value, engine):
    assert read_engine(value) == engine
    assert read_engine(engine) is engine


@pytest.mark.parametrize(
    "value", ["dask", "head", "http://head:1", "ray://head", {"dask": "head:1"}, {"ray": 5}, None, ""]
)
def test_another_engine_is_refused(value):
    with pytest.raises(ValueError, match=r"^must be local, ray .* or the address of a Ray cluster.*; got `"):
        read_engine(value)


@pytest.mark.parametrize("bits", [0, 2])
def test_ray_must_be_installed_where_it_is_asked_for(tmp_path, monkeypatch, bits):
    monkeypatch.setattr(clusters, "find_spec", lambda name: None if name == "prefect_ray" else name)
    run = Run(workspace=Workspace.at(tmp_path), seed=1, bits=bits, engine=EngineChoice(name="ray"))
    with (
        pytest.raises(StorageError, match=r"`engine: ray` needs prefect_ray, .*pip install 'prefect-ray"),
        open_engine(run),
    ):
        pass


def test_one_partition_starts_no_ray(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda name: name)
    run = Run(workspace=Workspace.at(tmp_path), seed=1, engine=EngineChoice(name="ray"))
    with open_engine(run) as each:
        assert each.partitions("counting", lambda part_run: part_run.part.number) == [0]
        assert not isinstance(each, RayWorkers)


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    with ray_nodes(2, gpus=1) as nodes:
        yield nodes


class Said(Progress):
    """Keeps what is said."""

    lines: list[str] = []  # noqa: RUF012 - of this process alone

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def run(tmp_path, cluster):
    Said.lines.clear()
    engine = EngineChoice(name="ray", address=cluster.address)
    return Run(workspace=Workspace.at(tmp_path / "w"), seed=1, bits=3, engine=engine, progress=Said())


def where_and_what(run: Run, item: int) -> tuple[str, str | None, int]:
    import ray

    return ray.get_runtime_context().get_node_id(), os.environ.get("PREFECT_API_URL"), item * run.seed


@pytest.mark.slow
def test_items_come_back_in_order_from_both_nodes_which_report_to_our_server(run):
    from prefect.settings import PREFECT_API_URL

    with RayWorkers(run) as workers:
        given = list(workers.items("looking", where_and_what, range(100)))
        assert workers.partitions("numbers", part_number) == list(range(8))
    assert [item for _, _, item in given] == list(range(100))
    assert len({node for node, _, _ in given}) == 2
    assert {url for _, url, _ in given} == {PREFECT_API_URL.value()}
    assert not list(run.workspace.exchange.iterdir())


def gpus_of(_work: object, _run: Run, _item: int) -> list[int]:
    """The GPUs that a worker was given."""
    import ray

    return list(ray.get_gpu_ids())


def sending(work: object, run: Run) -> list[int]:
    """The same, of a function that is handed another, as what sends rows is."""
    return gpus_of(work, run, 0)


@with_model
def encoding(_run: Run) -> None:
    """Stands for what encodes."""


@pytest.mark.slow
def test_what_loads_an_encoder_is_given_a_gpu_and_gives_it_back(run):
    import ray

    with RayWorkers(run) as workers:
        assert workers.partitions("encoding", partial(sending, encoding)) == [[0]] * 8
        assert workers.partitions("matching", partial(sending, part_number)) == [[]] * 8
        assert list(workers.items("encoding", partial(gpus_of, encoding), range(9))) == [[0]] * 9
        until(lambda: ray.available_resources().get("GPU") == 1, "the GPU is free again")


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, which it must in the end."""
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("nodes_have", "expected"),
    [
        ([(4, 0), (8, 0)], Capacity(processors=12)),
        ([(16, 1), (12, 1), (4, 0)], Capacity(processors=32, gpus=2, share=8)),
        ([(4, 2), (6, 1)], Capacity(processors=10, gpus=3, share=2)),
        ([(0, 4), (1, 2), (0, 0)], Capacity(processors=1, gpus=1)),
    ],
)
def test_a_cluster_has_the_processors_of_its_nodes_and_the_gpus_that_have_one(monkeypatch, nodes_have, expected):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    living = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in nodes_have]
    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [*living, dead])
    assert capacity() == expected
    assert has_gpu(8) == any(cpus >= 8 and gpus for cpus, gpus in nodes_have)


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.40.0
    Python: 3.12.1
This process on 10.0.0.7 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (VERSIONS, r"with: Ray: 2.40.0 Python: 3.12.1 This .* Python: 3.11.7. Install the same Python and Ray on all"),
        ("Ray Client needs grpc.\n\nlong words", r"at `head:1`; Ray Client needs grpc. Start it, or correct `engine`"),
        ("Failure from server:\nTraceback\nOSError: no port", r"; Failure from server: OSError: no port. Start it"),
        ("", r"; TimeoutError. Start it"),
    ],
)
def test_why_a_cluster_cannot_be_used_is_one_line(text, line):
    with pytest.raises(EngineError, match=line) as refusal, connecting("a Ray cluster must answer at `head:1`"):
        raise TimeoutError(text)
    assert "\n" not in str(refusal.value)


def part_number(run: Run) -> int:
    return run.part.number


@dataclass(frozen=True)
class Dying:
    """Work in which something is killed, once or always: this worker, or its node where that is not the driver's."""

    folder: Path
    head: str = ""
    always: bool = False

    def __call__(self, _run: Run, item: int) -> int:
        import ray

        is_head = ray.get_runtime_context().get_node_id() == self.head
        killed = self.folder / "killed"
        if self.head and is_head and not killed.exists():
            deadline = time.monotonic() + 120
            while not killed.exists() and time.monotonic() < deadline:  # so that the other node gets work too
                time.sleep(0.1)
        elif not is_head and (self.always or not killed.exists()):
            killed.touch()
            if self.head:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{item}-{time.time_ns()}").touch()
        return item


@pytest.mark.slow
def test_the_partitions_of_a_killed_worker_are_given_to_another(run, tmp_path):
    with RayWorkers(run) as workers:
        assert list(workers.items("dying", Dying(tmp_path), range(40))) == list(range(40))
    assert Said.lines == ["dying: a Ray worker ended; its partitions are given to another"]
    done = [path.name.partition("-")[0] for path in tmp_path.glob("*-*")]
    assert len(done) < 40 + 10, "other chunks were done again"


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_given_up_with_one_line(run, tmp_path):
    with RayWorkers(run) as workers, pytest.raises(EngineError, match=r"dying: the worker .*; it ended 3 times\. Give"):
        list(workers.items("dying", Dying(tmp_path, always=True), range(2)))


@pytest.mark.slow
def test_the_partitions_of_a_killed_node_are_given_to_another(run, tmp_path, cluster, capfd):
    head = cluster.head_node.node_id
    try:
        with RayWorkers(run) as workers:
            assert list(workers.items("dying", Dying(tmp_path, head=head), range(40))) == list(range(40))
    finally:
        for node in [node for node in cluster.list_all_nodes() if node is not cluster.head_node]:
            cluster.remove_node(node, allow_graceful=False)
        add_node(cluster, num_gpus=1)
    assert capfd.readouterr().out == ""
    assert Said.lines
    assert {line.partition(": ")[2] for line in Said.lines} <= {
        "a Ray node ended; its partitions are given to another",
        "a Ray worker ended; its partitions are given to another",
    }


def fail_or_write(_run: Run, path: str) -> None:
    """Fail at once for no path; else write the file, late."""
    if not path:
        raise StorageError("the disk is full")
    time.sleep(3)
    Path(path).write_text("late")


@pytest.mark.slow
def test_no_ray_worker_writes_any_more_once_an_error_is_seen(run, tmp_path):
    late = tmp_path / "late.txt"
    seen = None
    with RayWorkers(run) as workers:
        try:
            list(workers.items("writing", fail_or_write, ["", str(late)]))
        except StorageError as error:
            assert str(error) == "the disk is full"  # noqa: PT017 - it is looked at before the end
            seen = late.exists()
    time.sleep(4)
    assert seen is not None
    assert seen == late.exists()


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_named(run, monkeypatch):
    monkeypatch.setattr(clusters, "look_from_node", blind)
    with (
        RayWorkers(run) as workers,
        pytest.raises(EngineError, match=r"must see `.*exchange`; it does not\. Move --root"),
    ):
        workers.partitions("numbers", part_number)
    shared = replace(run, shared=run.workspace.root / "elsewhere")
    with RayWorkers(shared) as workers, pytest.raises(EngineError, match=r"Set EVENLY_EXCHANGE to a folder that all"):
        workers.partitions("numbers", part_number)


def blind(marks, _url):
    return {"missing": [str(mark.parent) for mark in marks if "elsewhere" in str(mark) or len(marks) == 1]}


@pytest.mark.slow
def test_no_cluster_at_an_address_is_one_line(run):
    alone = replace(run, engine=EngineChoice(name="ray", address="127.0.0.1:1"))
    with (
        RayWorkers(alone) as workers,
        pytest.raises(EngineError, match=r"a Ray cluster must answer at `127.0.0.1:1`; "),
    ):
        workers.partitions("numbers", part_number)
