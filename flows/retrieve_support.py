"""Choose a support set for each class of a list out of a build's pictures."""

from evenly.flows.runs import build_run, in_shared_use
from evenly.tasks.classes.retrieve import RETRIEVE_SUPPORT, SupportRule
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("retrieve-support", flow_run_name="retrieve {rule.list} from {rule.build}")
@in_shared_use
def retrieve_support(rule: SupportRule, root: str | None = None, quiet: bool = False) -> str:
    """Retrieve from the build of `rule`; the key of the step record."""
    run = build_run(rule.build, root=root, quiet=quiet)
    return run_step(run, RETRIEVE_SUPPORT, (), rule).key
