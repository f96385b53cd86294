"""Files that are written under a temporary name before they get their own, and what killed writers have left of them.

A writer holds a lock on its file, which the system gives back when it ends in whatever way. So the files that nobody
holds are left over, and the first write of a process to a folder removes those that lie there.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
_swept: set[Path] = set()


@contextmanager
def temporary_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """An open file beside `path`, whose folder is made where it is not there; removed at the end under that name."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        sweep(folder)
        _swept.add(folder)
    descriptor, temporary = _create(path)
    try:
        os.fchmod(descriptor, 0o644)  # mkstemp's files are private; records are for all who may read the folder
        with os.fdopen(descriptor, "w+b") as stream:
            yield temporary, stream
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` that no writer holds."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for name in names:
        with suppress(OSError):  # it is gone, held, or not ours
            descriptor = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name).unlink()
            finally:
                os.close(descriptor)


def _create(path: Path) -> tuple[int, Path]:
    """A new file that is held; made again where a sweep came between its making and the lock."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with suppress(OSError):  # a file system without locks: nobody can hold it, and nobody sweeps it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)
