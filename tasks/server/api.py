"""Prefect where it serves: whether it has an API, tasks and lines of its runs. Where neither is, none is loaded."""

import logging
import os
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

P = ParamSpec("P")
Result = TypeVar("Result")
_HOME = "PREFECT_HOME"
_VARIABLES = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def in_run() -> bool:
    """Whether this is part of a flow run or task run of Prefect's."""
    if "prefect.context" not in sys.modules:
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def flow_run() -> "FlowRun | None":
    """The flow run of Prefect's that this is part of, in its process; None where there is none."""
    if "prefect.context" not in sys.modules:
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return None if context is None else context.flow_run


def run_id() -> str | None:
    """The id of the flow run that this is part of, also in a process of its tasks."""
    if not in_run():
        return None
    from prefect.runtime import flow_run

    identity: str | None = flow_run.id
    return identity


def log_line(text: str, level: int) -> bool:
    """Log a line that is safe to print, where this is part of a Prefect run; whether Prefect has shown it as well."""
    if "prefect.context" not in sys.modules:  # commands that run no flow load no Prefect
        return False
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        adapter = get_run_logger()
    except MissingContextError:
        return False
    adapter.log(level, "%s", text)
    logger = adapter.logger if isinstance(adapter, logging.LoggerAdapter) else adapter
    return logger.isEnabledFor(level) and _is_printed(logger, level)


def _is_printed(logger: logging.Logger, level: int) -> bool:
    """Whether a handler of a logger prints records of a level on stdout or stderr."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if level >= handler.level and getattr(handler, "stream", None) in (sys.stderr, sys.stdout):
                return True
        current = current.parent if current.propagate else None
    return False


def has_api() -> bool:
    """Whether Prefect is set up with an API: by the environment, a profile or a file that it reads settings from."""
    if "prefect.settings" not in sys.modules and not any(os.environ.get(name) for name in _VARIABLES):
        home = Path(os.environ.get(_HOME) or Path.home() / ".prefect")
        files = (home / "profiles.toml", home / ".env", Path("prefect.toml"), Path(".env"), Path("pyproject.toml"))
        if not any(_names_prefect(file) for file in files):
            return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def is_watched() -> bool:
    """Whether this is part of a Prefect run on a server that keeps what it is told."""
    return in_run() and keeps_what_it_is_told()


def keeps_what_it_is_told() -> bool:
    """Whether there is a server, and it is to be told of runs."""
    if not has_api():
        return False
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED

    return bool(PREFECT_LOGGING_TO_API_ENABLED.value())


def _names_prefect(file: Path) -> bool:
    """Whether a file of settings is there and may hold any of Prefect's."""
    with suppress(OSError):
        text = file.read_text(errors="replace")
        if file.name == "pyproject.toml":  # which names it as a dependency, too
            with suppress(tomllib.TOMLDecodeError):
                return "prefect" in tomllib.loads(text).get("tool", {})
        return "prefect" in f"{file.name} {text}".lower()
    return False


@cache
def _task(name: str, function: Callable[P, Result]) -> Callable[P, Result]:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    return task(task_run_name=name, cache_policy=NO_CACHE, persist_result=False)(function)


def as_part(name: str, function: Callable[P, Result]) -> Callable[P, Result]:
    """A function of a job as a task of Prefect's by this name in a flow run; elsewhere as it is."""
    return _task(name, function) if in_run() else function


def part(name: str) -> Callable[[Callable[P, Result]], Callable[P, Result]]:
    """Have a function be called `as_part`."""

    def made(function: Callable[P, Result]) -> Callable[P, Result]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Result:
            return as_part(name, function)(*args, **kwargs)

        function.__qualname__ += ".__wrapped__"  # where other processes are given the task they import its function
        return run

    return made


def opaque(value: Any) -> Any:  # noqa: ANN401 - any parameter
    """A parameter of a part that Prefect is not to look into, where that is a task."""
    if not in_run():
        return value
    from prefect.utilities.annotations import quote

    return quote(value)
