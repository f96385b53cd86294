"""The deployments of the recipes that a command names, and those of every workspace, at a Prefect server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from evenly.flows.audit_builds import audit_builds
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.start.namespaces import (
    HEARTBEAT_S,
    TAG,
    WORKSPACE_QUEUE,
    Namespace,
    check_ours,
    failed_audits,
    submitted_lists,
)
from evenly.flows.describe_classes import describe_classes
from evenly.flows.hold_promotion import hold_promotion
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.watch_classes import watch_classes
from evenly.tasks.server.logs import FLOW_RUNS_LEVEL

_COLLISIONS = {"skip": "CANCEL_NEW", "queue": "ENQUEUE"}
"""What Prefect does with a run of a deployment that is due while another works."""
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe, and the absolute path of its file."""

    path: Path
    recipe: Recipe


def read_recipes(places: Sequence[Path]) -> list[RecipeFile]:
    """The recipes of files and folders, in the order given, those of a folder by name; one named twice stands once.

    Raises RecipeError with every problem of every file, and UsageError for a folder without recipes and for two
    recipes of one name.
    """
    files, problems = [], []
    for path in dict.fromkeys(path for place in places for path in _files(place)):
        try:
            files.append(RecipeFile(path=path, recipe=read_recipe(path)))
        except RecipeError as error:
            problems += [f"{path}: {line}" for line in str(error).splitlines()]
    if problems:
        raise RecipeError("\n".join(problems))
    paths: dict[str, Path] = {}
    for file in files:
        first = paths.setdefault(file.recipe.name, file.path)
        if first != file.path:
            raise UsageError(
                f"`name` must differ between recipes that are deployed together; got `{file.recipe.name}` in `{first}` "
                f"and in `{file.path}`. Rename one of them."
            )
    return files


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place.resolve()]
    files = sorted(path.resolve() for path in place.iterdir() if path.suffix in _ENDINGS and path.is_file())
    if not files:
        raise UsageError(
            f"`recipes` must be files, or folders that hold some (*.yaml, *.yml); got `{place}`, which holds none. "
            "`evenly init` writes one."
        )
    return files


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A flow with parameters and times, whose runs wait in a work queue: their recipe's, or that of the workspace.

    `automation` makes the one that runs it at an event. With `is_kept`, what was set on the server by hand stays when
    it is made anew.
    """

    flow: Flow[..., Any]
    name: str
    about: str
    namespace: Namespace
    parameters: dict[str, Any]
    schedule: DeploymentScheduleCreate | None = None
    overlap: Literal["skip", "queue", "run"] = "queue"
    recipe: str | None = None
    automation: Callable[[Namespace, UUID], AutomationCore] | None = None
    is_kept: bool = False

    @property
    def full_name(self) -> str:
        """The name by which `prefect deployment` knows it."""
        return f"{self.flow.name}/{self.namespace.name}.{self.name}"

    def content(self) -> dict[str, Any]:
        """The content of the deployment at a server, by the names that Prefect's client and its YAML files share."""
        recipe_tag = () if self.recipe is None else (f"recipe:{self.recipe}",)
        limit = {"limit": 1, "collision_strategy": _COLLISIONS[self.overlap]} if self.overlap in _COLLISIONS else None
        return {
            "name": f"{self.namespace.name}.{self.name}",
            "version": self.flow.version,
            "description": f"{self.about} {self.namespace.deployed_by}",
            "entrypoint": f"evenly.flows.deployed.{self.flow.fn.__name__}",
            "parameters": {name: value for name, value in self.parameters.items() if value is not None},
            "enforce_parameter_schema": True,
            "concurrency_limit": limit,
            "tags": [TAG, self.namespace.tag, *recipe_tag],
        }

    def work_pool(self) -> dict[str, Any]:
        """The pool, the queue and the environment of its runs."""
        return {
            "name": self.namespace.pool,
            "work_queue_name": self.recipe or WORKSPACE_QUEUE,
            "job_variables": {
                "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S), FLOW_RUNS_LEVEL: "NOTSET"}
            },
        }


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how deployed rebuilds run: parameters of the flow that no recipe decides."""

    root: str
    memory: str | None = None
    workers: int | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A deployment that the server has, and the recipe that it rebuilt before, if that was another file."""

    id: UUID
    deployment: Deployment
    schedules: tuple[DeploymentScheduleCreate, ...] = ()
    earlier_recipe: str | None = None

    @property
    def times(self) -> str:
        """When it runs, in words; "" for a deployment that is run by hand or by an event."""
        return "; ".join(map(_times, self.schedules))


def deployments_of(files: Sequence[RecipeFile], options: RunOptions, namespace: Namespace) -> list[Deployment]:
    """The deployments of recipes, and what a workspace has beside them."""
    return [*(_recipe_deployment(file, options, namespace) for file in files), *_workspace_deployments(namespace)]


def _recipe_deployment(file: RecipeFile, options: RunOptions, namespace: Namespace) -> Deployment:
    """The deployment of one recipe: `rebuild-dataset/<namespace>.<name>`, at the times of its `schedule`."""
    schedule = file.recipe.schedule
    cron = None if schedule is None else CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    return Deployment(
        flow=rebuild_dataset.flow,
        name=file.recipe.name,
        about=f"Rebuild by {file.path}, publish, and fit adapters on its class lists.",
        namespace=namespace,
        parameters={"recipe": str(file.path), **vars(options)},
        schedule=None if cron is None else DeploymentScheduleCreate(schedule=cron),
        overlap="queue" if schedule is None else schedule.overlap,
        recipe=file.recipe.name,
    )


