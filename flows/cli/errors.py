"""Errors of commands: one line on stderr for those that a user can mend, a traceback for faults of the program."""

import sys
from collections.abc import Container, Sequence
from typing import Self

from evenly.audit.safe_text import visible
from evenly.flows.cli.machine_errors import OUT_OF_MEMORY, machine_line

FINDING = 1  # the command worked, and found something wrong
USAGE = 2

RENAMED = {
    "--explain": "--replay",
    "--format": "--to",
    "--methods": "--method",
    "--pool-caption": "--caption",
    "--processes": "--workers",
}
"""Options by the name that they had, and the one that they have."""


class UsageError(ValueError):
    """The command was asked for something that cannot be: exit status 2."""


class PrefectServerError(RuntimeError):
    """The server that flows report to does not start: exit status 1."""


def refuse_renamed(arguments: Sequence[str], options: Container[str]) -> None:
    """Raise UsageError for an option by the name that it had, unless it is one of the command's `options`."""
    for argument in arguments:
        old = argument.partition("=")[0]
        if old in RENAMED and RENAMED[old] in options and old not in options:
            raise UsageError(f"`{old}` is called `{RENAMED[old]}` now; got `{argument}`. Write the new name.")


class ReportedErrors:
    """A command runs in it as a context, and ends with an exit status: known errors are printed without a traceback."""

    status = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        status = _status(error)
        self.status = status or 0
        return status is not None


def _status(error: BaseException | None) -> int | None:
    """The exit status of how a command ended, when a known error has been printed; None for a fault of the program."""
    match error:
        case None:
            return 0
        case SystemExit():
            return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        case ValueError() | RuntimeError():  # the roots of all our errors: they are told apart only where needed
            usage, failures = _known_errors()
            known = isinstance(error, (*usage, *failures))
            return _say(error, USAGE if isinstance(error, usage) else FINDING) if known else None
        case MemoryError():
            return _say(OUT_OF_MEMORY, FINDING)
        case OSError():
            line = machine_line(error, sys.argv[1:])
            return None if line is None else _say(line, FINDING)
    return None


def _known_errors() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Errors of what was asked for, and errors of what was found or failed on the way."""
    from evenly.adapters.errors import AdaptersError
    from evenly.audit.errors import AuditError
    from evenly.curation.errors import CurationError, RuleError
    from evenly.demo.errors import DemoError
    from evenly.descriptions.errors import ClassListError, DescriptionsError, EditedTextsError, UnknownMethodError
    from evenly.features.errors import DeviceError, FeaturesError, UnknownModelError
    from evenly.flows.recipe.files import ListingFileError
    from evenly.flows.recipe.problems import RecipeError
    from evenly.storage.errors import InputError, StorageError
    from evenly.storage.pools.source import PoolError
    from evenly.tasks.engine import EngineError
    from evenly.tasks.step import NothingLeftError

    usage = (RecipeError, UsageError, ClassListError, ListingFileError, PoolError, RuleError, AdaptersError)
    failures = (StorageError, CurationError, DescriptionsError, FeaturesError, AuditError, DemoError)
    asked_for = (*usage, InputError, UnknownModelError, DeviceError, UnknownMethodError, EditedTextsError)
    return asked_for, (*failures, NothingLeftError, EngineError, PrefectServerError)


def _say(error: object, status: int) -> int:
    for line in str(error).splitlines() or [type(error).__name__]:
        sys.stderr.write(f"evenly: {visible(line)}\n")
    return status
