"""Hold promotions of a recipe; the deployment `hold` runs this when the event of a failed audit comes."""

from typing import Annotated

from annotated_types import Ge

from evenly.flows.runs import workspace_run
from evenly.signatures import InWorkspace, options_of, taking_values
from evenly.tasks.server.jobs import ended, job
from evenly.tasks.verify_and_report import hold_promotions


@job("hold-promotion", flow_run_name="hold {build}")
@taking_values(InWorkspace)
def hold_promotion(
    build: Annotated[str, "The build that did not verify."],
    findings: Annotated[int, Ge(0), "How many things of it did not verify."],
    **values: object,
) -> str:
    """Keep rebuilds of a build's recipe from moving `latest`, until `evenly promote`; a line that says so."""
    run = workspace_run(options_of(InWorkspace, values).root)
    outcome = hold_promotions(run.workspace, run.progress, build, findings)
    return ended(outcome, outcome)
