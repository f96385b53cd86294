"""Choose a threshold for linked records on pairs of a build whose true record is known."""

from evenly.flows.runs import build_run, in_shared_use
from evenly.tasks.pools.link import LINK_RECORDS, LinkRule
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("link-records", flow_run_name="link {rule.build}")
@in_shared_use
def link_records(rule: LinkRule, root: str | None = None, quiet: bool = False) -> str:
    """Link pairs of the build of `rule`; the key of the step record."""
    run = build_run(rule.build, root=root, quiet=quiet)
    return run_step(run, LINK_RECORDS, (), rule).key
