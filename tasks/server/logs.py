"""The log of a Prefect run: the lines of its progress, as its server keeps them.

A terminal shows each line once. Where Prefect prints what is logged, as in a worker's flow run, its line is the one
that is shown; a command prints its lines itself and keeps Prefect's off the terminal.
"""

import logging
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from evenly.audit.safe_text import visible
from evenly.redaction import keep_secrets_out_of_logs, know_variables

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_ERROR_LOGGERS = ("prefect.flow_runs", "prefect.engine")
"""Each logs the error of a failed run, with its traceback."""


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


class _OwnErrors(logging.Filter):
    """Makes one line of an error of evenly's own, without its traceback; further records of it are left out."""

    last: weakref.ref[BaseException] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or type(error).__module__.partition(".")[0] != "evenly":
            return True
        if self.last is not None and self.last() is error:
            return False
        self.last = weakref.ref(error)
        text = "; ".join(map(visible, str(error).splitlines()))
        record.exc_info, record.msg, record.args = None, "%s", (f"{type(error).__name__}: {text}",)
        return True


_OWN_ERRORS = _OwnErrors()


def log_own_errors_in_one_line() -> None:
    """Let Prefect log errors that say what to do without traceback, from now on; others are faults to look at."""
    for name in _ERROR_LOGGERS:
        logging.getLogger(name).addFilter(_OWN_ERRORS)


def keep_prefect_secrets() -> None:
    """Let no log of this process hold a known secret from now on, those of Prefect's profile among them."""
    from prefect.settings import get_current_settings

    know_variables(get_current_settings().to_environment_variables(exclude_unset=True, include_secrets=True))
    keep_secrets_out_of_logs()


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
