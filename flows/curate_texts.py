"""Match a pool of captions, or balance what was matched, by several processes of a command."""

from typing import Any

from evenly.tasks.pools.balance import BalanceJob
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.server.jobs import job


@job("curate-texts", flow_run_name="{job.title}")
def curate_texts(job: MatchJob | BalanceJob) -> dict[str, Any]:
    """Do the job; what it says of what it wrote."""
    return job.run()
