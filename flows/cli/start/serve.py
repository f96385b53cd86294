"""The command that serves: register the deployments and run a worker."""

from typing import Annotated

import typer

Pool = Annotated[str, typer.Option(help="The work pool; made if it is not there.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(serve)


def serve(
    pool: Pool = "evenly",
    *,
    once: Annotated[bool, typer.Option(help="Run what is due now, then stop.")] = False,
) -> None:
    """Register the deployments of prefect.yaml at PREFECT_API_URL and run a worker for them.

    Example: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve
    """
    from evenly.flows.cli.start.serving import serve_deployments

    serve_deployments(pool=pool, once=once)
