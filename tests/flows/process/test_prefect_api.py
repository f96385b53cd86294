"""The Prefect API of a command: a temporary server that is killed comes back; one that stays away is told in a line."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.process.prefect_api import SERVER_LOGGING, prefect_api
from tests.interrupted import MARK, processes

ROOT = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal
from prefect import flow, task
from evenly.flows.process.prefect_api import SERVER_LOGGING, prefect_api
from tests.interrupted import MARK, processes

@task
def work(number):
    return number + 1

@flow
def count():
    before = work(0)
    for entry in processes(os.environ[MARK]):
        if "prefect.server.api" in entry:
            os.kill(int(entry.split()[0]), signal.SIGKILL)
    return work(before)

if __name__ == "__main__":
    with prefect_api():
        print("counted", count())
"""


DELIVERING = """
from evenly.flows.process.environment import set_up_command
set_up_command()
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
for number in range(50):
    emit_event(event="evenly.test", resource={"prefect.resource.id": f"evenly.test.{number}"})
EventsWorker.instance().drain()
"""


@pytest.mark.usefixtures("prefect_server")
def test_the_wait_for_what_is_still_to_be_delivered_is_silent():
    from prefect.settings import PREFECT_API_URL

    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-c", DELIVERING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""


def test_a_temporary_server_that_is_ended_at_work_shows_no_error_of_its_database():
    logs = "import prefect.main, sqlalchemy, logging; logging.getLogger('sqlalchemy.pool.impl.A').error('rolled back')"
    done = subprocess.run(
        [sys.executable, "-c", logs], env=os.environ | SERVER_LOGGING, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.slow  # two servers start
def test_a_run_goes_on_when_its_temporary_server_is_killed(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(tmp_path), "PREFECT_LOGGING_LEVEL": "CRITICAL", MARK: str(tmp_path)}
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert "counted 2" in done.stdout, done.stderr
    assert processes(str(tmp_path)) == []


def test_a_server_of_the_users_that_goes_away_is_told_in_one_line():
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = "http://127.0.0.1:9/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(PrefectServerError, match="must answer until the end; refused"),
        prefect_api(),
    ):
        raise httpx.ConnectError("refused")
