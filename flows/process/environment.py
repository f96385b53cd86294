"""The environment that a command sets for itself, and the part of it that a call from Python has while it lasts."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder

from evenly.redaction import keep_secrets_out_of_logs
from evenly.tasks.server.logs import FLOW_RUNS_LEVEL, RUN_LOGGERS

_PRIVATE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_PREFECT = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # no server of Prefect's own: evenly.tasks.server.jobs
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # of its threads that deliver events, where a server is gone
}
_FOR_THE_SERVER = {
    FLOW_RUNS_LEVEL: "INFO",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
}
OF_A_COMMAND = {
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",  # it tidies up after workers that were ended at once
    "MALLOC_ARENA_MAX": "1",  # of processes that this one starts: evenly.allocation
    "THP_MEM_ALLOC_ENABLE": "1",  # torch asks Linux for huge pages, by which the embedded model is a tenth faster
    **_PREFECT,
    **_FOR_THE_SERVER,
    **_PRIVATE,
}


_DELIVERY_LOGGERS = ("EventsWorker", "APILogWorker")
"""Of Prefect's threads that deliver; not below `prefect`, they warn on a terminal while the end waits for them."""


def set_up_command() -> None:
    """Set the environment of a command in this process, but for what the user set; secrets stay out of its logs."""
    keep_secrets_out_of_logs()
    for name, value in OF_A_COMMAND.items():
        os.environ.setdefault(name, value)
    for name in _DELIVERY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.modules.setdefault("wandb", None)  # type: ignore[arg-type]  # timm would import it: temporary folders, 0.4 s


class _Absent(MetaPathFinder):
    """Says of a package that it is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise ModuleNotFoundError for the package; others find the rest."""
        if fullname == self.package:
            raise ModuleNotFoundError(f"{fullname} is of no use here", name=fullname)


def spare_pandas() -> None:
    """Have Arrow, which looks for pandas once, not find it: it would load it with its first array, a fifth of a second.

    What wants data frames of Arrow afterwards still gets them; but in lists it no longer takes pandas' NA for null.
    """
    import pyarrow as pa

    absent = _Absent("pandas")
    sys.meta_path.insert(0, absent)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(absent)


@contextmanager
def command_settings() -> Iterator[None]:
    """Have Prefect set up as a command has it, in a process that is someone else's and goes on.

    What the user set stays. Only that nobody is called home is left in the environment afterwards.
    """
    for name, value in _PRIVATE.items():
        os.environ.setdefault(name, value)
    import prefect.main  # noqa: F401 - it sets up the loggers
    from prefect import settings

    wanted = {name: value for name, value in _PREFECT.items() if name not in os.environ}
    with ExitStack() as stack:
        stack.enter_context(no_widgets())
        stack.enter_context(settings.temporary_settings({getattr(settings, name): wanted[name] for name in wanted}))
        if "PREFECT_LOGGING_LEVEL" in wanted:
            stack.enter_context(_quiet_loggers())
        yield


@contextmanager
def no_widgets() -> Iterator[None]:
    """Let tqdm, which encoders import, not ask for the widgets of notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        yield


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Let Prefect's loggers say nothing below CRITICAL, but for those of runs, which a server keeps."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "prefect"]
    names = [name for name in names if not name.startswith(RUN_LOGGERS)]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
