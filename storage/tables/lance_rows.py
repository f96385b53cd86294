"""Lance datasets: the sample table, a version per build, and features, which only grow; read as they were written.

Lance writes each file of a dataset once. Beside them, in SUMS, lies a record of the checksums of each file's blocks;
that of a version's manifest is written last, and makes the version count. What Lance is to decode is compared with them
first: the manifest, what data files say of their columns, and the pages of the columns that are read.

A dataset without SUMS is from before there were checksums: it is read as it is, and gets them with the next commit.
"""

import base64
import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import DamagedError, NotFoundError, StorageError
from evenly.storage.records import create_record
from evenly.storage.stores.byte_ranges import opened_ranges
from evenly.storage.stores.connection import trouble_of
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import waited_lock
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import BLOCK, block_sums
from evenly.storage.tables.checked_blocks import SUMS, CheckedBlocks

MADE_AGAIN = "Remove this `.lance` folder and run again what needs its rows: they are made again."
"""What to do about damaged rows that follow from what is stored elsewhere."""
ROWS_PER_FILE = 1 << 16  # what is compared when one row is looked for
KEY = "id"
"""The column by whose least and greatest value in a file rows are looked for."""
_PARTS = ("data", "_indices", "_versions")  # in this order: a version counts once its manifest has sums
_NEWEST = (1 << 64) - 1  # Lance names the manifest of version v by this less v


def commit_rows(path: Path, table: pa.Table, *, mode: Literal["append", "overwrite"], index: str | None = None) -> int:
    """Write `table` to the Lance dataset at `path`, made where there is none, and an index of a column; the version.

    Raises StorageError, with nothing committed, where it cannot be written: a full disk, a folder that is read-only.
    """
    import lance

    with _writing(path), _alone(path):
        if _is_dataset(path):
            _drop_unfinished(path)
        else:
            (path / SUMS).mkdir(parents=True, exist_ok=True)  # what is begun and not finished is not an old dataset
        dataset = lance.write_dataset(table, str(path), mode=_mode(path, mode), max_rows_per_file=ROWS_PER_FILE)
        if index is not None:
            dataset.create_scalar_index(index, "BTREE")
        version = int(dataset.version)
        _seal(path, path / SUMS, table)
    return version


def write_fragments(path: Path, table: pa.Table) -> list[str]:
    """Write rows beside a dataset, of which they are no part until `commit_fragments` is given what comes back."""
    from lance.fragment import write_fragments as write

    with _writing(path):
        (path / SUMS).mkdir(parents=True, exist_ok=True)
        fragments: Any = write(table, str(path), mode="overwrite", max_rows_per_file=ROWS_PER_FILE)
        for file in (file for fragment in fragments for file in fragment.files):
            _seal_file(path, path / "data" / file.path, path / SUMS)
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit_fragments(path: Path, schema: pa.Schema, fragments: Iterable[str]) -> int:
    """Make a new version of these rows, in place of those of the last; its number. Raises as `commit_rows` does."""
    import lance
    from lance.fragment import FragmentMetadata

    with _writing(path), _alone(path):
        if _is_dataset(path):
            _drop_unfinished(path)
        operation = lance.LanceOperation.Overwrite(schema, [FragmentMetadata.from_json(text) for text in fragments])
        version = int(lance.LanceDataset.commit(str(path), operation).version)
        _seal(path, path / SUMS)
    return version


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"table `{path}` must be writable; {first_line(error)}. Nothing was committed; free space, or choose "
            "another --root."
        ) from error


