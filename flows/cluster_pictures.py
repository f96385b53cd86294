"""Cluster the pictures of a build by their features, with several clusters for each picture."""

from evenly.flows.runs import build_run, in_shared_use
from evenly.tasks.classes.clusters import CLUSTER_PICTURES, ClusteringRule
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("cluster-pictures", flow_run_name="cluster {rule.build}")
@in_shared_use
def cluster_pictures(rule: ClusteringRule, root: str | None = None, quiet: bool = False) -> str:
    """Cluster the build of `rule`; the key of the step record."""
    run = build_run(rule.build, root=root, quiet=quiet)
    return run_step(run, CLUSTER_PICTURES, (), rule).key
