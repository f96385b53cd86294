"""The tasks of a rebuild as a Prefect server has them: one for each stage, with an edge from the stage before alone."""

import json
import time
from itertools import pairwise
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.tasks import partitioning

STEPS = ["collect", "check_texts", "match_concepts", "count_concepts", "preselect", "balance"]
STAGES = ["collect", "preselect", "balance"]
"""In partitions: steps that need no facts about all pairs are one stage, named by its first."""


@pytest.fixture
def recipe(tmp_path):
    nouns = ("dog", "cat", "tree", "house")
    captions = [f"a {noun} number {n} in the sun" for n in range(10) for noun in nouns]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in captions))
    (tmp_path / "concepts.txt").write_text("\n".join(nouns))
    sections = {"text": {"caption_length": {}}, "match": {"metadata": "concepts.txt"}, "preselect": {"headroom": 2.0}}
    source = {"kind": "jsonl", "path": "pool.jsonl", "url": None, "caption": "text"}
    written = {"name": "graph", "seed": 7, "sources": [source], "curate": sections | {"balance": {"t": 5}}}
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(written))
    return str(tmp_path / "graph.yaml")


def graph(flow_run: UUID) -> list[tuple[str, set[str]]]:
    """The task runs of a flow run in the order in which they started, each with the tasks that its edges come from.

    The server hears of them by events: it may know the last one, which publishes, some time after the flow has ended.
    """
    with get_client(sync_client=True) as client:
        deadline, runs = time.monotonic() + 60, []
        while "publish" not in {run.name for run in runs} and time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
            time.sleep(0.1)
    names = {run.id: run.name for run in runs}
    ordered = sorted(runs, key=lambda run: run.start_time)
    return [(run.name, {names[one.id] for inputs in run.task_inputs.values() for one in inputs}) for run in ordered]


def chain(names: list[str]) -> list[tuple[str, set[str]]]:
    """Tasks that each follow the one before, and the one that publishes what all of them decided."""
    follow = [(name, {before}) for before, name in pairwise(names)]
    return [(names[0], set()), *follow, ("publish", set(names))]


@pytest.mark.usefixtures("prefect_server")
def test_each_stage_and_each_reused_step_is_a_task_with_an_edge_from_the_one_before(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(partitioning, "MOST_ROWS", 20)
    for names in (STAGES, STEPS):
        state = rebuild_dataset(recipe, root=str(tmp_path / "w"), workers=1, quiet=True, return_state=True)
        assert graph(state.state_details.flow_run_id) == chain(names)


@pytest.mark.usefixtures("prefect_server")
def test_processes_that_run_tasks_give_the_build_of_one_process(recipe, tmp_path, monkeypatch):
    whole = rebuild_dataset(recipe, root=str(tmp_path / "whole"), quiet=True)
    monkeypatch.setattr(partitioning, "MOST_ROWS", 20)
    assert rebuild_dataset(recipe, root=str(tmp_path / "cut"), workers=2, quiet=True) == whole
