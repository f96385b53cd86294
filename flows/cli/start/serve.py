"""The commands that deploy recipes: register them at a Prefect server, with a worker or without."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.datasets.builds import Engine, Memory, Workers
from evenly.flows.cli.output import AsJson, print_result, print_text
from evenly.signatures import Place, Root

if TYPE_CHECKING:
    from evenly.flows.cli.start.deployments import RunOptions

Recipes = Annotated[
    list[Path] | None, typer.Argument(help="Recipes, or folders of recipes; without one: those of every workspace.")
]
Pool = Annotated[str, typer.Option(help="The work pool; made if it is not there.")]
OwnPool = Annotated[str, typer.Option(help="A work pool of the server.")]


def serve_command(
    recipes: Recipes = None,
    root: Root = None,
    pool: Pool = "evenly",
    memory: Memory = None,
    workers: Workers = None,
    engine: Engine = None,
    *,
    once: Annotated[bool, typer.Option(help="Run what is due now, then stop.")] = False,
) -> None:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, and run a worker for them until Ctrl-C.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve birds.yaml fish.yaml
    """
    from evenly.flows.cli.start.serving import deploy_recipes, run_worker

    options = _options(root, memory, workers, engine)
    _show(deploy_recipes(recipes or [], pool=pool, options=options, make_pool=True))
    run_worker(pool, once=once)


def deploy_command(
    recipes: Recipes = None,
    root: Root = None,
    as_json: AsJson = False,
    pool: OwnPool = "evenly",
    memory: Memory = None,
    workers: Workers = None,
    engine: Engine = None,
) -> None:
    """Deploy recipes at PREFECT_API_URL, each on its own schedule, for a worker of your own.

    Example: evenly deploy recipes/ --pool nightly
    """
    from evenly.flows.cli.start.serving import deploy_recipes

    rows = deploy_recipes(recipes or [], pool=pool, options=_options(root, memory, workers, engine))
    print_result(rows, lambda: _show(rows), as_json=as_json)


def _options(root: Place | None, memory: str | None, workers: int | None, engine: str | None) -> "RunOptions":
    from evenly.flows.cli.start.deployments import RunOptions
    from evenly.storage.workspace import Workspace
    from evenly.tasks.partitioning import allowed_memory

    allowed_memory(memory)
    return RunOptions(root=str(Workspace.at(root).root), memory=memory, workers=workers, engine=engine)


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        moved = f", before {row['earlier_recipe']}" if row["earlier_recipe"] else ""
        times = row["schedule"] or "by hand or event"
        print_text(f"{row['deployment']:<32} {times:<28} {row['recipe'] or ''}{moved}".rstrip())
        for problem in row["problems"]:
            print_text(f"  {problem}")


COMMANDS: dict[str, Callable[..., None]] = {"serve": serve_command, "deploy": deploy_command}
