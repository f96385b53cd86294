"""The files or objects of a workspace, each with its size and age, and the kind of thing that it belongs to."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.stores.connection import readable_errors
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.workspace import FOLDER_KINDS

TEMPORARY, PARTS = "temporary files", "part records"
KINDS = (*dict.fromkeys(FOLDER_KINDS.values()), PARTS, TEMPORARY, "other")
"""Kinds of what lies in a workspace, in the order in which they are shown."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file or an object. name: its place below the workspace, with `/`; changed: POSIX seconds of its last change."""

    name: str
    path: Path
    size: int
    changed: float

    @property
    def kind(self) -> str:
        """One of KINDS, by the place."""
        folder, *below = self.name.split("/")
        if folder == "steps" and below[0] == "parts":
            return PARTS
        last = below[-1] if below else folder
        if last.startswith(".") and last.endswith(".lock") and folder != "locks":
            return "locks"
        if last.startswith((".probe-", ".clock-")) or last.endswith(".tmp"):
            return TEMPORARY
        return FOLDER_KINDS.get(folder, "other") if below else "other"


def list_files(root: Path, prefix: str = "") -> list[StoredFile]:
    """All files below `root`, sorted by name; `prefix` stands ahead of their names. Links are not followed."""
    files = _objects(root, prefix) if isinstance(root, ObjectPath) else _files(root, prefix)
    return sorted(files, key=lambda file: file.name)


def _objects(root: ObjectPath, prefix: str) -> Iterator[StoredFile]:
    import obstore

    below = len(root.key) + 1 if root.key else 0
    with readable_errors(root.bucket):
        for page in obstore.list(root.store, root.key or None, chunk_size=1000):
            for item in page:
                name = str(item["path"])[below:]
                path = root.joinpath(*name.split("/"))
                changed = item["last_modified"].timestamp()
                yield StoredFile(name=prefix + name, path=path, size=int(item["size"]), changed=changed)


def _files(root: Path, prefix: str) -> Iterator[StoredFile]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):  # removed meanwhile
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    below = path.relative_to(root).as_posix()
                    yield StoredFile(name=prefix + below, path=path, size=status.st_size, changed=status.st_mtime)


@contextmanager
def free_to_take(path: Path) -> Iterator[bool]:
    """Hold a file or folder of this machine for the block; False where another process holds it, or it is gone.

    True, with nothing held, for an object: stores have no locks.
    """
    if isinstance(path, ObjectPath):
        yield True
        return
    try:
        access = os.O_RDONLY if path.is_dir() else os.O_RDWR  # NFS locks only what is open for writing
        descriptor = os.open(path, access | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield os.fstat(descriptor).st_nlink > 0
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether no process of this machine holds a file or folder that is there."""
    with free_to_take(path) as is_ours:
        return is_ours
