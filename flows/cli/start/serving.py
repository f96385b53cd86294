"""Register the deployments of prefect.yaml at a Prefect server and run a process worker for them."""

import os
from importlib.resources import files
from pathlib import Path

from evenly.flows.cli.errors import UsageError
from evenly.flows.process.tether import tethered_process

PREFECT_YAML = Path(str(files("evenly"))) / "prefect.yaml"


def serve_deployments(*, pool: str, once: bool = False) -> None:
    """Make the work pool if it is not there, deploy everything, then run a worker until interrupted.

    Raises UsageError where PREFECT_API_URL names no server: deployments on an ephemeral one would end with it.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UsageError(
            "`PREFECT_API_URL` must name a Prefect server; it is not set. Start one with `prefect server start`, then "
            "run: PREFECT_API_URL=http://127.0.0.1:4200/api evenly serve"
        )
    folder = PREFECT_YAML.parent
    _prefect(folder, "work-pool", "create", pool, "--type", "process", "--overwrite")
    _prefect(folder, "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_YAML))
    _prefect(folder, "worker", "start", "--pool", pool, *(["--run-once"] if once else []))


def _prefect(folder: Path, *arguments: str) -> None:
    with tethered_process("prefect", *arguments, environment=os.environ, folder=folder) as process:
        status = process.wait()
    if status:
        raise UsageError(f"`prefect {' '.join(arguments)}` must succeed; it ended with {status}. See above.")