def read_rows(
    path: Path,
    remedy: str,
    *,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
) -> pa.Table:
    """Rows of a version of the Lance dataset at `path`, the newest for None; `where` is an SQL filter.

    Raises DamagedError, which ends with the `remedy`, where what is to be read has changed or cannot be read.
    """
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        wanted = dataset.schema.names if columns is None else list(columns)
        fragments = dataset.get_fragments()
        named = set() if where is None else {name for name in dataset.schema.names if name in where}
        if where is not None:
            _check_indices(path, remedy, dataset, named)
        if where is not None and len(fragments) > 1:
            check_pages(path, remedy, dataset, named, fragments)
            hits = dataset.scanner(columns=[], filter=where, with_row_address=True).to_table()["_rowaddr"]
            numbers = set(np.unique(hits.to_numpy() >> 32).tolist())
            fragments = [fragment for fragment in fragments if fragment.fragment_id in numbers]
        if not fragments:
            return pa.schema([dataset.schema.field(name) for name in wanted]).empty_table()
        check_pages(path, remedy, dataset, {*wanted, *named}, fragments)
        table = dataset.scanner(columns=wanted, filter=where, fragments=fragments, scan_in_order=True).to_table()
        table.validate(full=True)
        return table


def each_fragment(
    path: Path,
    remedy: str,
    *,
    version: int,
    columns: Sequence[str] | None = None,
    where: str | None = None,
) -> Iterator[pa.Table]:
    """What `read_rows` gives, in tables of up to ROWS_PER_FILE rows, each read when it is asked for."""
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        wanted = dataset.schema.names if columns is None else list(columns)
        named = set() if where is None else {name for name in dataset.schema.names if name in where}
        fragments = dataset.get_fragments()
    for fragment in fragments:
        with readable_rows(path, remedy):
            check_pages(path, remedy, dataset, {*wanted, *named}, [fragment])
            scanner = dataset.scanner(
                columns=wanted, filter=where, fragments=[fragment], scan_in_order=True, use_scalar_index=False
            )
            table = scanner.to_table()
            table.validate(full=True)
        yield table


def check_rows(path: Path, remedy: str, *, version: int | None = None) -> bool:
    """Compare all bytes of a version with their checksums; False where it is from before there were any.

    Raises DamagedError, which ends with the `remedy`.
    """
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        if not _has_sums(path):
            dataset.to_table().validate(full=True)
            return False
        for fragment in dataset.get_fragments():
            for file in fragment.data_files():
                CheckedBlocks(path, f"data/{file.path}", remedy).check_all()
        _check_indices(path, remedy, dataset, set(dataset.schema.names))
    return True


def has_rows(path: Path) -> bool:
    """Whether a version of a dataset has been written to its end at `path`."""
    return _is_dataset(path) and newest_version(path) is not None


def newest_version(path: Path) -> int | None:
    """The newest version that was written to its end; None where none was."""
    manifests = (path / SUMS if _has_sums(path) else path) / "_versions"
    names = (file.name.partition(".")[0] for file in manifests.glob("*.manifest*"))
    return max((version_of(name) for name in names if name.isdigit()), default=None)


def _has_sums(path: Path) -> bool:
    """Whether a dataset is from after there were checksums, as all in object stores are."""
    return isinstance(path, ObjectPath) or (path / SUMS).is_dir()


def _mode(path: Path, mode: str) -> str:
    if not _is_dataset(path):
        return "create"
    return mode if has_rows(path) else "overwrite"  # what a killed writer began


def version_of(name: str) -> int:
    """The version whose manifest has the name `name`, a number."""
    number = int(name)
    return _NEWEST - number if number > _NEWEST // 2 else number


def _is_dataset(path: Path) -> bool:
    return any((path / "_versions").glob("*.manifest"))


def _drop_unfinished(path: Path) -> None:
    """Give a dataset from before there were checksums its own; undo a version that a killed writer left unfinished."""
    import lance

    if not _has_sums(path):
        unfinished = path / f"{SUMS}.unfinished"
        _seal(path, unfinished)
        unfinished.rename(path / SUMS)
    newest = newest_version(path)
    if newest is not None:
        dataset = open_rows(path, MADE_AGAIN, newest)
        if lance.dataset(str(path)).version != newest:
            dataset.restore()


