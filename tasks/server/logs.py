"""The log of a Prefect run: the lines of a run's progress as its server keeps them.

A terminal shows each line once. Where Prefect prints what is logged, as in a worker's flow run, its line is the one
that is shown; a command prints its lines itself and keeps Prefect's off the terminal.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


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


def keep_off_terminal() -> None:
    """Let what runs log go to their server alone, in this process from now on."""
    for logger in map(logging.getLogger, RUN_LOGGERS):
        logger.setLevel(logging.INFO)
        logger.propagate = False


@contextmanager
def off_terminal() -> Iterator[None]:
    """`keep_off_terminal` while the context lasts."""
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, RUN_LOGGERS)]
    keep_off_terminal()
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.setLevel(level)
            logger.propagate = propagate


def _is_printed(logger: logging.Logger, level: int) -> bool:
    """Whether a handler of a logger prints records of a level on stdout or stderr."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if level >= handler.level and getattr(handler, "stream", None) in (sys.stderr, sys.stdout):
                return True
        current = current.parent if current.propagate else None
    return False
