"""Remove from a workspace what refers to nothing and what was broken off, while nobody writes a recipe in it."""

import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenly.storage.builds import Builds
from evenly.storage.exports.export import MANIFEST
from evenly.storage.removal.dataset_files import datasets, unneeded_files
from evenly.storage.removal.leftovers import Leftover, broken_off
from evenly.storage.removal.references import read_recorded, unnamed_artifacts, unneeded
from evenly.storage.removal.stored_files import StoredFile, free_to_take, list_files
from evenly.storage.removal.unshown import IdleRows, drop_rows, idle_downloads, idle_rows, values_shown
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.stores.workspace_lock import exclusive_use
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.working_folder import hold_folder
from evenly.storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class WorkspaceContents:
    """The contents of a workspace, and those that are of no use.

    in_use: leftovers that another process holds. rows: those of feature tables that are to go, where that was asked.
    """

    files: Sequence[StoredFile]
    leftovers: Sequence[Leftover]
    in_use: Sequence[Leftover] = field(default=())
    rows: Sequence[IdleRows] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A choice of what goes: all that no build refers to once it is so old; downloads and features if asked."""

    older_than_s: float
    downloads: bool = False
    features: bool = False


def look_through(workspace: Workspace, exchange: Path, wanted: Wanted) -> WorkspaceContents:
    """List a workspace, and what of it may go: what was broken off, at once, and what is `wanted`.

    exchange: where rows are on their way to another cut. Raises DamagedError where a record cannot be read.
    """
    changed_by = time.time() - wanted.older_than_s
    files = stored_in(workspace, exchange)

    def is_old(file: StoredFile) -> bool:
        return file.changed < changed_by

    leftovers = list(broken_off(files, exchange))
    temporary = {file.name for leftover in leftovers for file in leftover.files}
    others = [file for file in files if file.name not in temporary]
    recorded = read_recorded(workspace, others)
    leftovers += unneeded(workspace, others, recorded, is_old)
    leftovers += unnamed_artifacts(others, recorded, is_old)
    for dataset in datasets(others, recorded.versions):
        leftovers += unneeded_files(dataset, is_old)
    rows = list[IdleRows]()
    if wanted.downloads:
        urls = values_shown(workspace, recorded.manifests, "url")
        leftovers += idle_downloads(workspace, others, urls, is_old)
    if wanted.features:
        rows += idle_rows(datasets(others, recorded.versions), values_shown(workspace, recorded.manifests, "image_id"))
    return WorkspaceContents(files=files, leftovers=leftovers, rows=rows)


def stored_in(workspace: Workspace, exchange: Path) -> list[StoredFile]:
    """All files of a workspace, and those on their way to another cut, which may lie elsewhere."""
    files = list_files(workspace.root)
    return files if exchange == workspace.exchange else [*files, *list_files(exchange, "exchange/")]


def clean_workspace(workspace: Workspace, exchange: Path, wanted: Wanted, *, wait_s: float = 0.0) -> WorkspaceContents:
    """Remove what `look_through` lists; what was there, and what is gone.

    Raises WriterError, which names the process, where one still writes there after `wait_s`; nothing is removed then.
    """
    rows: Sequence[IdleRows] = ()
    with exclusive_use(workspace, "clean", wait_s=wait_s):
        if wanted.features:  # first: the files that hold these rows are then of an older version
            rows = _drop_idle_rows(workspace, exchange, wanted)
        contents = look_through(workspace, exchange, replace(wanted, features=False))
        in_use = [leftover for leftover in contents.leftovers if not _remove(workspace, leftover)]
        if not isinstance(workspace.root, ObjectPath):
            _remove_empty(contents.leftovers, workspace.root)
    gone = [leftover for leftover in contents.leftovers if leftover not in in_use]
    return WorkspaceContents(files=contents.files, leftovers=gone, in_use=in_use, rows=rows)


def _drop_idle_rows(workspace: Workspace, exchange: Path, wanted: Wanted) -> Sequence[IdleRows]:
    contents = look_through(workspace, exchange, replace(wanted, downloads=False))
    images = values_shown(workspace, Builds(workspace).manifests(), "image_id")
    for idle in contents.rows:
        drop_rows(idle, images)
    return contents.rows


def _remove(workspace: Workspace, leftover: Leftover) -> bool:
    """Whether the files are gone; False, with nothing removed, where a process holds them."""
    if leftover.kind == "downloads":
        return _remove_downloads(workspace, leftover.files)
    if leftover.lock is None:
        _unlink(leftover.files)
        return True
    if isinstance(leftover.lock, ObjectPath):
        with lock_holder(leftover.lock) as holder:  # of a writer that is dead, this takes it over and gives it up
            was_finished = leftover.kind == "exports" and leftover.lock.with_name(MANIFEST).is_file()
            if holder is None and not was_finished:  # meanwhile
                _unlink(file for file in leftover.files if file.path != leftover.lock)
            return holder is None and not was_finished
    if leftover.lock.suffix == ".lock":
        with suppress(FileNotFoundError):  # its folder is gone
            leftover.lock.touch()
    with free_to_take(leftover.lock) as is_ours:
        if is_ours:
            _unlink(leftover.files)
            folder = leftover.lock.parent if leftover.kind == "exchange" else leftover.lock
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        return is_ours


def _remove_downloads(workspace: Workspace, files: Sequence[StoredFile]) -> bool:
    try:
        with hold_folder(workspace.downloads):  # it removes what was broken off itself
            _unlink(files)
            return not any(file.path.exists() for file in files)
    except DownloadError:
        return False


def _unlink(files: Iterable[StoredFile]) -> None:
    """Remove files in their order; in an object store several at once of what is no part of a dataset."""
    single, parallel = list[StoredFile](), list[StoredFile]()
    for file in files:
        is_of_dataset = file.kind in ("sample tables", "features")
        (single if is_of_dataset or not isinstance(file.path, ObjectPath) else parallel).append(file)
    for file in single:
        file.path.unlink(missing_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda file: file.path.unlink(missing_ok=True), parallel):
            pass  # taking the results raises what went wrong


def _remove_empty(leftovers: Sequence[Leftover], root: Path) -> None:
    """Remove the folders that are empty now, but for those of the workspace's own."""
    folders = {folder for leftover in leftovers for file in leftover.files for folder in file.path.parents}
    below = [folder for folder in folders if root in folder.parents and folder.parent != root]
    for folder in sorted(below, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # it is not empty, or gone
            folder.rmdir()
