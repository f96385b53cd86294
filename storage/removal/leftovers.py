"""Files that belong together and that nothing refers to, or that were broken off: why they go, and their removal.

Of a Lance dataset those go that no version needs which a build names. A version counts once its manifest has checksums,
so these are removed first: a removal that is broken off leaves what a killed writer leaves, which the next one undoes.
"""

import fcntl
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.errors import StorageError
from evenly.storage.exports.export import MANIFEST, UPLOADING
from evenly.storage.records import TEMPORARY_NAME
from evenly.storage.stores.connection import readable_errors
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import holder_of
from evenly.storage.tables.block_sums import SUMS
from evenly.storage.tables.exchange import LOCK_FILE
from evenly.storage.tables.lance_rows import INDEX_FILES, MADE_AGAIN, newest_version, readable_rows, version_of
from evenly.storage.web.shards import ABANDONED_AFTER_S, PARTIAL
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


HOUR_S, DAY_S = 3600.0, 86400.0
IsOld = Callable[[StoredFile], bool]
"""Whether a file is of the age from which on what nobody needs may go."""
_PARTIAL_EXPORT = re.compile(r"\..+\.[0-9a-f]{16}\.partial")
_PROBE = re.compile(r"\.(probe|clock)-[0-9a-f]{16}")
_LINKED_COPY = re.compile(r"\..+\.tmp")  # of an observation that is copied from another workspace
_BESIDE_RECORDS = re.compile(r"([0-9a-f]{32})(\.[0-9a-f]{8})?(\.measured\.parquet|\.tar)")


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Files that are of no use, in the order in which they are to be removed.

    kind: one of KINDS. why: what it is of, in words. lock: a file or folder of this machine, or the lock of a
    writer in a store, that must be free; None where the locks of recipes are enough. is_wrong: False where it is left
    by work that went well, and costs next to nothing.
    """

    kind: str
    why: str
    files: Sequence[StoredFile]
    lock: Path | None = None
    is_wrong: bool = True

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def broken_off(files: Sequence[StoredFile], exchange: Path) -> Iterator[Leftover]:
    """Leftovers of killed writers: temporary files, rows on their way, exports, downloads in progress, locks.

    Nothing that a process of this machine holds, and of an object store nothing that may be in use elsewhere.
    exchange: where rows are on their way to another cut, in the workspace or in the cache.
    """
    yield from _temporary_files(files)
    yield from _exchanged(files, exchange)
    yield from _exports(files)
    yield from _downloads(files)
    yield from _dead_locks(files)


def _temporary_files(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    now = time.time()
    for file in files:
        name, is_stored = file.path.name, isinstance(file.path, ObjectPath)
        age_s = now - file.changed
        if _PROBE.fullmatch(name):
            if age_s > HOUR_S:
                yield Leftover(kind=TEMPORARY, why="probes of the store that were broken off", files=[file])
        elif not is_stored and TEMPORARY_NAME.fullmatch(name):
            if is_free(file.path):
                yield Leftover(kind=TEMPORARY, why="writers that are gone", files=[file], lock=file.path)
        elif _LINKED_COPY.fullmatch(name) and age_s > DAY_S:
            yield Leftover(kind=TEMPORARY, why="writers that are gone", files=[file])


def _exchanged(files: Iterable[StoredFile], exchange: Path) -> Iterator[Leftover]:
    for folder in sorted(exchange.iterdir()) if exchange.is_dir() else ():
        lock = folder / LOCK_FILE
        if folder.is_dir() and (is_free(lock) or not lock.exists()):
            members = [file for file in files if folder in file.path.parents]
            yield Leftover(kind="exchange", why="steps that are gone", files=members, lock=lock)


def _exports(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    groups: Mapping[Path, list[StoredFile]] = defaultdict(list)
    for file in files:
        partial = [folder for folder in file.path.parents if _PARTIAL_EXPORT.fullmatch(folder.name)]
        if partial and file.kind == "exports" and not isinstance(file.path, ObjectPath):
            groups[partial[-1]].append(file)
    yield from _uploads(files)
    for folder, members in groups.items():
        if is_free(folder) and time.time() - folder.stat().st_mtime > HOUR_S:
            yield Leftover(kind="exports", why="exports that were broken off", files=members, lock=folder)


def _uploads(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    """Exports into an object store without a manifest, whose writers are dead."""
    stored = [file for file in files if file.name.startswith("exports/") and isinstance(file.path, ObjectPath)]
    paths = {file.path for file in stored}
    for lock in (path for path in paths if path.name == UPLOADING and path.with_name(MANIFEST) not in paths):
        if holder_of(lock) is None:
            members = [file for file in stored if lock.parent in file.path.parents and file.path != lock]
            yield Leftover(kind="exports", why="exports that were broken off", files=members, lock=lock)


def _downloads(files: Sequence[StoredFile]) -> Iterator[Leftover]:
    """Work in progress of a download that is gone, and what lies beside records that were never written."""
    downloads = [file for file in files if file.name.startswith("downloads/")]
    shards = {file.path.stem for file in downloads if file.path.suffix == ".parquet"}
    lock = None
    members = []
    for file in downloads:
        match = _BESIDE_RECORDS.fullmatch(file.path.name)
        if isinstance(file.path, ObjectPath):
            is_left = match is not None and match[1] not in shards
            is_left = is_left and time.time() - file.changed > ABANDONED_AFTER_S
        else:
            is_left = PARTIAL in file.path.parts or (match is not None and match[1] not in shards)
            lock = file.path.parents[file.name.count("/") - 1] / ".lock"
        members += [file] if is_left else []
    if members and (lock is None or not lock.exists() or is_free(lock)):
        yield Leftover(kind="downloads", why="downloads that were broken off", files=members, lock=lock)


def _dead_locks(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    """Locks in an object store whose writers are dead; in a folder a lock ends with its process."""
    for file in files:
        if file.kind == "locks" and isinstance(file.path, ObjectPath) and holder_of(file.path) is None:
            yield Leftover(kind="locks", why="writers that are dead", files=[file], lock=file.path)


_PARTS = ("_versions", "data", "_indices", "_transactions")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A Lance dataset: where it lies, its files by their names within it, and the versions that builds name.

    named: None for features, of which only the newest version is read.
    """

    path: Path
    kind: str
    files: Mapping[str, StoredFile]
    named: Collection[int] | None

    @property
    def versions(self) -> dict[int, str]:
        """The versions that have a manifest, finished or not, and its name."""
        names = [name for name in self.files if name.startswith("_versions/") and name.endswith(".manifest")]
        numbers = [(name.rpartition("/")[2].removesuffix(".manifest"), name) for name in names]
        return {version_of(number): name for number, name in numbers if number.isdigit()}


