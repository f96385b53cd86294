"""A folder that appears under its name complete or not at all."""

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from evenly.storage.records import sync_folder


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `folder`: flushed to disk and renamed to it at the end of the block.

    Removed if the block fails. What killed writers left beside `folder` is removed first; a living writer holds a lock
    on its own. Raises FileExistsError if `folder` got content meanwhile (an empty one is replaced).
    """
    folder = folder.resolve()
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{folder.name}.{secrets.token_hex(8)}.partial"
    with ExitStack() as held:
        with _lock(parent, wait=True):  # so that nobody sweeps between these two lines
            _sweep(folder)
            partial.mkdir()
            held.enter_context(_lock(partial, wait=False))
        try:
            yield partial
            _flush(partial)
            if folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(folder)
            partial.rename(folder)
            sync_folder(parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        with suppress(FileNotFoundError), _lock(left, wait=False) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock `folder` for the block; False if someone else holds it or the file system has no such locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    """Flush all files and names below `folder` to disk; many at once, because a disk commits them together."""
    with ThreadPoolExecutor(max_workers=32) as threads:
        for place, _, names in os.walk(folder):
            for _ in threads.map(_flush_file, [Path(place, name) for name in names]):
                pass  # taking the results raises what went wrong
            sync_folder(Path(place))


def _flush_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
