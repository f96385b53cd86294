"""The command that serves: register the deployments and run a worker."""

from collections.abc import Callable
from typing import Annotated

import typer

Pool = Annotated[str, typer.Option(help="The work pool; made if it is not there.")]


def serve_command(
    pool: Pool = "evenly",
    *,
    once: Annotated[bool, typer.Option(help="Run what is due now, then stop.")] = False,
) -> None:
    """Register the deployments of prefect.yaml at PREFECT_API_URL and run a worker for them.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve
    """
    from evenly.flows.cli.start.serving import serve_deployments

    serve_deployments(pool=pool, once=once)


COMMANDS: dict[str, Callable[..., None]] = {"serve": serve_command}
