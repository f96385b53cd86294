"""The `prefect.yaml` of deployments, from which `prefect deploy --all` makes what `evenly deploy` registers."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore

from evenly.flows.cli.start.deployments import Deployment, put_queues
from evenly.flows.cli.start.namespaces import Namespace, crashed_runs, put_automation

_HEAD = """\
# Written by `evenly deploy RECIPE... --prefect-yaml > prefect.yaml`, for those who use `prefect deploy`:
#   prefect work-pool create {pool} --type process
#   prefect deploy --all
#   prefect worker start --pool {pool}
"""
_NOBODY = UUID(int=0)


def prefect_yaml(deployments: Sequence[Deployment]) -> str:
    """The content of the file. All deployments are of one namespace."""
    namespace = deployments[0].namespace
    step = f"{prepare.__module__}.{prepare.__name__}"
    recipes = [deployment.recipe for deployment in deployments if deployment.recipe is not None]
    place = {"namespace": namespace.name, "root": namespace.root, "pool": namespace.pool, "recipes": recipes}
    content = {
        "name": namespace.name,
        "prefect-version": ">=3.6.23",
        "build": [{step: place}],
        "pull": [],
        "deployments": [_entry(deployment) for deployment in deployments],
    }
    return _HEAD.format(pool=namespace.pool) + yaml.safe_dump(content, sort_keys=False, width=1000)


def prepare(namespace: str, root: str, pool: str, recipes: list[str]) -> dict[str, str]:
    """The build step of the file: what is of no single deployment is made at the server."""
    with get_client(sync_client=True) as client:
        put_queues(client, pool, recipes)
        put_automation(client, crashed_runs(Namespace(name=namespace, root=root, pool=pool, owner="")))
    return {}


def _entry(deployment: Deployment) -> dict[str, Any]:
    content = deployment.content()
    content.pop("version")  # Prefect takes the flow's
    content["work_pool"] = deployment.work_pool()
    content["schedules"] = None if deployment.schedule is None else [_timing(deployment.schedule)]
    if deployment.automation is not None:
        content["triggers"] = [_trigger(deployment.automation(deployment.namespace, _NOBODY))]
    return content


def _timing(timing: DeploymentScheduleCreate) -> dict[str, Any]:
    schedule = timing.schedule
    if isinstance(schedule, IntervalSchedule):
        times: dict[str, Any] = {"interval": schedule.interval.total_seconds()}
    else:
        times = schedule.model_dump(include={"cron", "timezone"})
    return times | {"active": timing.active}


def _trigger(automation: AutomationCore) -> dict[str, Any]:
    actions = [action for action in automation.actions if isinstance(action, RunDeployment)]
    return {
        "type": "event",
        "name": automation.name,
        "description": automation.description,
        "enabled": True,
        **automation.trigger.model_dump(mode="json", include={"match", "expect", "posture", "threshold"}),
        "within": 0,
        "parameters": actions[0].parameters,
    }
