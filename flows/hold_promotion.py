"""Hold promotions of a recipe; the deployment `hold` runs this when the event of a failed audit comes."""

from prefect import flow

from evenly.flows.runs import workspace_run
from evenly.tasks.server.states import ended
from evenly.tasks.verify_and_report import hold_promotions


@flow(name="hold-promotion", flow_run_name="hold {build}", persist_result=False)
def hold_promotion(build: str, findings: int, root: str | None = None) -> str:
    """Keep rebuilds of a build's recipe from moving `latest`, until `evenly promote`; a line that says what was done.

    findings: how many things did not verify.
    """
    outcome = hold_promotions(workspace_run(root), build, findings)
    return ended(outcome, outcome)
