"""Cluster the pictures of a build by their features, with several clusters for each picture."""

from typing import Any

from prefect import flow

from evenly.flows.runs import build_run
from evenly.tasks.classes.clusters import CLUSTER_PICTURES
from evenly.tasks.step import run_step


@flow(name="cluster-pictures", flow_run_name="cluster {build}", persist_result=False)
def cluster_pictures(build: str, rule: dict[str, Any], root: str | None = None, quiet: bool = False) -> str:
    """Cluster a build by `rule` (k, labels, iterations, near_cosine); the key of the step record."""
    run = build_run(build, root=root, quiet=quiet)
    return run_step(run, CLUSTER_PICTURES, (), {"build": build, **rule}).key
