"""The log of a Prefect run: the lines of its progress, as its server keeps them.

A terminal shows each line once. Where Prefect prints what is logged, as in a worker's flow run, its line is the one
that is shown; a command prints its lines itself and keeps Prefect's off the terminal. What Prefect says itself of a run
(it begins, a task is created, it is finished) is logged at DEBUG.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evenly.audit.safe_text import visible
from evenly.redaction import keep_secrets_out_of_logs, know_variables
from evenly.tasks.server.api import log_line

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
FLOW_RUNS_LEVEL = "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL"
"""The level of what a process logs of flow runs: a worker what it does with each, a run's process all that it says."""
_SAID_BY_US = ("Finished in state ", "Task run failed with ")
"""The beginnings of Prefect's lines about what fails: the flow says it in one line of its own."""


def keep_off_terminal() -> None:
    """Let what runs log go to their server alone, in this process from now on."""
    for logger in map(logging.getLogger, RUN_LOGGERS):
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_error(error: Exception) -> str:
    """Log the error of a run in one line, its traceback at DEBUG; the line."""
    from prefect.logging import get_run_logger

    line = f"failed: {type(error).__name__}: {'; '.join(map(visible, str(error).splitlines()))}"
    log_line(line + _place_of(error), logging.ERROR)
    get_run_logger().debug("Traceback:", exc_info=error)
    error.is_logged = True  # type: ignore[attr-defined]  # for Prefect's own lines about it
    return line


def _place_of(error: Exception) -> str:
    """Where a fault came up that does not say what to do, and how to see more of it."""
    if type(error).__module__.partition(".")[0] == "evenly":
        return ""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({frame.filename}:{frame.lineno}; PREFECT_LOGGING_LEVEL=DEBUG logs the traceback)"


class _Chatter(logging.Filter):
    """Puts below INFO what Prefect says of runs of these flows, and each error that its flow has logged."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged."""
        if not self._is_chatter(record):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)

    def _is_chatter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if getattr(error, "is_logged", False) or type(error).__name__ == "CancelledRun":  # its state says why
            return True
        if getattr(record, "flow_name", None) not in self.flows:
            return False
        is_by_prefect = record.pathname.startswith(str(Path(str(sys.modules["prefect"].__file__)).parent))
        return is_by_prefect and (record.levelno <= logging.INFO or str(record.msg).startswith(_SAID_BY_US))


_CHATTER = _Chatter()


def put_chatter_below_info(flow_name: str) -> None:
    """Let what Prefect says itself of runs of a flow be logged at DEBUG, from now on; what the flow says stays."""
    _CHATTER.flows.add(flow_name)
    for name in (*RUN_LOGGERS, "prefect.engine"):
        logging.getLogger(name).addFilter(_CHATTER)


def keep_prefect_secrets() -> None:
    """Let no log of this process hold a known secret from now on, those of Prefect's profile among them."""
    from prefect.settings import get_current_settings

    know_variables(get_current_settings().to_environment_variables(exclude_unset=True, include_secrets=True))
    keep_secrets_out_of_logs()


@contextmanager
def off_terminal() -> Iterator[None]:
    """`keep_off_terminal` while the context lasts."""
    settings = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, RUN_LOGGERS)]
    keep_off_terminal()
    try:
        yield
    finally:
        for logger, level, propagate in settings:
            logger.setLevel(level)
            logger.propagate = propagate
