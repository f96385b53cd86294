"""Verify the latest build of every recipe in a workspace; the deployment `audit` runs this on a schedule."""

from prefect import flow

from evenly.flows.runs import workspace_run
from evenly.tasks.server.retries import tried_again
from evenly.tasks.server.states import ended
from evenly.tasks.verify_and_report import verify_latest_builds


class BuildsDoNotVerifyError(RuntimeError):
    """At least one build does not add up."""


@flow(name="audit-builds", persist_result=False)
@tried_again
def audit_builds(root: str | None = None) -> dict[str, int]:
    """Findings per build.

    Raises BuildsDoNotVerifyError, so that the run fails where people look, if there are any.
    """
    findings = verify_latest_builds(workspace_run(root))
    if any(findings.values()):
        raise BuildsDoNotVerifyError(f"builds with findings: {findings}. Look with `evenly verify BUILD`.")
    return ended(findings, f"verified without a finding: {', '.join(findings) or 'no build yet'}")
