"""Folders of model weights on disk: complete or absent, whoever builds them, whenever they are killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def ensure_folder(folder: Path, *, build: Callable[[Path], None], complete: Callable[[Path], bool]) -> None:
    """Make sure that `folder` exists and is `complete`: build it in a temporary folder, then rename.

    Of several processes one builds and the others wait for it. A killed build leaves a temporary folder, which the
    next one removes; a folder that is not complete (a damaged disk, a stranger's hand) is built anew.
    """
    if complete(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f"{folder.name}.lock")):
        if complete(folder):
            return
        for stale in folder.parent.glob(f"{folder.name}.tmp-*"):  # whoever made them is dead: we hold the lock
            shutil.rmtree(stale)
        temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
        try:
            build(temporary)
            temporary.chmod(0o755)
            _to_disk(temporary)
            if folder.exists():
                folder.rename(Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent)) / "damaged")
            temporary.rename(folder)
        finally:
            for left in folder.parent.glob(f"{folder.name}.tmp-*"):
                shutil.rmtree(left)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold an advisory lock on a file; the system gives it back when the process dies."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _to_disk(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
