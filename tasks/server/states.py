"""The state in which a flow run ends: a line that people read on the server, and what the caller of the flow gets."""

from typing import TypeVar, cast

Result = TypeVar("Result")


def ended(result: Result, message: str, *, name: str = "Completed") -> Result:
    """A completed state with a message, to be returned by a flow: Prefect hands its caller the `result`."""
    from prefect.states import Completed

    return cast("Result", Completed(name=name, message=message, data=result))
