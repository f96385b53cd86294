"""The deployments of `evenly serve` on a real Prefect server with a temporary database, run by a process worker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import yaml

from evenly.flows.process.interruption import INTERRUPTED
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from tests.chat_server import tiny_server
from tests.interrupted import MARK, processes
from tests.postgres_server import postgres, postgres_binaries

pytestmark = [pytest.mark.embedded, pytest.mark.slow]
SOURCE = {"kind": "jsonl", "path": "pool/*.jsonl", "url": None, "caption": "text"}
NO_POOL = SOURCE | {"path": "nothing/*.jsonl"}
NO_BLOCK = "slack-webhook/none"
RECIPE = {
    "name": "captions",
    "notify": {"blocks": [NO_BLOCK]},
    "seed": 1,
    "sources": [SOURCE],
    "curate": {"text": {"caption_length": {"min_words": 3}}},
    "schedule": {"cron": "0 3 * * 1", "timezone": "Europe/Berlin"},
}
Answer = TypeVar("Answer")


class Served:
    """A Prefect server with evenly's deployments and a worker."""

    def __init__(self, environment: dict[str, str], log: Path, folder: Path, worker: subprocess.Popen) -> None:
        self.environment = environment
        self.log = log
        self.folder = folder
        self.worker = worker

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


def line_of(number: int) -> str:
    return json.dumps({"text": f"a photograph of bird {number} in a garden"}) + "\n"


def wait_for(ask: Callable[[], Answer], seconds: float, explain: Callable[[], str]) -> Answer:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    raise AssertionError(explain())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("prefect")
    if request.param == "sqlite":
        yield from serve(folder, {})
    elif postgres_binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    else:
        with postgres() as url:
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
        "EVENLY_ROOT": str(folder / "birds" / ".evenly"),
        **database,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    log = folder / "log.txt"
    (folder / "recipes" / "pool").mkdir(parents=True)
    (folder / "recipes" / "pool" / "captions.jsonl").write_text("".join(map(line_of, range(60))))
    (folder / "recipes" / "captions.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "recipes" / "broken.yml").write_text(yaml.safe_dump(RECIPE | {"name": "broken", "sources": [NO_POOL]}))
    (folder / "elsewhere").mkdir()
    with log.open("w") as stream:
        options = {"env": environment, "cwd": folder, "stdout": stream, "stderr": stream}
        server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--no-ui"], **options)
        worker = None
        try:
            health = f"http://127.0.0.1:{port}/api/health"
            wait_for(lambda: answers(health), 90, log.read_text)
            worker = subprocess.Popen(
                [sys.executable, "-m", "evenly.flows", "serve", "../recipes"],
                start_new_session=True,
                **(options | {"cwd": folder / "elsewhere", "env": environment | {MARK: str(folder)}}),
            )
            served = Served(environment, log, folder, worker)
            wait_for(lambda: served.call("/work_pools/evenly-birds/workers/filter"), 90, log.read_text)
            yield served
        finally:
            if worker is not None:
                with suppress(ProcessLookupError):  # a test has interrupted it
                    os.killpg(worker.pid, signal.SIGTERM)
                worker.wait(20)
            server.terminate()
            server.wait(20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def test_each_recipe_has_a_deployment_at_its_own_times(served):
    deployments = {item["name"]: item for item in served.call("/deployments/filter")}
    names = ("captions", "broken", "describe", "watch", "audit", "hold")
    assert set(deployments) == {f"birds.{name}" for name in names}
    captions = deployments["birds.captions"]
    assert captions["schedules"][0]["schedule"] == {"cron": "0 3 * * 1", "timezone": "Europe/Berlin", "day_or": True}
    assert captions["global_concurrency_limit"]["limit"] == 1
    assert captions["parameters"] == {
        "recipe": str(served.folder / "recipes" / "captions.yaml"),
        "root": served.environment["EVENLY_ROOT"],
    }
    assert captions["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert (captions["work_pool_name"], captions["work_queue_name"]) == ("evenly-birds", "captions")
    tags = {"evenly", "recipe:captions", f"workspace:{served.environment['EVENLY_ROOT']}"}
    assert set(captions["tags"]) == tags
    queues = {
        queue["name"]: queue["concurrency_limit"] for queue in served.call("/work_pools/evenly-birds/queues/filter")
    }
    assert queues == {"default": None, "_workspace": None, "captions": 1, "broken": 1}
    (every_minute,) = deployments["birds.watch"]["schedules"]
    assert (every_minute["schedule"]["interval"], every_minute["active"]) == (60, False)


def schedules_of(served: Served) -> dict[str, list[str]]:
    """The ids of the schedules of each deployment."""
    return {item["name"]: [each["id"] for each in item["schedules"]] for item in served.call("/deployments/filter")}


def test_what_was_set_at_the_server_stays_when_it_is_registered_again(served):
    (watch,) = served.call("/deployments/filter", {"deployments": {"name": {"any_": ["birds.watch"]}}})
    schedules = schedules_of(served)
    change = {"parameters": watch["parameters"] | {"folder": "/lists"}}
    url = f"{served.environment['PREFECT_API_URL']}/deployments/{watch['id']}"
    wait_for(lambda: httpx.patch(url, json=change, timeout=30).is_success, 30, served.log.read_text)  # 503 while busy
    rows = json.loads(served.run(sys.executable, "-m", "evenly.flows", "deploy", "recipes/captions.yaml", "--json"))
    assert rows[0]["deployment"] == "rebuild-dataset/birds.captions"
    assert f"it has no `{NO_BLOCK}`" in rows[0]["problems"][0]
    assert f"it has no `{NO_BLOCK}`" in served.run(sys.executable, "-m", "evenly.flows", "check", rows[0]["recipe"])
    (watch,) = served.call("/deployments/filter", {"deployments": {"name": {"any_": ["birds.watch"]}}})
    assert watch["parameters"]["folder"] == "/lists"
    assert schedules_of(served) == schedules  # the server knows runs by them, and would make each run a second time
    names = sorted(automation["name"] for automation in served.call("/automations/filter"))
    assert names == [
        "evenly birds: describe submitted class lists",
        "evenly birds: end runs that stopped reporting",
        "evenly birds: hold promotions after a failed audit",
    ]


def test_a_recipe_is_rebuilt_by_paths_beside_it_and_its_run_has_logs(served):
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "rebuild-dataset/birds.captions")
    run = served.finished("rebuild-dataset")
    assert run["state_type"] == "COMPLETED"
    by_run = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}

    def told() -> list[dict]:  # the last lines come a moment after the state
        logs = served.call("/logs/filter", by_run)
        return logs if any(log["message"].startswith("publish ") for log in logs) else []

    logs = wait_for(told, 30, lambda: str(served.call("/logs/filter", by_run)))
    assert {log["name"] for log in logs} == {"prefect.flow_runs", "prefect.task_runs"}  # and nothing of the worker's
    assert not [log for log in logs if log["message"].startswith(("Beginning ", "Created ", "Finished "))]
    (manifest,) = Builds(Workspace.at(served.environment["EVENLY_ROOT"])).manifests()
    assert manifest["samples"]["rows"] == 60


def test_a_server_with_sqlite_has_one_run_at_a_time(served):
    in_sqlite = "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in served.environment
    assert ("one run at a time: the server keeps its runs in SQLite" in served.log.read_text()) == in_sqlite


def test_a_deployment_that_is_run_by_hand_ends_well(served):
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "audit-builds/birds.audit")
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


