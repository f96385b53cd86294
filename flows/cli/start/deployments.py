"""The deployments of the recipes that a command names, and those of every workspace, at a Prefect server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from evenly.flows.audit_builds import audit_builds
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.start.automations import HEARTBEAT_S, TAG
from evenly.flows.describe_classes import describe_classes
from evenly.flows.hold_promotion import hold_promotion
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.watch_classes import watch_classes

DEFAULT_POOL = "evenly"
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
    """A flow with parameters and times. With `is_kept`, what was set on the server by hand stays when it is made anew.

    The values of `parameters` that are None are left to the flow.
    """

    flow: Flow[..., Any]
    name: str
    description: str
    parameters: dict[str, Any]
    schedule: DeploymentScheduleCreate | None = None
    concurrency_limit: int | None = 1
    tags: tuple[str, ...] = ()
    is_kept: bool = False

    @property
    def full_name(self) -> str:
        """The name by which `prefect deployment` knows it."""
        return f"{self.flow.name}/{self.name}"


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


def recipe_deployment(file: RecipeFile, options: RunOptions) -> Deployment:
    """The deployment of one recipe: `rebuild-dataset/<name>`, at the times of its `schedule`."""
    schedule = file.recipe.schedule
    cron = None if schedule is None else CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    return Deployment(
        flow=rebuild_dataset,
        name=file.recipe.name,
        description=f"Rebuild by {file.path}, publish, and fit adapters on its class lists.",
        parameters={"recipe": str(file.path), **vars(options)},
        schedule=None if cron is None else DeploymentScheduleCreate(schedule=cron),
        tags=(f"recipe:{file.recipe.name}",),
    )


def workspace_deployments(pool: str, root: str) -> list[Deployment]:
    """What a workspace has beside its recipes: `describe` and `hold`, one for a server; others for each pool."""
    suffix = "" if pool == DEFAULT_POOL else f"-{pool}"
    every_minute = IntervalSchedule(interval=timedelta(minutes=1))
    at_five = CronSchedule(cron="0 5 * * *", timezone="UTC")
    return [
        Deployment(
            flow=describe_classes,
            name="describe",
            description="Describe a class list as soon as `evenly describe CLASSES --submit` has submitted it.",
            parameters={"name": "", "text": ""},
            concurrency_limit=None,
        ),
        Deployment(
            flow=watch_classes,
            name=f"watch{suffix}",
            description="Describe the class lists that appear in `folder`, a path or a bucket prefix. Set it, then "
            "switch the schedule on.",
            parameters={"folder": "{root}/class-lists", "root": root},
            schedule=DeploymentScheduleCreate(schedule=every_minute, active=False),
            is_kept=True,
        ),
        Deployment(
            flow=audit_builds,
            name=f"audit{suffix}",
            description="Verify the latest build of every recipe; the run fails if anything does not add up.",
            parameters={"root": root},
            schedule=DeploymentScheduleCreate(schedule=at_five),
            is_kept=True,
        ),
        Deployment(
            flow=hold_promotion,
            name="hold",
            description="Hold promotions of a recipe whose latest build did not verify, until `evenly promote BUILD`.",
            parameters={"build": "", "findings": 0},
            concurrency_limit=None,
        ),
    ]


def register(client: SyncPrefectClient, deployments: Sequence[Deployment], pool: str) -> list[Registered]:
    """Make or update deployments in a work pool that is there."""
    return [_register(client, deployment, pool) for deployment in deployments]


def _register(client: SyncPrefectClient, deployment: Deployment, pool: str) -> Registered:
    parameters = {name: value for name, value in deployment.parameters.items() if value is not None}
    schedules = [] if deployment.schedule is None else [deployment.schedule]
    earlier: dict[str, Any] = {}
    try:
        stored = client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:
        pass
    else:
        earlier = stored.parameters
        if deployment.is_kept:
            parameters = earlier | {"root": parameters["root"]}
            schedules = [
                DeploymentScheduleCreate(schedule=timing.schedule, active=timing.active) for timing in stored.schedules
            ]
    identity = client.create_deployment(
        flow_id=client.create_flow_from_name(deployment.flow.name),
        name=deployment.name,
        description=deployment.description,
        entrypoint=f"{deployment.flow.__module__}.{deployment.flow.fn.__name__}",
        work_pool_name=pool,
        parameters=parameters,
        parameter_openapi_schema=parameter_schema(deployment.flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        schedules=schedules,
        concurrency_limit=deployment.concurrency_limit,
        tags=[TAG, *deployment.tags],
        pull_steps=[],
        job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}},
    )
    moved = earlier.get("recipe") not in (None, parameters.get("recipe"))
    return Registered(
        id=identity,
        deployment=deployment,
        schedules=tuple(schedules),
        earlier_recipe=earlier["recipe"] if moved else None,
    )


def _times(timing: DeploymentScheduleCreate) -> str:
    schedule = timing.schedule
    if isinstance(schedule, CronSchedule):
        times = f"{schedule.cron} {schedule.timezone or 'UTC'}"
    else:
        times = f"every {schedule.interval}" if isinstance(schedule, IntervalSchedule) else str(schedule)
    return times if timing.active else f"{times}, switched off"
