"""The commands that deploy recipes: register them at a Prefect server, with a worker or without."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.output import print_text
from evenly.options import AllowCode, Engine, Memory, Workers
from evenly.signatures import InWorkspace, fields_of, taking

if TYPE_CHECKING:
    from evenly.flows.cli.start.deployments import RecipeFile, RunOptions
    from evenly.flows.cli.start.namespaces import Namespace

Recipes = Annotated[
    list[Path] | None, typer.Argument(help="Recipes, or folders of recipes; without one: those of every workspace.")
]


@dataclass(frozen=True, kw_only=True)
class _Registered(InWorkspace):
    """Options of the deployments of recipes."""

    namespace: Annotated[
        str | None, "What pool, deployments and automations are named by; default: the folder that holds the workspace."
    ] = None
    pool: Annotated[str | None, "The work pool; default: evenly-NAMESPACE. `serve` makes it if it is not there."] = None
    replace: Annotated[bool, "Take over deployments of these names that another workspace or person has made."] = False
    memory: Memory = None
    workers: Workers = None
    engine: Engine = None


@dataclass(frozen=True, kw_only=True)
class DeployOptions(_Registered):
    """Options of `evenly deploy`."""

    prefect_yaml: Annotated[bool, "Print them as a prefect.yaml for `prefect deploy`, and register nothing."] = False


@dataclass(frozen=True, kw_only=True)
class ServeOptions(_Registered):
    """Options of `evenly serve`."""

    once: Annotated[bool, "Run what is due now, then stop."] = False
    allow_code: AllowCode = None


@taking(ServeOptions)
def serve_command(recipes: Recipes, options: ServeOptions) -> None:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, and run a worker for them alone until Ctrl-C.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve birds.yaml fish.yaml
    """
    from evenly.flows.cli.start.namespaces import WORKSPACE_QUEUE
    from evenly.flows.cli.start.serving import deploy_recipes, run_worker
    from evenly.storage.files.code import allowing_code

    files, namespace, run_options = _chosen(recipes or [], options)
    _show(deploy_recipes(files, namespace, options=run_options, make_pool=True, replace=options.replace))
    with allowing_code(options.allow_code):
        run_worker(namespace.pool, [WORKSPACE_QUEUE, *(file.recipe.name for file in files)], once=options.once)


@taking(DeployOptions)
def deploy_command(recipes: Recipes, options: DeployOptions) -> list[dict[str, Any]] | str:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, for a worker of your own.

    Example: evenly deploy recipes/ --pool nightly
    """
    from evenly.flows.cli.start.deployments import deployments_of
    from evenly.flows.cli.start.prefect_file import prefect_yaml
    from evenly.flows.cli.start.serving import deploy_recipes

    files, namespace, run_options = _chosen(recipes or [], options)
    if options.prefect_yaml:
        return prefect_yaml(deployments_of(files, run_options, namespace))
    return deploy_recipes(files, namespace, options=run_options, replace=options.replace)


def _chosen(recipes: Sequence[Path], options: _Registered) -> "tuple[list[RecipeFile], Namespace, RunOptions]":
    """The recipes, the namespace of the workspace and the options of runs. Raises for what cannot be deployed."""
    from evenly.flows.cli.start.deployments import RunOptions, read_recipes
    from evenly.flows.cli.start.namespaces import namespace_of
    from evenly.flows.runs import with_engine
    from evenly.storage.workspace import Workspace
    from evenly.tasks.partitioning import allowed_memory

    allowed_memory(options.memory)
    files = read_recipes(recipes)
    for file in files:
        with_engine(file.recipe, options.engine)
    root = str(Workspace.at(options.root).root)
    namespace = namespace_of(root, name=options.namespace, pool=options.pool)
    return files, namespace, RunOptions(**fields_of(RunOptions, options) | {"root": root})


def _show(rows: list[dict[str, Any]] | str) -> None:
    if isinstance(rows, str):
        print_text(rows.rstrip("\n"))
        return
    for row in rows:
        moved = f", before {row['earlier_recipe']}" if row["earlier_recipe"] else ""
        times = row["schedule"] or "by hand or event"
        print_text(f"{row['deployment']:<32} {times:<28} {row['recipe'] or ''}{moved}".rstrip())
        for problem in row["problems"]:
            print_text(f"  {problem}")


COMMANDS = {"serve": typed(serve_command, None), "deploy": typed(deploy_command, _show)}
