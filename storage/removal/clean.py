"""Remove from a workspace what refers to nothing and what was broken off, while nobody writes a recipe in it.

Downloads and features of pictures that no build shows are freed only where that was asked for. URLs and image ids of
all builds are held as 64-bit hashes, 8 bytes each; two that are alike by chance keep what belongs to either.
"""

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.exports.export import MANIFEST
from evenly.storage.removal.leftovers import (
    Dataset,
    IsOld,
    Leftover,
    StoredFile,
    broken_off,
    datasets,
    free_to_take,
    list_files,
    unneeded_files,
)
from evenly.storage.removal.references import read_recorded, unnamed_artifacts, unneeded
from evenly.storage.samples import BuildSamples
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.tables.lance_commits import commit_fragments, write_fragments
from evenly.storage.tables.lance_rows import MADE_AGAIN, each_fragment, newest_version
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.shards import read_urls, shard_names
from evenly.storage.web.working_folder import hold_folder
from evenly.storage.workspace import Workspace, exclusive_use

Hashes = npt.NDArray[np.uint64]
_OF_PICTURES = ("images", "codes-", "scores", "cells", "regions")  # the beginnings of the names of features by image id


@dataclass(frozen=True, kw_only=True)
class IdleRows:
    """Rows of a feature table by pictures that no build shows; size: bytes, by their share of the rows."""

    path: Path
    rows: int
    size: int


def values_shown(workspace: Workspace, manifests: Iterable[Mapping[str, Any]], column: str) -> Hashes:
    """The hashes of all values in a column of the sample tables of builds, sorted, each once."""
    hashes = [np.zeros(0, np.uint64)]
    for manifest in manifests:
        samples = BuildSamples(workspace, manifest)
        if column in samples.columns:
            hashes += [_hashes(table[column]) for table in samples.batches([column])]
    return np.unique(np.concatenate(hashes))


def idle_downloads(
    workspace: Workspace, files: Sequence[StoredFile], urls: Hashes, is_old: IsOld
) -> Iterator[Leftover]:
    """Shards of which no URL is one of a pair of a build, whole; their records go first, so that they do not count."""
    by_shard: dict[str, list[StoredFile]] = {}
    for file in files:
        if file.name.startswith("downloads/") and file.name.count("/") == 1:
            by_shard.setdefault(file.path.name.partition(".")[0], []).append(file)
    for name in shard_names(workspace.downloads):
        members = sorted(by_shard.get(name, []), key=lambda file: file.path.name != f"{name}.parquet")
        records = workspace.downloads / f"{name}.parquet"
        if members and all(map(is_old, members)) and not np.isin(_hashes(read_urls(records)), urls).any():
            yield Leftover(kind="downloads", why="pictures that no build shows", files=members)


def idle_rows(datasets: Iterable[Dataset], images: Hashes) -> Iterator[IdleRows]:
    """Feature tables with rows of pictures that no build shows; tables of texts have none."""
    for dataset in datasets:
        if dataset.kind != "features" or not dataset.path.name.startswith(_OF_PICTURES):
            continue
        if (newest := newest_version(dataset.path)) is None:
            continue
        total = idle = 0
        for table in each_fragment(dataset.path, MADE_AGAIN, version=newest, columns=["id"]):
            total += table.num_rows
            idle += table.num_rows - int(np.isin(_hashes(_pictures(table["id"])), images).sum())
        if idle:
            size = sum(file.size for name, file in dataset.files.items() if name.startswith("data/"))
            yield IdleRows(path=dataset.path, rows=idle, size=size * idle // total)


def drop_rows(idle: IdleRows, images: Hashes) -> None:
    """Make a version of a feature table without these rows; what holds them is then a file of an older version.

    Raises StorageError, with nothing changed, where rows were added meanwhile.
    """
    newest, schema = newest_version(idle.path), None
    fragments: list[str] = []
    for table in each_fragment(idle.path, MADE_AGAIN, version=newest or 0):
        schema = table.schema
        kept = table.filter(pa.array(np.isin(_hashes(_pictures(table["id"])), images)))
        if kept.num_rows:
            fragments += write_fragments(idle.path, kept)
    if newest_version(idle.path) != newest:
        raise StorageError(f"features `{idle.path}` must not grow while they are cleaned; they did. Run it again.")
    commit_fragments(idle.path, schema, fragments)


def _pictures(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The pictures that rows are of: their names, or what precedes the colon in those of views."""
    return pc.list_element(pc.split_pattern(ids, ":", max_splits=1), 0)


def _hashes(texts: pa.ChunkedArray) -> Hashes:
    """64-bit hashes of texts (n,), nulls left out."""
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts.drop_null().to_pylist()
    )
    return np.frombuffer(digests, np.uint64)


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
    lasting = [file for file in files if file.name not in temporary]
    recorded = read_recorded(workspace, lasting)
    leftovers += unneeded(workspace, lasting, recorded, is_old)
    leftovers += unnamed_artifacts(lasting, recorded, is_old)
    for dataset in datasets(lasting, recorded.versions):
        leftovers += unneeded_files(dataset, is_old)
    rows = list[IdleRows]()
    if wanted.downloads:
        urls = values_shown(workspace, recorded.manifests, "url")
        leftovers += idle_downloads(workspace, lasting, urls, is_old)
    if wanted.features:
        rows += idle_rows(datasets(lasting, recorded.versions), values_shown(workspace, recorded.manifests, "image_id"))
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
    removed = [leftover for leftover in contents.leftovers if leftover not in in_use]
    return WorkspaceContents(files=contents.files, leftovers=removed, in_use=in_use, rows=rows)


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
