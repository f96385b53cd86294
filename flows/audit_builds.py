"""Verify the latest build of every recipe in a workspace, and tell of stale ones, as the deployment `audit` does."""

from evenly.flows.runs import workspace_run
from evenly.signatures import InWorkspace, options_of, taking_values
from evenly.tasks.server.jobs import ended, job
from evenly.tasks.server.journal import tell_stale_builds
from evenly.tasks.verify_and_report import verify_latest_builds


class BuildsDoNotVerifyError(RuntimeError):
    """At least one build does not add up."""


@job("audit-builds")
@taking_values(InWorkspace)
def audit_builds(**values: object) -> dict[str, int]:
    """Findings per build.

    Raises BuildsDoNotVerifyError, so that the run fails where people look, if there are any.
    """
    run = workspace_run(options_of(InWorkspace, values).root)
    stale = tell_stale_builds(run)
    findings = verify_latest_builds(run.workspace, run.progress)
    if any(findings.values()):
        raise BuildsDoNotVerifyError(f"builds with findings: {findings}. Look with `evenly verify BUILD`.")
    old = f"; older than max_age: {', '.join(stale)}" if stale else ""
    return ended(findings, f"verified without a finding: {', '.join(findings) or 'no build yet'}{old}")
