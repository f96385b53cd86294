"""The `prefect.yaml` of deployments, and what `prefect deploy` makes of it beside `evenly deploy`.

`python -m tests.flows.test_prefect_file > prefect.yaml` writes the repository's anew.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from evenly.flows.cli.start.deployments import RecipeFile, RunOptions, deployments_of, read_recipes
from evenly.flows.cli.start.namespaces import Namespace, namespace_of
from evenly.flows.cli.start.prefect_file import prefect_yaml
from evenly.flows.cli.start.serving import deploy_recipes
from evenly.flows.recipe import read_recipe

ROOT = Path(__file__).parents[2]
NOT_COMPARED = {"id", "created", "updated", "last_polled", "status", "version_id", "deployment_id", "anchor_date"}
NOT_COMPARED |= {"owner_resource", "concurrency_limit_id", "global_concurrency_limit", "created_by", "updated_by"}
NOT_COMPARED |= {"work_queue_id", "flow_id", "version_info", "branch", "base", "root_id", "slug"}


def file_of_the_demo() -> str:
    """The file for the demo in a clone."""
    root = "{{ $PWD }}/.evenly"
    file = RecipeFile(path=Path("{{ $PWD }}/recipes/demo.yaml"), recipe=read_recipe(ROOT / "recipes" / "demo.yaml"))
    namespace = Namespace(name="demo", pool="evenly-demo", root=root, owner="{{ $USER }}")
    return prefect_yaml(deployments_of([file], RunOptions(root=root), namespace))


def test_the_repositorys_file_is_that_of_the_demo():
    assert (ROOT / "prefect.yaml").read_text() == file_of_the_demo()


def recipes(folder: Path) -> list[RecipeFile]:
    """Two recipes, one with times."""
    text = "name: {}\nseed: 1\nsources: [{{kind: csv, path: pool.csv, url: null}}]\ncurate: {{}}\n"
    times = "schedule: {cron: 0 3 * * 1, timezone: Europe/Berlin, overlap: queue}\n"
    (folder / "weekly.yaml").write_text(text.format("weekly") + times)
    (folder / "by_hand.yaml").write_text(text.format("by_hand"))
    return read_recipes([folder])


def at_server(client: SyncPrefectClient, namespace: Namespace) -> dict[str, Any]:
    """The deployments and automations of a namespace, without ids and dates; they are deleted."""
    deployments = [item for item in client.read_deployments() if namespace.tag in item.tags]
    names = [f"evenly {namespace.name}: {title}" for title in ("end", "describe", "hold")]
    automations = [item for item in client.read_automations() if item.name.startswith(tuple(names))]
    content = {item.name: bare(item.model_dump(mode="json")) for item in (*deployments, *automations)}
    limits = {item.name: getattr(item.global_concurrency_limit, "limit", None) for item in deployments}
    for deployment in deployments:
        client.delete_deployment(deployment.id)
    for automation in client.read_automations():
        if automation.name in content:
            client.delete_automation(automation.id)
    return content | {"limits": limits}


def bare(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {name: bare(each) for name, each in value.items() if name not in NOT_COMPARED}
    if isinstance(value, list):
        rows = [bare(each) for each in value]
        return sorted(rows) if all(isinstance(row, str) for row in rows) else rows
    return value


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_prefect_deploy_makes_what_evenly_deploy_registers(tmp_path):
    (tmp_path / "birds").mkdir()
    namespace = namespace_of(str(tmp_path / "birds" / ".evenly"))
    files, options = recipes(tmp_path), RunOptions(root=namespace.root, memory="2GB")
    deploy_recipes(files, namespace, options=options, make_pool=True)
    with get_client(sync_client=True) as client:
        registered = at_server(client, namespace)
    (tmp_path / "prefect.yaml").write_text(prefect_yaml(deployments_of(files, options, namespace)))
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    with get_client(sync_client=True) as client:
        deployed = at_server(client, namespace)
    assert set(registered) == set(deployed)
    for name in registered:
        assert registered[name] == deployed[name], name
    assert {"birds.weekly", "birds.by_hand", "birds.describe", "evenly birds: end runs that stopped reporting"} <= set(
        registered
    )


def test_the_file_says_of_each_recipe_what_the_recipe_says(tmp_path):
    namespace = namespace_of(str(tmp_path / "birds" / ".evenly"), pool="nightly")
    deployments = deployments_of(recipes(tmp_path), RunOptions(root=namespace.root), namespace)
    entries = {entry["name"]: entry for entry in yaml.safe_load(prefect_yaml(deployments))["deployments"]}
    assert set(entries) == {f"birds.{name}" for name in ("weekly", "by_hand", "describe", "watch", "audit", "hold")}
    assert entries["birds.weekly"]["schedules"] == [{"cron": "0 3 * * 1", "timezone": "Europe/Berlin", "active": True}]
    assert entries["birds.by_hand"]["schedules"] is None
    limits = {name: entries[f"birds.{name}"]["concurrency_limit"] for name in ("weekly", "watch", "hold")}
    assert limits["weekly"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert (limits["watch"]["collision_strategy"], limits["hold"]) == ("CANCEL_NEW", None)
    assert entries["birds.weekly"]["parameters"]["recipe"] == str(tmp_path / "weekly.yaml")
    pools = {
        name: (entry["work_pool"]["name"], entry["work_pool"]["work_queue_name"]) for name, entry in entries.items()
    }
    assert pools["birds.weekly"] == ("nightly", "weekly")
    assert pools["birds.hold"] == ("nightly", "_workspace")
    assert [entries[f"birds.{name}"]["triggers"][0]["match"]["evenly.workspace"] for name in ("describe", "hold")] == [
        namespace.root
    ] * 2


if __name__ == "__main__":
    sys.stdout.write(file_of_the_demo())
