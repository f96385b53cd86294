import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evenly.demo.processes import run_all
from evenly.flows.process.interruption import INTERRUPTED

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import os, time

def work(number):
    if number == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    return number
"""
PARENT = """
from evenly.demo.processes import run_all
from evenly.flows.process.interruption import Interruption
from work import work

with Interruption() as interruption:
    status = len(list(run_all(work, range(400))))
interruption.finish(status)
"""


def square(number):
    return number * number, os.getpid()


def test_results_come_in_order_from_other_processes():
    done = []
    results = list(run_all(square, range(400), progress=done.append))
    assert [result for result, _ in results] == [number * number for number in range(400)]
    assert sum(done) == 400
    assert os.getpid() not in {process for _, process in results} or len(os.sched_getaffinity(0)) == 1


def test_few_items_are_done_here():
    assert {process for _, process in run_all(square, range(5))} == {os.getpid()}


@pytest.fixture
def parent(tmp_path):
    """A command whose workers have begun, in a process group of its own, and the id of one of them."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    (tmp_path / "work.py").write_text(WORK)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"},
        start_new_session=True,
    )
    with process:
        yield process, Path("/proc", process.stdout.readline().strip())
        process.kill()


def wait_until_gone(worker):
    deadline = time.monotonic() + 10
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()


def test_workers_end_with_a_killed_parent(parent):
    process, worker = parent
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until_gone(worker)


def test_ctrl_c_ends_all_without_a_traceback_of_a_worker(parent):
    process, worker = parent
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr.read() == f"evenly: {INTERRUPTED}\n"
    assert process.wait(10) == 130
    wait_until_gone(worker)
