"""Real processes that are interrupted, killed and failed under."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path

import pytest

from evenly.storage.worker_pool import WorkerContext, forked_workers, worker_pool
from evenly.tasks.engine import _process_runner

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import os, time

def work(number):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: both write to one pipe
    time.sleep(60)
"""
PARENT = """
import sys
from contextlib import nullcontext
from evenly.storage.worker_pool import forked_workers, worker_pool
from work import work

try:
    with (
        forked_workers("json") if "forked" in sys.argv else nullcontext() as context,
        worker_pool(2, context=context) as pool,
    ):
        list(pool.map(work, range(2)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def square(number):
    return number * number


def fail(_number):
    raise ValueError("a bad number")


def gone_s(processes):
    """Seconds until none of these processes is there; fails after 10."""
    started = time.monotonic()
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < started + 10, "workers are left"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture
def temporary():
    """A folder for temporary files whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="w-") as folder:
        yield Path(folder)


@pytest.fixture(params=["spawned", "forked"])
def parent(tmp_path, temporary, request):
    """A process in a group of its own, whose two workers have begun; their ids."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    (tmp_path / "work.py").write_text(WORK)
    command = subprocess.Popen(
        [sys.executable, str(script), request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    with command:
        yield command, [int(command.stdout.readline()) for _ in range(2)]
        command.kill()


def test_results_come_in_order():
    with worker_pool(2) as pool:
        assert list(pool.map(square, range(20))) == [number * number for number in range(20)]


@pytest.mark.parametrize(
    "lines",
    [
        "from evenly.storage.worker_pool import worker_pool\nwith worker_pool(2) as pool:\n",
        pytest.param(
            "from evenly.storage.worker_pool import forked_workers\nfrom evenly.tasks.engine import _process_runner\n"
            "with forked_workers('json') as workers, _process_runner(2, workers) as runner:\n"
            "    pool = runner._executor\n",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ours", "Prefect's"],
)
def test_a_script_that_is_not_guarded_runs_once(tmp_path, lines):
    script = tmp_path / "script.py"
    script.write_text(f"{lines}    print(list(pool.map(abs, [-1, -2])), flush=True)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("[1, 2]\n", "")


def test_prefects_workers_start_as_ours_do():
    with _process_runner(1, WorkerContext()) as runner:
        assert isinstance(runner._executor._mp_context, WorkerContext)


def loaded(name):
    return name in sys.modules, os.environ.get("EVENLY_TEST"), signal.SIGINT in signal.pthread_sigmask(0, [])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
def test_forked_workers_have_what_was_loaded_for_them_and_the_environment_of_the_moment(monkeypatch):
    for value in ("1", "2"):
        monkeypatch.setenv("EVENLY_TEST", value)
        with forked_workers("colorsys") as context, worker_pool(2, context=context) as pool:
            assert list(pool.map(loaded, ["colorsys"] * 4)) == [(True, value, True)] * 4
    assert forkserver._forkserver._forkserver_pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
def test_forked_workers_end_with_what_they_are_forked_from():
    with forked_workers("json") as context, worker_pool(2, context=context) as pool:
        workers = set(pool.map(process_id, range(8)))
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            pool.submit(time.sleep, 60).result()
    assert gone_s(workers) < 5


def process_id(_number):
    return os.getpid()


def test_forked_workers_leave_no_file_also_after_a_kill(parent, temporary, monkeypatch):
    command, workers = parent
    command.kill()
    command.wait()
    gone_s(workers)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with forked_workers("json") as context, worker_pool(1, context=context) as pool:
        assert pool.submit(abs, -1).result() == 1
    assert list(temporary.iterdir()) == []


def test_an_error_of_a_worker_is_raised_here():
    with pytest.raises(ValueError, match="a bad number"), worker_pool(2) as pool:
        list(pool.map(fail, range(3)))


def test_ctrl_c_reaches_the_parent_alone_and_ends_all_without_a_traceback(parent):
    command, workers = parent
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=10)
    assert (command.returncode, out, err) == (0, "interrupted\n", "")
    assert gone_s(workers) < 5


def test_workers_end_with_a_parent_that_is_killed(parent):
    command, workers = parent
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert gone_s(workers) < 5


LEFT = """
import ctypes, os, subprocess, sys
from evenly.flows.process.machine import children_of

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: children of a process that has ended are ours
subprocess.run([sys.executable, sys.argv[1]], check=True)
print([open(f"/proc/{pid}/cmdline").read() for pid in children_of(os.getpid())])
"""
SHORT = """
from evenly.flows.process.interruption import Interruption

def work():
    from evenly.storage.worker_pool import forked_workers, worker_pool

    with forked_workers("json") as context, worker_pool(2, context=context) as pool:
        return pool.submit(abs, -3).result() - 3

if __name__ == "__main__":
    with Interruption() as interruption:
        status = work()
    interruption.finish(status)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER")
def test_no_process_is_left_as_a_command_returns(tmp_path):
    (tmp_path / "short.py").write_text(SHORT)
    command = [sys.executable, "-c", LEFT, str(tmp_path / "short.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")
