"""The deployments of prefect.yaml on a real Prefect server with a temporary database, run by a process worker."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from evenly.flows.recipe.files import TEMPLATE
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from tests.postgres_server import postgres, postgres_binaries

pytestmark = pytest.mark.embedded
Answer = TypeVar("Answer")


class Served:
    """A Prefect server with evenly's deployments and a worker."""

    def __init__(self, environment: dict[str, str], log: Path, folder: Path) -> None:
        self.environment = environment
        self.log = log
        self.folder = folder

    def call(self, path: str, body: dict | None = None) -> list[dict]:
        """POST to the server's API; nothing where there is nothing yet."""
        reply = httpx.post(self.environment["PREFECT_API_URL"] + path, json=body or {}, timeout=30)
        return [] if reply.status_code == 404 else reply.raise_for_status().json()

    def run(self, *command: str) -> str:
        """Run a command against the server; its output."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def finished(self, flow: str, seconds: float = 150) -> dict:
        """The first flow run of `flow` that has ended."""

        def ended() -> dict | None:
            runs = self.call("/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
            return next((run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")), None)

        return wait_for(ended, seconds, lambda: self.log.read_text()[-3000:])


def wait_for(ask: Callable[[], Answer], seconds: float, explain: Callable[[], str]) -> Answer:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    raise AssertionError(explain())


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("prefect")
    if request.param == "sqlite":
        yield from serve(folder, {})
    elif postgres_binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    else:
        with postgres(folder / "postgres") as url:
            yield from serve(folder, {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url})


def serve(folder: Path, database: dict[str, str]) -> Iterator[Served]:
    """Start a server and `evenly serve`, and end both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "EVENLY_ROOT": str(folder / "workspace"),
        **database,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    log = folder / "log.txt"
    shutil.copy(TEMPLATE, folder / "birds.yaml")
    with log.open("w") as stream:
        options = {"env": environment, "cwd": folder, "stdout": stream, "stderr": stream}
        server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--no-ui"], **options)
        worker = None
        try:
            health = f"http://127.0.0.1:{port}/api/health"
            wait_for(lambda: answers(health), 90, log.read_text)
            worker = subprocess.Popen(
                [sys.executable, "-m", "evenly.flows", "serve", "birds.yaml"], start_new_session=True, **options
            )
            served = Served(environment, log, folder)
            wait_for(lambda: served.call("/work_pools/evenly/workers/filter"), 90, log.read_text)
            yield served
        finally:
            if worker is not None:
                os.killpg(worker.pid, 15)
                worker.wait(20)
            server.terminate()
            server.wait(20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def test_all_deployments_are_registered_with_their_triggers(served):
    deployments = {item["name"]: item for item in served.call("/deployments/filter")}
    assert set(deployments) == {"rebuild", "describe", "watch", "audit"}
    for name in ("rebuild", "audit"):
        assert deployments[name]["schedules"][0]["schedule"]["cron"]
    (every_minute,) = deployments["watch"]["schedules"]
    assert (every_minute["schedule"]["interval"], every_minute["active"]) == (60, False)
    assert deployments["rebuild"]["parameters"]["recipe"] == str(served.folder / "birds.yaml")
    (pull,) = deployments["rebuild"]["pull_steps"]
    assert pull == {"prefect.deployments.steps.set_working_directory": {"directory": str(served.folder)}}
    (automation,) = served.call("/automations/filter")
    assert automation["trigger"]["expect"] == ["evenly.class-list.submitted"]


def test_a_deployment_that_is_run_by_hand_ends_well(served):
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "audit-builds/audit")
    assert served.finished("audit-builds")["state_type"] == "COMPLETED"


def test_a_submitted_class_list_is_described_by_the_deployment(served, tmp_path):
    classes = tmp_path / "birds.txt"
    classes.write_text("robin\neagle\n")
    arguments = ["describe", str(classes), "--method", "synonyms", "--submit", "--json"]
    event = json.loads(served.run(sys.executable, "-m", "evenly.flows", *arguments))
    assert event["name"] == "birds"
    assert served.finished("describe-classes")["state_type"] == "COMPLETED"
    ledger = Ledger(Workspace.at(event["root"]))
    (record,) = (record for record in ledger.records("describe") if record.rule["list"] == "birds")
    assert set(ledger.table(record, "descriptions")["class"].to_pylist()) == {"robin", "eagle"}


@pytest.mark.slow
def test_a_list_in_a_watched_folder_is_described_by_the_deployment(served, tmp_path):
    (tmp_path / "fish.txt").write_text("salmon\ntrout\n")
    (tmp_path / "broken.txt").write_text("cat\n\ncat\n")
    given = {"folder": str(tmp_path), "methods": ["synonyms"], "settle_s": 0}
    options = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "watch-classes/watch", *options)
    assert served.finished("watch-classes")["state_type"] == "COMPLETED"
    records = Ledger(Workspace.at(served.environment["EVENLY_ROOT"])).records("describe")
    (record,) = (record for record in records if record.rule["list"] == "fish")
    assert record.notes["classes"] == 2
