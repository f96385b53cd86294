"""Audit descriptions on a build's labelled test pictures: real texts against shuffled ones, random words and names."""

from evenly.flows.runs import build_run, in_shared_use
from evenly.tasks.classes.audit import AUDIT_DESCRIPTIONS, DescriptionAuditRule
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("audit-descriptions", flow_run_name="audit descriptions on {build}")
@in_shared_use
def audit_descriptions(
    build: str,
    rules: list[DescriptionAuditRule],
    root: str | None = None,
    quiet: bool = False,
) -> list[str]:
    """Each of `rules` on a build: a class list, a version of its texts and a method (cli/classes/description_audit.py).

    The keys of the step records, in order. The encoder and the seed are those of the build.
    """
    run = build_run(build, root=root, quiet=quiet)
    return [run_step(run, AUDIT_DESCRIPTIONS, (), rule).key for rule in rules]