def _workspace_deployments(namespace: Namespace) -> list[Deployment]:
    root = namespace.root
    every_minute = IntervalSchedule(interval=timedelta(minutes=1))
    at_five = CronSchedule(cron="0 5 * * *", timezone="UTC")
    return [
        Deployment(
            flow=describe_classes.flow,
            name="describe",
            namespace=namespace,
            about="Describe a class list as soon as `evenly describe CLASSES --submit` has submitted it.",
            parameters={"name": "", "text": ""},
            overlap="run",
            automation=submitted_lists,
        ),
        Deployment(
            flow=watch_classes.flow,
            name="watch",
            namespace=namespace,
            about="Describe the class lists that appear in `folder`, a path or a bucket prefix. Set it, then "
            "switch the schedule on.",
            parameters={"folder": "{root}/class-lists", "root": root},
            schedule=DeploymentScheduleCreate(schedule=every_minute, active=False),
            overlap="skip",
            is_kept=True,
        ),
        Deployment(
            flow=audit_builds.flow,
            name="audit",
            namespace=namespace,
            about="Verify the latest build of every recipe; the run fails if anything does not add up.",
            parameters={"root": root},
            schedule=DeploymentScheduleCreate(schedule=at_five),
            is_kept=True,
        ),
        Deployment(
            flow=hold_promotion.flow,
            name="hold",
            namespace=namespace,
            about="Hold promotions of a recipe whose latest build did not verify, until `evenly promote BUILD`.",
            parameters={"build": "", "findings": 0},
            overlap="run",
            automation=failed_audits,
        ),
    ]


def put_queues(client: SyncPrefectClient, pool: str, recipes: Sequence[str]) -> None:
    """Make the work queue of each recipe, which hands out one run at a time: in the order in which they are due.

    Deployments have limits too, but a run that comes up against one tries again later, in any order.
    """
    for name in recipes:
        try:
            queue = client.read_work_queue_by_name(name, work_pool_name=pool)
        except ObjectNotFound:
            client.create_work_queue(name, concurrency_limit=1, work_pool_name=pool)
        else:
            if queue.concurrency_limit is None:
                client.update_work_queue(queue.id, concurrency_limit=1)


def register(
    client: SyncPrefectClient, deployments: Sequence[Deployment], *, replace: bool = False
) -> list[Registered]:
    """Make or update deployments in work pools that are there.

    replace: also those of another workspace or owner; else they raise UsageError, before anything is registered.
    """
    stored = [_stored(client, deployment) for deployment in deployments]
    for deployment, earlier in zip(deployments, stored, strict=True):
        if earlier is not None and not replace:
            check_ours(deployment.namespace, earlier, deployment.full_name)
    return [_register(client, deployment, earlier) for deployment, earlier in zip(deployments, stored, strict=True)]


def _stored(client: SyncPrefectClient, deployment: Deployment) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:
        return None


def _register(client: SyncPrefectClient, deployment: Deployment, stored: DeploymentResponse | None) -> Registered:
    content = deployment.content()
    schedules = [] if deployment.schedule is None else [deployment.schedule]
    earlier = {} if stored is None else stored.parameters
    if stored is not None and deployment.is_kept:
        content["parameters"] = earlier | {"root": deployment.namespace.root}
        schedules = [
            DeploymentScheduleCreate(schedule=timing.schedule, active=timing.active) for timing in stored.schedules
        ]
    work_pool, limit = deployment.work_pool(), content["concurrency_limit"]
    if limit is not None:
        content["concurrency_limit"] = limit["limit"]
        content["concurrency_options"] = ConcurrencyOptions(collision_strategy=limit["collision_strategy"])
    name = content.pop("name")
    content |= {
        "work_pool_name": work_pool.pop("name"),
        "parameter_openapi_schema": parameter_schema(deployment.flow).model_dump(exclude_unset=True),
        "pull_steps": [],
    } | work_pool
    if stored is not None and _same_times(stored.schedules, schedules):
        client.update_deployment(stored.id, DeploymentUpdate(**content))
        identity = stored.id
    else:
        flow = client.create_flow_from_name(deployment.flow.name)
        identity = client.create_deployment(flow_id=flow, name=name, schedules=schedules, **content)
    moved = earlier.get("recipe") not in (None, content["parameters"].get("recipe"))
    return Registered(
        id=identity,
        deployment=deployment,
        schedules=tuple(schedules),
        earlier_recipe=earlier["recipe"] if moved else None,
    )


def _same_times(stored: Sequence[DeploymentSchedule], wanted: Sequence[DeploymentScheduleCreate]) -> bool:
    """Whether these are the times that a deployment has: its schedule then stays, as the server knows runs by it.

    Of a schedule that is replaced meanwhile, the server may leave runs beside those of the new one.
    """
    return [(entry.schedule, entry.active) for entry in stored] == [(entry.schedule, entry.active) for entry in wanted]


def _times(timing: DeploymentScheduleCreate) -> str:
    schedule = timing.schedule
    if isinstance(schedule, CronSchedule):
        times = f"{schedule.cron} {schedule.timezone or 'UTC'}"
    else:
        times = f"every {schedule.interval}" if isinstance(schedule, IntervalSchedule) else str(schedule)
    return times if timing.active else f"{times}, switched off"
