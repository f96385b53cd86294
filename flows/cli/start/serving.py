"""Register the deployments of prefect.yaml at a Prefect server and run a process worker for them."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from evenly.flows.cli.errors import UsageError
from evenly.flows.process.tether import tethered_process
from evenly.flows.recipe.files import DEMO

PREFECT_YAML = Path(str(files("evenly"))) / "prefect.yaml"
RECIPE_VARIABLE = "EVENLY_RECIPE"


def serve_deployments(*, pool: str, recipe: Path | None = None, once: bool = False) -> None:
    """Make the work pool if it is not there, deploy everything, then run a worker until interrupted.

    Flows run in the folder in which this is called. recipe: what the deployment `rebuild` rebuilds; default: the demo.
    Raises UsageError where PREFECT_API_URL names no server: deployments on an ephemeral one would end with it.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server; it is not set. Start one with `prefect server start`, then "
            "run: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve"
        )
    chosen = (DEMO if recipe is None else recipe).resolve()
    if not chosen.is_file():
        raise UsageError(f"`recipe` must be a file; got `{chosen}`. Correct the path, or run `evenly init`.")
    environment = os.environ | {RECIPE_VARIABLE: str(chosen)}
    _prefect(environment, "work-pool", "create", pool, "--type", "process", "--overwrite")
    _prefect(environment, "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_YAML))
    _prefect(environment, "worker", "start", "--pool", pool, *(["--run-once"] if once else []))


def _prefect(environment: Mapping[str, str], *arguments: str) -> None:
    with tethered_process("prefect", *arguments, environment=environment) as process:
        status = process.wait()
    if status:
        raise UsageError(f"`prefect {' '.join(arguments)}` must succeed; it ended with {status}. See above.")
