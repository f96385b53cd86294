"""Choose a threshold for linked records on pairs of a build whose true record is known."""

from typing import Any

from prefect import flow

from evenly.flows.runs import build_run
from evenly.tasks.pools.link import LINK_RECORDS
from evenly.tasks.step import run_step


@flow(name="link-records", flow_run_name="link {build}", persist_result=False)
def link_records(build: str, rule: dict[str, Any], root: str | None = None, quiet: bool = False) -> str:
    """Link pairs of a build by `rule` (truth, weights, floor); the key of the step record."""
    run = build_run(build, root=root, quiet=quiet)
    return run_step(run, LINK_RECORDS, (), {"build": build, **rule}).key
