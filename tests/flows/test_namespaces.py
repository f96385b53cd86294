"""Workspaces side by side at one Prefect server: names, and whose a deployment is."""

import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.start import namespaces
from evenly.flows.cli.start.deployments import RunOptions, deployments_of, read_recipes, register
from evenly.flows.cli.start.namespaces import WORKSPACE_QUEUE, crashed_runs, namespace_of, put_automation
from evenly.flows.cli.start.serving import cancel_at_server, deploy_recipes, runs_of_worker
from evenly.flows.recipe import Recipe


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/home/ann/birds/.evenly", "birds"),
        ("/home/ann/My Birds_2/.evenly", "my-birds-2"),
        ("/.evenly", "evenly"),
        ("s3://team/data/birds", "birds"),
        ("gs://team", "team"),
    ],
)
def test_a_namespace_is_named_by_the_place_of_its_workspace(root, name):
    namespace = namespace_of(root)
    assert (namespace.name, namespace.pool, namespace.tag) == (name, f"evenly-{name}", f"workspace:{root}")
    assert namespace_of(root, name="ours", pool="nightly").pool == "nightly"


def test_deployments_are_of_who_is_named_as_their_owner(monkeypatch):
    assert namespace_of("/w/birds/.evenly").owner.endswith(f"@{socket.gethostname()}")
    monkeypatch.setenv("EVENLY_OWNER", "the team")
    assert namespace_of("/w/birds/.evenly").deployed_by == "Deployed by the team."


def test_no_recipe_has_the_queue_of_the_workspace():
    pattern = next(item.pattern for item in Recipe.model_fields["name"].metadata if hasattr(item, "pattern"))
    assert not re.match(pattern, WORKSPACE_QUEUE)


def test_a_namespace_has_a_plain_name():
    with pytest.raises(UsageError, match=r"`--namespace` must be .*; got `My Birds`"):
        namespace_of("/w/.evenly", name="My Birds")


@pytest.mark.usefixtures("prefect_server")
def test_what_another_made_is_taken_over_by_a_word_alone(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(
        "name: a\nseed: 1\nsources: [{kind: csv, path: pool.csv, url: null}]\ncurate: {}\n"
    )
    files = read_recipes([tmp_path / "a.yaml"])
    ann = replace(namespace_of(str(tmp_path / "ann" / ".evenly"), name="taken"), owner="ann@one")
    bob = replace(namespace_of(str(tmp_path / "bob" / ".evenly"), name="taken"), owner="bob@two")
    options = [RunOptions(root=namespace.root) for namespace in (ann, bob)]
    rows = deploy_recipes(files, ann, options=options[0], make_pool=True)
    assert [row["deployment"] for row in rows[:2]] == ["rebuild-dataset/taken.a", "describe-classes/taken.describe"]
    with get_client(sync_client=True) as client:
        register(client, deployments_of(files, options[0], ann))  # again: it is theirs
        with pytest.raises(UsageError) as caught:
            register(client, deployments_of(files, options[1], bob))
        assert f"got one of `ann@one` with the workspace `{ann.root}`. Choose another" in str(caught.value)
        register(client, deployments_of(files, options[1], bob), replace=True)
        stored = client.read_deployment_by_name("rebuild-dataset/taken.a")
    assert (stored.parameters["root"], stored.work_queue_name) == (bob.root, "a")
    assert bob.owns(stored)
    assert not ann.owns(stored)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_no_worker_has_labelled_yet_is_ended_with_the_worker_that_is_interrupted(tmp_path: Path):
    namespace = namespace_of(str(tmp_path / ".evenly"), name="pending")
    deploy_recipes([], namespace, options=RunOptions(root=namespace.root), make_pool=True)
    with get_client(sync_client=True) as client:
        audit = client.read_deployment_by_name("audit-builds/pending.audit")
        runs = [client.create_flow_run_from_deployment(audit.id, state=Pending()) for _ in range(3)]
        for run, worker in zip(runs, ("ours", "theirs"), strict=False):
            client.update_flow_run_labels(run.id, {"prefect.worker.name": worker})
        ended = {run.id for run in runs_of_worker(client, pool=namespace.pool, worker="ours")}
    assert ended == {runs[0].id, runs[2].id}


def test_a_server_that_does_not_answer_is_said_when_a_worker_is_interrupted(capsys):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        cancel_at_server(pool="evenly-birds", name="ours")
    assert "the server does not answer: its automation ends" in "".join(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_whose_worker_was_killed_before_it_began_makes_way_for_the_next(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(namespaces, "_SILENCE_S", 10)
    ours, theirs = [namespace_of(str(tmp_path / name), name=name) for name in ("killed", "others")]
    with get_client(sync_client=True) as client:
        for namespace in (ours, theirs):
            deploy_recipes([], namespace, options=RunOptions(root=namespace.root), make_pool=True)
        (automation,) = client.read_automations_by_name("evenly others: end runs that stopped reporting")
        client.delete_automation(automation.id)
        audits = [client.read_deployment_by_name(f"audit-builds/{name}.audit").id for name in ("killed", "others")]
        killed, begun, other = [client.create_flow_run_from_deployment(audits[n]).id for n in (0, 0, 1)]
        for run in (other, begun, killed):
            client.set_flow_run_state(run, Pending(), force=True)
        client.set_flow_run_state(begun, Running(), force=True)
        monkeypatch.setattr(client, "update_automation", None)  # what is up to date goes on looking
        put_automation(client, crashed_runs(ours))
        deadline = time.monotonic() + 60
        while client.read_flow_run(killed).state.is_pending() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert [client.read_flow_run(run).state_name for run in (killed, begun, other)] == [
            "Crashed",
            "Running",
            "Pending",
        ]
