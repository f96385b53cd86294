"""Choose a support set for each class of a list out of a build's pictures."""

from typing import Any

from prefect import flow

from flows.opening import build_run
from tasks.retrieve_support import RETRIEVE_SUPPORT
from tasks.step import run_step


@flow(name="retrieve-support", flow_run_name="retrieve {name} from {build}", persist_result=False)
def retrieve_support(name: str, build: str, rule: dict[str, Any], root: str | None = None, quiet: bool = False) -> str:
    """Retrieve by `rule` (as flows/retrieving.py makes it) from a build; the key of the step record."""
    run = build_run(build, root=root, quiet=quiet)
    return run_step(run, RETRIEVE_SUPPORT, (), {"list": name, "build": build, **rule}).key
