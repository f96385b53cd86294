"""Runs of a deployment on a real server that fail for what may pass and for what stays."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings
from prefect.states import Pending

from evenly.descriptions.errors import EndpointError
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.errors import StoreError
from evenly.storage.web.errors import DownloadError
from evenly.tasks.server import jobs
from evenly.tasks.server.jobs import job

ENDS: Iterator[Exception | str]


@job("work")
def work() -> str:
    end = next(ENDS)
    if isinstance(end, str):
        return end
    raise end


@pytest.fixture
def deployed(prefect_server: None) -> Iterator[UUID]:  # noqa: ARG001 - it is there while this lasts
    with get_client(sync_client=True) as client:
        yield client.create_deployment(client.create_flow(work.flow), name="test")


def run(deployment: UUID, *ends: Exception | str) -> FlowRun:
    """The run of the deployment once it has ended, after these ends of its tries."""
    global ENDS  # noqa: PLW0603 - a flow of a deployment takes what JSON can hold
    ENDS = iter(ends)
    with get_client(sync_client=True) as client:
        made = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(made.id, Pending())
        run_flow(work.flow, flow_run=client.read_flow_run(made.id), return_type="state")
        return client.read_flow_run(made.id)


def states(run: FlowRun) -> list[str]:
    with get_client(sync_client=True) as client:
        rows = sorted(client.read_flow_run_states(run.id), key=lambda row: row.timestamp)
        return [f"{row.name}: {row.message}" for row in rows]


def test_what_may_pass_is_tried_again_after_growing_pauses(deployed, monkeypatch):
    monkeypatch.setattr(jobs, "PAUSES_S", (1, 2))
    ended = run(deployed, StoreError("store `a` must answer.", passing=True), EndpointError("b", passing=True), "done")
    assert ended.state.is_completed()
    assert ended.run_count == 3
    waits = [text for text in states(ended) if text.startswith("AwaitingRetry")]
    assert "StoreError: store `a` must answer. This may pass: the run is tried again in 1 s (1 of 2)." in waits[0]
    assert "EndpointError: b This may pass: the run is tried again in 2 s (2 of 2)." in waits[1]


def test_it_ends_where_it_does_not_pass(deployed, monkeypatch):
    monkeypatch.setattr(jobs, "PAUSES_S", (1,))
    ended = run(deployed, *[DownloadError("no answer.", passing=True)] * 2)
    assert ended.state.is_failed()
    assert ended.state.message.endswith("It was tried 2 times: the next run goes on from the last finished step.")


@pytest.mark.parametrize("error", [StoreError("no bucket."), EndpointError("no key."), ValueError("no such thing.")])
def test_what_stays_is_not_tried_again_and_is_one_line_whose_traceback_stands_at_debug(deployed, error, caplog):
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG, logger.name):
        ended = run(deployed, error)
    logger.removeHandler(caplog.handler)
    (line,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert line.exc_info is None
    assert line.getMessage().startswith(f"failed: {type(error).__name__}: {error.args[0]}")
    assert (f"{Path(__file__).name}:" in line.getMessage()) == isinstance(error, ValueError)
    assert any(record.exc_info and record.exc_info[1] is error for record in caplog.records)
    assert ended.state.is_failed()
    assert ended.run_count == 1
    said = "This does not pass by itself: the run is not tried again."
    assert ended.state.message.endswith(f"{type(error).__name__}: {error.args[0]}")
    assert error.args[0].endswith(said)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_by_hand_is_not_tried_again():
    global ENDS  # noqa: PLW0603 - as above
    ENDS = iter([StoreError("away.", passing=True)])
    with pytest.raises(StoreError, match=r"^away\.$"):
        work()


@pytest.mark.usefixtures("prefect_server", "watched")
def test_neither_results_nor_errors_are_pickled_into_the_storage_of_prefect(recipe: Callable[..., str], tmp_path):
    @flow
    def of_prefect() -> None:
        raise ValueError

    storage = tmp_path / "storage"
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: storage, PREFECT_RESULTS_PERSIST_BY_DEFAULT: True}):
        ends = [
            rebuild_dataset(
                recipe=recipe(words, name="tiny_logs"), root=str(tmp_path / "w"), quiet=True, return_state=True
            )
            for words in (1, 50)
        ]
        assert [end.type for end in ends] == [StateType.COMPLETED, StateType.FAILED]
        assert not [*storage.rglob("*")]
        of_prefect(return_state=True)
        assert len([*storage.iterdir()]) == 1
