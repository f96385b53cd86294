"""The commands that deploy recipes: register them at a Prefect server, with a worker or without."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.output import print_text
from evenly.options import Engine, Memory, Workers
from evenly.signatures import InWorkspace, fields_of, taking

if TYPE_CHECKING:
    from evenly.flows.cli.start.deployments import RunOptions

Recipes = Annotated[
    list[Path] | None, typer.Argument(help="Recipes, or folders of recipes; without one: those of every workspace.")
]


@dataclass(frozen=True, kw_only=True)
class DeployOptions(InWorkspace):
    """Options of the deployments of recipes."""

    pool: Annotated[str, "The work pool of the server; `serve` makes it if it is not there."] = "evenly"
    memory: Memory = None
    workers: Workers = None
    engine: Engine = None


@dataclass(frozen=True, kw_only=True)
class ServeOptions(DeployOptions):
    """Options of `evenly serve`."""

    once: Annotated[bool, "Run what is due now, then stop."] = False


@taking(ServeOptions)
def serve_command(recipes: Recipes, options: ServeOptions) -> None:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, and run a worker for them until Ctrl-C.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve birds.yaml fish.yaml
    """
    from evenly.flows.cli.start.serving import deploy_recipes, run_worker

    _show(deploy_recipes(recipes or [], pool=options.pool, options=_run_options(options), make_pool=True))
    run_worker(options.pool, once=options.once)


@taking(DeployOptions)
def deploy_command(recipes: Recipes, options: DeployOptions) -> list[dict[str, Any]]:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, for a worker of your own.

    Example: evenly deploy recipes/ --pool nightly
    """
    from evenly.flows.cli.start.serving import deploy_recipes

    return deploy_recipes(recipes or [], pool=options.pool, options=_run_options(options))


def _run_options(options: DeployOptions) -> "RunOptions":
    from evenly.flows.cli.start.deployments import RunOptions
    from evenly.storage.workspace import Workspace
    from evenly.tasks.partitioning import allowed_memory

    allowed_memory(options.memory)
    return RunOptions(**fields_of(RunOptions, options) | {"root": str(Workspace.at(options.root).root)})


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        moved = f", before {row['earlier_recipe']}" if row["earlier_recipe"] else ""
        times = row["schedule"] or "by hand or event"
        print_text(f"{row['deployment']:<32} {times:<28} {row['recipe'] or ''}{moved}".rstrip())
        for problem in row["problems"]:
            print_text(f"  {problem}")


COMMANDS = {"serve": typed(serve_command, None), "deploy": typed(deploy_command, _show)}
