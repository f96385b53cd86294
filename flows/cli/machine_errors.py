"""Errors of the machine in one line, with what helps: a full disk, a path that cannot be, too few file handles."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

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
    from evenly.tasks.run import CACHE_VARIABLE, default_cache

    yield "TMPDIR", tempfile.gettempdir()
    yield CACHE_VARIABLE, str(default_cache())
    from evenly.storage.workspace import ROOT_VARIABLE

    yield "--root", os.environ.get(ROOT_VARIABLE, ".evenly")
    for argument, following in pairwise((*arguments, "-")):
        option, equals, value = argument.partition("=")
        if option.startswith("--") and (equals or not following.startswith("-")):
            yield option, value if equals else following
