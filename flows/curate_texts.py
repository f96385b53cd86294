"""Match a pool of captions, or balance what was matched, by several processes of a command."""

from typing import Any

from prefect import flow

from evenly.tasks.pools.jobs import BalanceJob, MatchJob


@flow(name="curate-texts", flow_run_name="{job.title}", persist_result=False)
def curate_texts(job: MatchJob | BalanceJob) -> dict[str, Any]:
    """Do the job; what it says of what it wrote."""
    return job.run()
