"""Programs beside a command: out of reach of Ctrl-C, gone with the command, and safe from a backport of a module."""

import os
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import prefect
import pytest

from evenly.flows.process.tether import tethered_process

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import dataclasses, os, time; print(os.getpid(), dataclasses.__file__, flush=True); time.sleep(60)"
COMMAND = """
import os, sys, time
from evenly.flows.process.tether import tethered_process

if __name__ == "__main__":
    with tethered_process("program", environment=os.environ) as process:
        time.sleep(60)
"""


@pytest.fixture
def shadowed(tmp_path):
    """The python of an environment whose installed packages have a `dataclasses` that breaks who imports it."""
    venv.create(tmp_path / "environment", symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    (packages / "dataclasses.py").write_text("raise ImportError('the backport hides the standard module')\n")
    (packages / "program.py").write_text(PROGRAM)
    (packages / "prefect").symlink_to(Path(prefect.__file__).parent)  # it takes the folder it lies in for its path
    installed = [path for path in sys.path if "site-packages" in path]
    (packages / "rest.pth").write_text("\n".join([str(ROOT / "src"), *installed]))
    return python


@pytest.fixture
def command(shadowed, tmp_path):
    """A command with a program beside it, in a group of its own; the line that the program wrote."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    process = subprocess.Popen(
        [shadowed, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process, process.stdout.readline().split()
        process.kill()


def test_nothing_installed_stands_before_the_standard_library(command):
    _, (_, module) = command
    assert Path(module).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_ends_with_its_command(command, number):
    process, (program, _) = command
    process.send_signal(number)
    process.wait(20)
    until = time.monotonic() + 5
    while Path("/proc", program).exists():
        assert time.monotonic() < until, "the program is left"
        time.sleep(0.02)


def test_ctrl_c_does_not_reach_a_program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with tethered_process("program", environment=environment) as process:
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    assert process.returncode == -signal.SIGTERM


def test_a_program_that_fails_gives_its_status(tmp_path):
    (tmp_path / "program.py").write_text("import sys; sys.exit(3)")
    with tethered_process("program", environment=os.environ | {"PYTHONPATH": str(tmp_path)}) as process:
        assert process.wait(20) == 3
