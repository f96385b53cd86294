"""The flows of deployments, as Prefect loads them: `evenly.flows.deployed.rebuild_dataset` is the job of that name."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a flow of Prefect's
    """The flow of a job."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(import_module(f"evenly.flows.{name}"), name).flow