def _seal(path: Path, target: Path, table: pa.Table | None = None) -> None:
    """Write down the sums of all files of a dataset that have none yet: new ones hold keys of `table` alone."""
    keys = {} if table is None or KEY not in table.column_names else pc.min_max(table[KEY]).as_py()
    for part in _PARTS:
        for file in sorted((path / part).rglob("*")):
            if file.is_file() and file.suffix in (".lance", ".manifest"):
                _seal_file(path, file, target, keys)


def _seal_file(path: Path, file: Path, target: Path, keys: dict[str, Any] | None = None) -> None:
    from lance.file import LanceFileReader

    record = target / f"{file.relative_to(path)}.json"
    if record.exists():
        return
    described = LanceFileReader(str(file)).metadata().num_data_bytes if file.suffix == ".lance" else 0
    with opened_ranges(file) as ranges:
        ranges.sync()
        size, sums = ranges.size, base64.b85encode(block_sums(ranges, ranges.size)).decode()
    facts = {"bytes": size, "block": BLOCK, "described_from": described, "xxh3_128": sums}
    create_record(record, facts | ({"keys": keys} if keys else {}))


def open_rows(path: Path, remedy: str, version: int | None) -> Any:  # noqa: ANN401 - Lance's
    """The dataset at a version, its manifest compared with its sums."""
    import lance

    wanted = newest_version(path) if version is None else version
    if wanted is None:
        raise NotFoundError(f"table `{path}` must exist; it does not. {remedy}")
    if _has_sums(path):
        name = f"{_NEWEST - wanted}.manifest"
        old = f"_versions/{wanted}.manifest"
        CheckedBlocks(path, old if (path / old).is_file() else f"_versions/{name}", remedy).check_all()
    return lance.dataset(str(path), version=wanted)


def check_pages(path: Path, remedy: str, dataset: Any, columns: set[str], fragments: Iterable[Any]) -> None:  # noqa: ANN401
    """Compare what the files of `fragments` say of themselves, and the pages of some columns, with their sums."""
    from lance.file import LanceFileReader

    if not _has_sums(path):
        return
    fields = {
        number for field in dataset.lance_schema.fields() if field.name() in columns for number in _numbers(field)
    }
    for fragment in fragments:
        for file in fragment.data_files():
            blocks = CheckedBlocks(path, f"data/{file.path}", remedy)
            blocks.check([(blocks.described_from, blocks.size)])
            metadata = LanceFileReader(str(path / "data" / file.path)).metadata()
            described = [
                metadata.columns[column]
                for field, column in zip(file.fields, file.column_indices, strict=True)
                if field in fields and column >= 0
            ]
            buffers = [
                buffer
                for column in described
                for buffer in (*column.column_buffers, *(part for page in column.pages for part in page.buffers))
            ]
            blocks.check([(buffer.position, buffer.position + buffer.size) for buffer in buffers])


def _numbers(field: Any) -> Iterator[int]:  # noqa: ANN401 - Lance's
    """The numbers of a field and of those within it."""
    yield field.id()
    for child in field.children():
        yield from _numbers(child)


def _check_indices(path: Path, remedy: str, dataset: Any, columns: set[str]) -> None:  # noqa: ANN401 - Lance's
    if _has_sums(path):
        segments = (
            segment
            for index in dataset.describe_indices()
            if columns & set(index.field_names)
            for segment in index.segments
        )
        for segment in segments:
            for file in sorted((path / "_indices" / str(segment.uuid)).rglob("*.lance")):
                CheckedBlocks(path, str(file.relative_to(path)), remedy).check_all()


@contextmanager
def readable_rows(path: Path, remedy: str) -> Iterator[None]:
    """Turn what Lance says of a file that it cannot read into one line."""
    try:
        yield
    except StorageError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError, pa.ArrowException) as error:
        if isinstance(path, ObjectPath) and (trouble := trouble_of(error, path.bucket)) is not None:
            raise trouble from None
        raise DamagedError(f"table `{path}` must be readable; {first_line(error)}. {remedy}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Lance's Rust; its class cannot be imported
            raise
        raise DamagedError(f"table `{path}` must be readable; {first_line(error)}. {remedy}") from error


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
