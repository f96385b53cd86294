"""The Prefect API of a command: a server that stays away is said in a line; without one a job loads no Prefect."""

import os
import subprocess
import sys

import httpx
import pytest

from evenly.flows.cli.errors import PrefectServerError
from evenly.flows.runs import prefect_api

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


NO_SERVER = """
import os, sys
from evenly.flows.runs import as_flow
from evenly.storage.errors import InputError
from evenly.tasks.server.jobs import job
from evenly.tasks.server.api import has_api

@job("add")
def add(first: int, second: int = 1) -> int:
    return first + second

for first in ("2", "two"):
    for called in (add, as_flow(add)):
        try:
            print(called(first=first))
        except InputError as error:
            print(error)
print(has_api(), "prefect" in sys.modules)
"""
REFUSED = "`first` must be a valid integer, unable to parse string as an integer; got `two`. Correct it.\n"
SETTINGS = {
    "profiles.toml": "active = 'a'\n[profiles.a]\nPREFECT_API_URL = 'http://127.0.0.1:9/api'\n",
    "prefect.toml": "[api]\nurl = 'http://127.0.0.1:9/api'\n",
    ".env": "PREFECT_API_URL=http://127.0.0.1:9/api\n",
    "pyproject.toml": "[tool.prefect.api]\nurl = 'http://127.0.0.1:9/api'\n",
}


SLOW = pytest.mark.slow


def run_in(folder, code, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(folder), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_job_without_an_api_is_its_function_and_loads_no_prefect(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\ndependencies = ['prefect']\n")
    assert run_in(tmp_path, NO_SERVER) == f"3\n3\n{REFUSED * 2}False False\n"


@pytest.mark.parametrize(
    "name", ["profiles.toml", "pyproject.toml", *(pytest.param(name, marks=SLOW) for name in ("prefect.toml", ".env"))]
)
def test_an_api_is_known_by_every_file_that_prefect_reads(tmp_path, name):
    (tmp_path / name).write_text(SETTINGS[name])
    code = "from evenly.tasks.server.api import has_api; print(has_api())"
    assert run_in(tmp_path, code) == "True\n"
