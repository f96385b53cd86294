"""States in which the runs of a Prefect server end: by names that all of its pages list, with a message for people."""

from typing import TYPE_CHECKING, Literal, TypeVar, cast

from evenly.tasks.server.api import flow_run, in_run
from evenly.tasks.server.logs import log_error

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Outcome = Literal["published", "unchanged", "held", "failed", "skipped"]
"""`held` waits for a person; `skipped` did not begin, since another run of its deployment takes its place."""
Result = TypeVar("Result")


def deployed_run() -> "FlowRun | None":
    """The run of a deployment that this is part of; None where a command, Python or another flow called the flow."""
    run = flow_run()
    return None if run is None or run.deployment_id is None else run


def ended(result: Result, message: str, *, outcome: Outcome = "published") -> Result:
    """The state of an outcome with a message, to be returned by a flow: Prefect hands its caller the `result`.

    Pages show a state by its type: Completed is green, Cancelled grey, Failed red. Prefect raises at the caller of a
    flow that was cancelled, so where no deployment runs a held build is a completed state named `Held`. Where no flow
    runs it is the result itself.
    """
    if not in_run():
        return result
    from prefect.client.schemas.objects import State, StateType

    kinds = {
        "published": (StateType.COMPLETED, "Completed"),
        "unchanged": (StateType.COMPLETED, "Cached"),
        "held": (StateType.CANCELLED, "Cancelled") if deployed_run() else (StateType.COMPLETED, "Held"),
        "skipped": (StateType.CANCELLED, "Cancelled"),
        "failed": (StateType.FAILED, "Failed"),
    }
    kind, name = kinds[outcome]
    return cast("Result", State(type=kind, name=name, message=message, data=result))


def failed(error: Exception) -> Exception:
    """The state of an error, in a line, to be returned by a flow: no copy of it is stored."""
    return ended(error, log_error(error), outcome="failed")
