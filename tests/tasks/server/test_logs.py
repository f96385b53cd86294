"""Lines of a run's progress on a Prefect server, read back from it, and each once on a terminal."""

import logging
import sys

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogWorker
from prefect.runtime import flow_run
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import Workers
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.server.logs import off_terminal

HOSTILE = "found \x1b]0;title\x07[red]%s{x}"
SHOWN = "found \\x1b]0;title\\x07[red]%s{x}"


def say_number(run: Run, number: int) -> int:
    run.progress.say(f"part {number}")
    return number


@task(cache_policy=NO_CACHE)
def say_in_task(progress: Progress) -> None:
    progress.warn("guard: held")


@flow(persist_result=False)
def talk(run: Run, n_workers: int = 0) -> str:
    run.progress.say(HOSTILE)
    say_in_task(run.progress)
    if n_workers:
        with Workers(run, n_workers) as workers:
            assert list(workers.items("parts", say_number, [1, 2, 3])) == [1, 2, 3]
    return str(flow_run.id)


def logged(flow_run_id: str) -> dict[str, int]:
    """The lines that the server holds of a flow run, with their levels."""
    APILogWorker.drain_all(timeout=20)
    with get_client(sync_client=True) as client:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
        return {line.message: line.level for line in client.read_logs(wanted)}


@pytest.fixture
def run(workspace: Workspace) -> Run:
    return Run(workspace=workspace, seed=1)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_run_says_is_on_the_server_and_once_on_the_terminal(run, n_workers, capfd):
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}), off_terminal():
        lines = logged(talk(run, n_workers))
    assert lines[SHOWN] == logging.INFO
    assert lines["guard: held"] == logging.WARNING
    numbers = {"part 1", "part 2", "part 3"} if n_workers else set()
    assert numbers <= lines.keys()
    printed = capfd.readouterr().err.splitlines()
    for line in (SHOWN, "guard: held", *numbers):
        assert [line in shown for shown in printed].count(True) == 1


@pytest.mark.usefixtures("prefect_server")
def test_where_prefect_prints_what_is_logged_a_line_is_printed_by_it_alone(run, capsys):
    logger, handler = logging.getLogger("prefect.flow_runs"), logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        talk(run)
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err.count(SHOWN) == 1


@pytest.mark.usefixtures("prefect_server", "watched")
def test_what_prefect_says_of_a_rebuild_is_below_info_and_a_failure_is_one_line(run, recipe, tmp_path):
    of_prefect = ("Beginning ", "Created ", "Finished ", "Hook ", "Running ", "Task run ")
    ends = [
        rebuild_dataset(recipe=recipe(words, name="tiny_logs"), root=str(tmp_path / "w"), quiet=True, return_state=True)
        for words in (1, 50)
    ]
    built, failed = (logged(str(end.state_details.flow_run_id)) for end in ends)
    assert any(line.startswith("check_texts") for line in built)
    assert not [line for line in (*built, *failed) if line.startswith(of_prefect)]
    (line,) = [line for line, level in failed.items() if level >= logging.ERROR]
    assert line.startswith("failed: ")
    assert "must keep at least one pair" in line
    assert "Finished in state Completed()" in logged(talk(run))  # a flow of somebody else's keeps its lines


@pytest.mark.usefixtures("prefect_server")
def test_a_temporary_server_is_told_nothing(run):
    assert SHOWN not in logged(talk(run))


def test_outside_of_a_run_a_line_is_printed_and_nothing_is_raised(capsys):
    Progress().warn("no run here")
    assert capsys.readouterr().err == "no run here\n"
