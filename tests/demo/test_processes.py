import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo.processes import run_all

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
from demo.processes import run_all
import os, time

def work(number):
    if number == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    return number

if __name__ == "__main__":
    list(run_all(work, range(400)))
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


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
