"""Commits to Lance datasets: a version counts once the sums of its files are written down, those of its manifest last.

Under the lock of a dataset its files are listed once ahead of a commit. What a killed or failed writer left is then
undone: a version without sums by one that is the same as the newest with sums, data files of no version by removal.
"""

import base64
import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import StorageError
from evenly.storage.records import create_record
from evenly.storage.stores.files import open_ranges
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath
from evenly.storage.stores.writer_lock import waited_lock
from evenly.storage.tables.arrow_files import writable
from evenly.storage.tables.block_sums import BLOCK, SUMS, block_sums
from evenly.storage.tables.lance_rows import (
    INDEX_FILES,
    KEY,
    MADE_AGAIN,
    ROWS_PER_FILE,
    open_rows,
    readable_rows,
    version_of,
)

_PARTS = ("data", "_indices", "_versions")  # in this order: a version counts once its manifest has sums


def commit_rows(path: Path, table: pa.Table, *, mode: Literal["append", "overwrite"], index: str | None = None) -> int:
    """Write `table` to the Lance dataset at `path`, made where there is none, and an index of a column; the version.

    Raises StorageError, with nothing committed, where it cannot be written: a full disk, a folder that is read-only.
    """
    import lance

    with _writing(path), _alone(path):
        files = _undo_unfinished(path)
        _remove_loose(path, files)
        how = "create" if not files.versions else mode if files.newest is not None else "overwrite"
        dataset = lance.write_dataset(table, str(path), mode=how, max_rows_per_file=ROWS_PER_FILE)
        if index is not None:
            dataset.create_scalar_index(index, "BTREE")
        version = int(dataset.version)
        _seal(path, table)
    return version


def commit_index(path: Path, column: str, kind: str, *, name: str, parameters: Mapping[str, int]) -> int:
    """Make an index of the vectors in a column, in place of the one of this name; the version. Raises as `commit_rows`.

    kind: one of Lance's, such as IVF_PQ; cosines are what it compares.
    """
    with _writing(path), _alone(path):
        files = _undo_unfinished(path)
        dataset = open_rows(path, MADE_AGAIN, files.newest)
        dataset = dataset.checkout_version(dataset.latest_version)  # equal to it, where what is unfinished was undone
        dataset.create_index(column, kind, name=name, metric="cosine", replace=True, **parameters)
        version = int(dataset.version)
        _seal(path)
    return version


def write_fragments(path: Path, table: pa.Table) -> list[str]:
    """Write rows beside a dataset, of which they are no part until `commit_fragments` is given what comes back."""
    from lance.fragment import write_fragments as write

    with _writing(path):
        (path / SUMS).mkdir(parents=True, exist_ok=True)
        fragments: Any = write(table, str(path), mode="overwrite", max_rows_per_file=ROWS_PER_FILE)
        for name in (f"data/{file.path}" for fragment in fragments for file in fragment.files):
            create_record(path / SUMS / f"{name}.json", _facts_of(path, name, {}))
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit_fragments(path: Path, schema: pa.Schema, fragments: Iterable[str]) -> int:
    """Make a new version of these rows, in place of those of the last; its number. Raises as `commit_rows` does.

    Raises StorageError too where another writer has removed one of their files.
    """
    import lance
    from lance.fragment import FragmentMetadata

    with _writing(path), _alone(path):
        files = _undo_unfinished(path)
        parts = [FragmentMetadata.from_json(text) for text in fragments]
        written = {f"data/{file.path}" for part in parts for file in part.files}
        if lost := written - files.names:
            raise StorageError(f"`{path / min(lost)}` must be there to be committed; it is gone. Run it again.")
        operation = lance.LanceOperation.Overwrite(schema, parts)
        version = int(lance.LanceDataset.commit(str(path), operation).version)
        _seal(path)
    return version


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield


@dataclass(frozen=True)
class _Files:
    """The names of all files of a dataset, within it."""

    names: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> "_Files":
        """List a dataset: one request for 1,000 objects."""
        if isinstance(path, ObjectPath):
            return cls(frozenset(name for name, _ in path.objects()))
        return cls(frozenset(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()))

    @property
    def versions(self) -> dict[int, str]:
        """The versions that have a manifest, and its name."""
        manifests = [name for name in self.names if name.startswith("_versions/") and name.endswith(".manifest")]
        return {version_of(Path(name).stem): name for name in manifests if Path(name).stem.isdigit()}

    @property
    def newest(self) -> int | None:
        """The newest version that was written to its end; None where none was."""
        return max((number for number, name in self.versions.items() if self.is_sealed(name)), default=None)

    def is_sealed(self, name: str) -> bool:
        """Whether the sums of a file are written down."""
        return f"{SUMS}/{name}.json" in self.names


def _undo_unfinished(path: Path) -> _Files:
    """The files of a dataset, when a version that a killed writer left unfinished has been undone."""
    files = _Files.of(path)
    (path / SUMS).mkdir(parents=True, exist_ok=True)
    if files.newest is not None and files.newest != max(files.versions):
        open_rows(path, MADE_AGAIN, files.newest).restore()
    return files


def _remove_loose(path: Path, files: _Files) -> None:
    """Remove data files of writes that were killed or failed ahead of their commit: no sums, and of no version.

    Files of `write_fragments` get their sums as soon as they are written; until then `commit_fragments` looks for them.
    """
    import lance

    loose = {name for name in files.names if name.startswith("data/") and not files.is_sealed(name)}
    try:
        with readable_rows(path, MADE_AGAIN):
            for version in files.versions if loose else ():
                fragments = lance.dataset(str(path), version=version).get_fragments()
                loose -= {f"data/{file.path}" for fragment in fragments for file in fragment.data_files()}
    except StorageError:  # of a damaged version it is not known what it refers to: nothing goes
        return
    for name in loose:
        (path / name).unlink(missing_ok=True)


def _seal(path: Path, table: pa.Table | None = None) -> None:
    """Write down the sums of all files of a dataset that have none yet: new ones hold keys of `table` alone."""
    files = _Files.of(path)
    keys = {} if table is None or KEY not in table.column_names else pc.min_max(table[KEY]).as_py()
    unsealed = [
        [
            name
            for name in sorted(files.names)
            if name.startswith(f"{part}/") and name.endswith((*INDEX_FILES, ".manifest")) and not files.is_sealed(name)
        ]
        for part in _PARTS
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        facts = [pool.map(partial(_facts_of, path, keys=keys), names) for names in unsealed]
        for names, facts_of_part in zip(unsealed, facts, strict=True):
            records = [path / SUMS / f"{name}.json" for name in names]
            list(pool.map(create_record, records, list(facts_of_part)))


def _facts_of(path: Path, name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of a file, and what else is to be known of it before it is read."""
    from lance.file import LanceFileReader

    file = path / name
    described = LanceFileReader(str(file)).metadata().num_data_bytes if file.suffix == ".lance" else 0
    with closing(open_ranges(file)) as ranges:
        ranges.sync()
        size, sums = ranges.size, base64.b85encode(block_sums(ranges, ranges.size)).decode()
    facts = {"bytes": size, "block": BLOCK, "described_from": described, "xxh3_128": sums}
    return facts | ({"keys": keys} if keys else {})


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Whether a version has been written to its end is for one process at a time to say.

    Should two write to an object store all the same, one may undo what the other has not finished: its rows are then
    not there, and are made again.
    """
    lock_file = path.with_name(f".{path.name}.lock")
    if isinstance(lock_file, ObjectPath):
        with waited_lock(lock_file):
            yield
        return
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
