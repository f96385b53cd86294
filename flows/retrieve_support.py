"""Choose a support set for each class of a list out of a build's pictures."""

from typing import Any

from prefect import flow

from evenly.flows.runs import build_run
from evenly.tasks.classes.retrieve import RETRIEVE_SUPPORT
from evenly.tasks.step import run_step


@flow(name="retrieve-support", flow_run_name="retrieve {name} from {build}", persist_result=False)
def retrieve_support(name: str, build: str, rule: dict[str, Any], root: str | None = None, quiet: bool = False) -> str:
    """Retrieve by `rule` (as flows/cli/datasets/retrieval.py makes it) from a build; the key of the step record."""
    run = build_run(build, root=root, quiet=quiet)
    return run_step(run, RETRIEVE_SUPPORT, (), {"list": name, "build": build, **rule}).key