def test_after_a_failed_audit_promotions_are_held_by_the_automation(served):
    workspace = Workspace.at(served.environment["EVENLY_ROOT"])
    (manifest,) = Builds(workspace).manifests()
    table = min((workspace.root / "ledger" / "check_texts").glob("*.arrow"))
    table.write_bytes(table.read_bytes()[:-9] + b"something")
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "audit-builds/birds.audit")
    assert served.finished("hold-promotion")["state_type"] == "COMPLETED"
    assert list(Builds(workspace).holds()) == ["captions"]
    served.run(sys.executable, "-m", "evenly.flows", "promote", manifest["build"])
    assert Builds(workspace).holds() == {}


def test_a_run_whose_endpoint_is_away_waits_for_another_try(served):
    given = {"name": "cats", "text": "lynx\n", "methods": ["description"], "base_url": "http://127.0.0.1:9/v1"}
    options = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "describe-classes/birds.describe", *options)

    def waiting() -> dict | None:
        runs = served.call("/flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["AwaitingRetry"]}}}})
        return next(iter(runs), None)

    run = wait_for(waiting, 150, lambda: served.log.read_text()[-3000:])
    served.run(sys.executable, "-m", "prefect", "flow-run", "cancel", run["id"])  # with SQLite no other could begin
    message = run["state"]["message"]
    assert not (served.folder / "storage").exists()
    assert "the endpoint must accept connections" in message
    assert message.endswith("This may pass: the run is tried again in 60 s (1 of 3).")


def test_a_list_in_a_watched_folder_is_described_by_the_deployment(served, tmp_path):
    (tmp_path / "fish.txt").write_text("salmon\ntrout\n")
    (tmp_path / "broken.txt").write_text("cat\n\ncat\n")
    given = {"folder": str(tmp_path), "methods": ["synonyms"], "settle_s": 0}
    options = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
    served.run(sys.executable, "-m", "prefect", "deployment", "run", "watch-classes/birds.watch", *options)
    assert served.finished("watch-classes")["state_type"] == "COMPLETED"
    records = Ledger(Workspace.at(served.environment["EVENLY_ROOT"])).records("describe")
    (record,) = (record for record in records if record.rule["list"] == "fish")
    assert record.notes["classes"] == 2


def test_ctrl_c_ends_the_worker_and_cancels_its_runs(served, tmp_path):  # the last: there is no worker afterwards
    (tmp_path / "slow.txt").write_text("lynx\n")
    with tiny_server() as server:
        server.answer = lambda _request, _before: replace(server.good(), delay_s=20)
        given = {"folder": str(tmp_path), "methods": ["description"], "settle_s": 0}
        given |= {"base_url": server.url, "model": "tiny"}
        options = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        served.run(sys.executable, "-m", "prefect", "deployment", "run", "watch-classes/birds.watch", *options)
        wait_for(lambda: server.requests, 150, lambda: served.log.read_text()[-3000:])
        sent = time.monotonic()
        served.worker.send_signal(signal.SIGINT)
        assert served.worker.wait(20) == 130
        assert time.monotonic() - sent < 10
        assert not processes(str(served.folder))
    said = served.log.read_text()[-2000:]
    assert "cancelled watch " in said
    assert said.endswith(f"evenly: {INTERRUPTED}\n")
    assert "Traceback" not in said
    runs = served.call("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["CANCELLED"]}}}})
    interrupted = [run for run in runs if run["state"]["message"].startswith("`evenly serve` was interrupted.")]
    assert {run["name"] for run in interrupted} == {"describe slow", f"watch {tmp_path}"}
    for run in interrupted:
        assert set(run["tags"]) == {"evenly", f"workspace:{served.environment['EVENLY_ROOT']}"}
