"""The command that serves: register the deployments and run a worker."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[Path | None, typer.Argument(help="What the deployment `rebuild` rebuilds; default: the demo.")]
Pool = Annotated[str, typer.Option(help="The work pool; made if it is not there.")]


def serve_command(
    recipe: Recipe = None,
    pool: Pool = "evenly",
    *,
    once: Annotated[bool, typer.Option(help="Run what is due now, then stop.")] = False,
) -> None:
    """Register the deployments of prefect.yaml at PREFECT_API_URL and run a worker for them in this folder.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve birds.yaml
    """
    from evenly.flows.cli.start.serving import serve_deployments

    serve_deployments(pool=pool, recipe=recipe, once=once)


COMMANDS: dict[str, Callable[..., None]] = {"serve": serve_command}
