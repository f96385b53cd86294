"""The Prefect API of a command: a temporary server that is killed comes back; one that stays away is told in a line."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.process import prefect_api as module
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


@pytest.mark.slow
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


def test_a_server_of_the_users_that_is_down_is_one_line_by_prefects_own_error():
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    @flow
    def nothing() -> None: ...

    with (
        temporary_settings({PREFECT_API_URL: "http://me:pass-word@127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(PrefectServerError) as raised,
        prefect_api(),
    ):
        nothing()
    assert "\n" not in str(raised.value)
    assert "PREFECT_API_URL is its address" in str(raised.value)
    assert "pass-word" not in str(raised.value)


SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
port, wait_s, status = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
time.sleep(wait_s)
if status:
    sys.exit(status)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("starts", "problem"),
    [
        pytest.param([(2.5, 0)], None, marks=pytest.mark.slow),
        ([(0, 3), (0, 0)], None),
        ([(0, 3), (0, 3), (0, 3)], "it ended with status 3"),
        pytest.param([(60, 0)], "within 3 s; it did not", marks=pytest.mark.slow),
    ],
    ids=["slow", "dead_once", "dead", "never"],
)
def test_a_temporary_server_that_is_slow_is_waited_for_and_a_dead_one_is_started_again(
    monkeypatch, tmp_path, starts, problem
):
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
        temporary_settings,
    )

    (tmp_path / "slow_server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    waiting = iter(starts)
    limit = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}
    monkeypatch.setattr(module, "_server", lambda port: ["slow_server", str(port), *map(str, next(waiting))])
    with temporary_settings(limit, restore_defaults={PREFECT_API_URL}):
        if problem is None:
            with prefect_api():
                assert PREFECT_API_URL.value()
        else:
            with pytest.raises(PrefectServerError, match=problem), prefect_api():
                pytest.fail("there is no server")
    assert [*waiting] == []
