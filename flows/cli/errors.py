"""Errors of commands: one line on stderr for those that a user or a machine causes, a traceback for our own faults."""

import errno
import os
import sys
import tempfile
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from evenly.audit.safe_text import visible

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
            is_expected = isinstance(error, (*usage, *failures))
            return _say(error, USAGE if isinstance(error, usage) else FINDING) if is_expected else None
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


_KEPT = "Nothing was half-published, and what is finished is kept:"
_HANDLES = "raise the number of files that may be open (`ulimit -n`) and run again."
_MEMORY = "run again where there is more memory, or less else at work."
_OF_PLACES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space or choose another {place}."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "correct its permissions or choose another {place}."),
    errno.EFBIG: "choose another {place}, or raise the size that a file may have (`ulimit -f`).",
    errno.EIO: "look at the disk, or choose another {place}.",
}
_OF_THE_MACHINE = {**dict.fromkeys((errno.EMFILE, errno.ENFILE), _HANDLES), errno.ENOMEM: _MEMORY}
_TOO_LONG = "a name must have at most 255 bytes, a path 4,095. Shorten it."
OUT_OF_MEMORY = f"{os.strerror(errno.ENOMEM)}. {_KEPT} {_MEMORY}"


def machine_line(error: OSError, arguments: Sequence[str]) -> str | None:
    """What to say of an error of the machine to who gave the command these arguments; None where it is none of these.

    What can be done about a disk is said of the option or variable by which the path was chosen.
    """
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else None
    shown = "" if path is None else f" at `{path if len(path) <= 200 else f'{path[:200]}…'}`"
    if error.errno == errno.ENAMETOOLONG:
        return f"{error.strerror}{shown}: {_TOO_LONG}"
    if error.errno in _OF_THE_MACHINE:
        return f"{error.strerror}{shown}. {_KEPT} {_OF_THE_MACHINE[error.errno]}"
    if error.errno in _OF_PLACES:
        return f"{error.strerror}{shown}. {_KEPT} {_OF_PLACES[error.errno].format(place=_chosen_by(path, arguments))}"
    if path is None or error.errno is None:
        return None
    return f"{error.strerror}{shown}. Correct the path, or look at what lies there."


def _chosen_by(path: str | None, arguments: Sequence[str]) -> str:
    """The option or variable that says where a path lies, by the nearest folder of all that say so."""
    if path is None:
        return "place (--root, --out, TMPDIR)"
    place = Path(path).absolute()
    folders = {Path(value).absolute(): option for option, value in _places(arguments)}
    candidates = [folder for folder in folders if place.is_relative_to(folder)]
    if not candidates:  # what is written to is put beside itself first
        candidates = [folder for folder in folders if folder.parent == place.parent]
    return folders[max(candidates, key=lambda folder: len(folder.parts))] if candidates else "place for it"


def _places(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    from evenly.storage.files.identities import CACHE_VARIABLE, default_cache

    yield "TMPDIR", tempfile.gettempdir()
    yield CACHE_VARIABLE, str(default_cache())
    from evenly.storage.workspace import ROOT_VARIABLE

    yield "--root", os.environ.get(ROOT_VARIABLE, ".evenly")
    for argument, following in pairwise((*arguments, "-")):
        option, equals, value = argument.partition("=")
        if option.startswith("--") and (equals or not following.startswith("-")):
            yield option, value if equals else following