def datasets(files: Sequence[StoredFile], named: Mapping[str, Collection[int]]) -> Iterator[Dataset]:
    """The sample tables and the features; `named`: the versions of each recipe that builds name."""
    groups: dict[Path, dict[str, StoredFile]] = defaultdict(dict)
    for file in files:
        if file.kind in ("sample tables", "features"):
            for depth, folder in enumerate(file.path.parents):
                if folder.suffix == ".lance":
                    name = "/".join(file.path.parts[-depth - 1 :])
                    groups[folder][name] = file
    for path, members in groups.items():
        kind = next(iter(members.values())).kind
        versions = named.get(path.stem, ()) if kind == "sample tables" else None
        yield Dataset(path=path, kind=kind, files=members, named=versions)


def unneeded_files(dataset: Dataset, is_old: IsOld) -> Iterator[Leftover]:
    """The files that may go; none of a dataset that is damaged."""
    versions, needed_versions = dataset.versions, dataset.named
    if needed_versions is None:
        newest = newest_version(dataset.path)
        needed_versions = () if newest is None else (newest,)
    if not set(needed_versions) <= set(versions):
        return  # it is damaged: nothing more is to go
    old = {name for name, file in dataset.files.items() if is_old(file)}
    kept = [number for number, name in versions.items() if number in needed_versions or name not in old]
    try:
        needed = _files_of(dataset, kept)
    except StorageError:
        return
    free = {name for name in old - needed if _is_of_a_version(name) or not kept}
    covered = {f"{SUMS}/{name}.json": name for name in dataset.files}
    free |= {name for name in old if name.startswith(f"{SUMS}/") and (name not in covered or covered[name] in free)}
    if free:
        has_rows = any(name.startswith("data/") for name in free)
        yield Leftover(
            kind=dataset.kind,
            why="versions that no build names" if has_rows else "steps between versions that builds name",
            files=[dataset.files[name] for name in sorted(free, key=_removal_order)],
            lock=dataset.path.with_name(f".{dataset.path.name}.lock"),
            is_wrong=has_rows,
        )


def _is_of_a_version(name: str) -> bool:
    """Whether a file is part of what Lance writes for versions; what it writes beside them stays."""
    return name.partition("/")[0] in _PARTS and name.endswith((*INDEX_FILES, ".manifest", ".txn"))


def _removal_order(name: str) -> tuple[int, str]:
    """Sums of manifests first, then manifests; other sums last, when what they are of is gone."""
    if name.startswith(f"{SUMS}/_versions/"):
        return 0, name
    if name.startswith("_versions/"):
        return 1, name
    return (3 if name.startswith(f"{SUMS}/") else 2), name


def _files_of(dataset: Dataset, versions: Collection[int]) -> set[str]:
    """The names of the files that versions consist of."""
    names, indices = set[str](), set[str]()
    manifests = [dataset.files[dataset.versions[number]] for number in versions]
    for number, manifest in zip(versions, manifests, strict=True):
        content = manifest.path.read_bytes()
        names.add(dataset.versions[number])
        names |= {
            name for name in dataset.files if name.startswith("_transactions/") and Path(name).name.encode() in content
        }
        with readable_rows(dataset.path, MADE_AGAIN):
            opened = _opened(dataset.path, number)
            names |= {f"data/{file.path}" for part in opened.get_fragments() for file in part.data_files()}
            indices |= {str(segment.uuid) for index in opened.describe_indices() for segment in index.segments}
    names |= {name for name in dataset.files if name.startswith("_indices/") and name.split("/")[1] in indices}
    return names


def _opened(path: Path, version: int) -> Any:  # noqa: ANN401 - Lance's
    import lance

    return lance.dataset(str(path), version=version)
