"""A command that gets Ctrl-C or SIGTERM, whatever its threads do: one line, exit status 130 or 143, at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evenly.flows.process.interruption import INTERRUPTED, Interruption

ROOT = Path(__file__).resolve().parents[3]
COMMAND = """
import atexit, os, sys, threading, time
from evenly.flows.process.interruption import Interruption

Interruption.unwind_s = float(os.environ.get("UNWIND_S", Interruption.unwind_s))

def orderly():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("unwound", flush=True)
        sys.stderr.write("Traceback of a library\\n")

def failing_on_the_way():
    try:
        orderly()
    except BaseException:
        raise RuntimeError("the server is gone")

def deaf():
    while True:
        try:
            orderly()
        except BaseException:
            pass

def slow_thread():
    threading.Thread(target=time.sleep, args=(60,)).start()
    orderly()

def finishing():
    print("ready", flush=True)
    atexit.register(print, "tidied")
    return 1

class TakenApart:
    def __del__(self):
        print("taken apart", flush=True)
        time.sleep(60)

def slow_to_leave():
    sys.kept = TakenApart()
    return finishing()

def failing():
    print("ready", flush=True)
    raise LookupError("a bug")

with Interruption() as interruption:
    status = globals()[sys.argv[1]]()
interruption.finish(status)
"""


@pytest.fixture
def command(tmp_path):
    """Start a command of COMMAND, in a group of its own, and wait until it is ready."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    started = []

    def start(name, prepare=None, unwind_s=None):
        process = subprocess.Popen(
            [sys.executable, str(script), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | ({"UNWIND_S": str(unwind_s)} if unwind_s else {}),
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - no threads run
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["orderly", "failing_on_the_way", "deaf", "slow_thread"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_one_line_and_its_own_status(command, name, number, status):
    process = command(name, unwind_s=4 if name == "deaf" else 60)  # the usual 1.5 may pass on a machine at its limit
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (status, f"evenly: {INTERRUPTED}\n")
    assert out.startswith("unwound\n")


def test_a_command_has_two_seconds_at_most_to_unwind():
    assert Interruption.unwind_s <= 2


def test_a_second_signal_ends_it_without_the_wait(command):
    process = command("deaf")
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "unwound\n"
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - sent < 1.5


@pytest.mark.parametrize("name", ["orderly", "deaf", "finishing"])
def test_impatience_changes_nothing(command, name):
    process = command(name)
    for _ in range(50):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.001)
    assert process.stderr.read() in {f"evenly: {INTERRUPTED}\n", "" if name == "finishing" else None}
    assert process.wait(20) in {130, 1 if name == "finishing" else None}


@pytest.mark.parametrize("name", ["finishing", "slow_to_leave"])
def test_without_a_signal_the_status_is_that_of_the_command_once_exit_functions_ran(command, name):
    process = command(name)
    assert (process.stdout.read(), process.stderr.read()) == ("tidied\n", "")
    assert process.wait(20) == 1


def test_a_bug_shows_its_traceback(command):
    process = command("failing")
    assert "LookupError: a bug" in process.communicate(timeout=20)[1]
    assert process.returncode == 1


def test_a_command_that_was_started_to_ignore_ctrl_c_ignores_it(command):
    process = command("orderly", lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
