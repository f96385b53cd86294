"""Lance datasets: the sample table, a version per build, and features, which only grow; read as they were written.

Lance writes each file of a dataset once. Beside them, in SUMS, lies a record of the checksums of each file's blocks;
that of a version's manifest is written last, and makes the version count. What Lance is to decode is compared with them
first: the manifest, what data files say of their columns, and the pages of the columns that are read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.storage.errors import DamagedError, NotFoundError, StorageError
from evenly.storage.stores.connection import trouble_of
from evenly.storage.stores.files import each_stored
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import SUMS, CheckedBlocks, checked_blocks

MADE_AGAIN = "Remove this `.lance` folder and run again what needs its rows: they are made again."
"""What to do about damaged rows that follow from what is stored elsewhere."""
ROWS_PER_FILE = 1 << 16  # what is compared when one row is looked for
KEY = "id"
"""The column by whose least and greatest value in a file rows are looked for."""
INDEX_FILES = (".lance", ".idx")
"""How the files of an index of values, or of vectors, end."""
_NEWEST = (1 << 64) - 1  # Lance names the manifest of version v by this less v
_FILES_AT_ONCE = 8  # of each some 12 MB are in memory while it is checked
_OPEN_VERSIONS = 16
_KEPT_BYTES = 256 << 20


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
            check_indices(path, remedy, dataset, named)
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
    """The rows of `read_rows`, in tables of up to ROWS_PER_FILE rows, each read when it is asked for; at least one."""
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        wanted = dataset.schema.names if columns is None else list(columns)
        named = set() if where is None else {name for name in dataset.schema.names if name in where}
        fragments = dataset.get_fragments()
    if not fragments:
        yield pa.schema([dataset.schema.field(name) for name in wanted]).empty_table()
    for fragment in fragments:
        with readable_rows(path, remedy):
            check_pages(path, remedy, dataset, {*wanted, *named}, [fragment])
            scanner = dataset.scanner(
                columns=wanted, filter=where, fragments=[fragment], scan_in_order=True, use_scalar_index=False
            )
            table = scanner.to_table()
            table.validate(full=True)
        yield table


def check_rows(path: Path, remedy: str, *, version: int | None = None) -> None:
    """Compare all bytes of a version with their checksums. Raises DamagedError, which ends with the `remedy`."""
    with readable_rows(path, remedy):
        dataset = open_rows(path, remedy, version)
        _manifest(path, remedy, dataset.version).check_all()
        for fragment in dataset.get_fragments():
            for file in fragment.data_files():
                CheckedBlocks(path, f"data/{file.path}", remedy).check_all()
        for uuid in _indices_of(dataset, set(dataset.schema.names)):
            _check_index(path, remedy, uuid)


def has_rows(path: Path) -> bool:
    """Whether a version of a dataset has been written to its end at `path`."""
    return newest_version(path) is not None


def newest_version(path: Path) -> int | None:
    """The newest version that was written to its end; None where none was."""
    names = (file.name.partition(".")[0] for file in (path / SUMS / "_versions").glob("*.manifest*"))
    return max((version_of(name) for name in names if name.isdigit()), default=None)


def version_of(name: str) -> int:
    """The version whose manifest has the name `name`, a number."""
    number = int(name)
    return _NEWEST - number if number > _NEWEST // 2 else number


def open_rows(path: Path, remedy: str, version: int | None) -> Any:  # noqa: ANN401 - Lance's
    """The dataset at a version, its manifest compared with its sums."""
    wanted = newest_version(path) if version is None else version
    if wanted is None:
        raise NotFoundError(f"table `{path}` must exist; it does not. {remedy}")
    manifest = _manifest(path, remedy, wanted)
    if isinstance(path, ObjectPath):
        return _opened(path, wanted, manifest)
    manifest.check_all()
    return _dataset(path, wanted)


def _manifest(path: Path, remedy: str, version: int) -> CheckedBlocks:
    try:
        return CheckedBlocks(path, f"_versions/{_NEWEST - version}.manifest", remedy)
    except DamagedError:
        with suppress(DamagedError):
            return CheckedBlocks(path, f"_versions/{version}.manifest", remedy)  # as older versions of Lance name it
        raise


@lru_cache(maxsize=_OPEN_VERSIONS)
def _opened(path: ObjectPath, version: int, manifest: CheckedBlocks) -> Any:  # noqa: ANN401 - Lance's
    """A version in an object store, opened once by a process for as long as its manifest has the same sums."""
    manifest.check_all()
    return _dataset(path, version)


def _dataset(path: Path, version: int) -> Any:  # noqa: ANN401 - Lance's
    import lance

    session = _session(path.bucket, id(path.store)) if isinstance(path, ObjectPath) else None
    return lance.dataset(str(path), version=version, session=session)


@lru_cache(maxsize=_OPEN_VERSIONS)
def _session(_bucket: str, _store: int) -> Any:  # noqa: ANN401 - Lance's
    """Lance's metadata of the files of a bucket, by their names: a later version of a dataset has most of them too."""
    import lance

    return lance.Session(index_cache_size_bytes=_KEPT_BYTES, metadata_cache_size_bytes=_KEPT_BYTES)


def check_pages(path: Path, remedy: str, dataset: Any, columns: set[str], fragments: Iterable[Any]) -> None:  # noqa: ANN401
    """Compare what the files of `fragments` say of themselves, and the pages of some columns, with their sums."""
    fields = {
        number for field in dataset.lance_schema.fields() if field.name() in columns for number in _numbers(field)
    }
    files = [file for fragment in fragments for file in fragment.data_files()]
    for _ in each_stored(partial(_check_file, path, remedy, fields), files, path, at_once=_FILES_AT_ONCE):
        pass  # taking the results raises what went wrong


def check_taken(
    path: Path,
    remedy: str,
    dataset: Any,  # noqa: ANN401 - Lance's
    columns: set[str],
    *,
    fragment: Any,  # noqa: ANN401 - Lance's
    rows: npt.NDArray[np.int64],
) -> None:
    """Check as `check_pages` does, of columns of vectors only the blocks in which these rows of a fragment lie."""
    named = [field for field in dataset.lance_schema.fields() if field.name() in columns]
    fields = {number for field in named for number in _numbers(field)}
    widths = {field.id(): _width(dataset.schema.field(field.name()).type) for field in named}
    for file in fragment.data_files():
        _check_file(path, remedy, fields, file, widths=widths, rows=rows)


def _width(kind: pa.DataType) -> int | None:
    """The bytes of a vector of numbers of a fixed size; None for what is no such vector."""
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_primitive(kind.value_type):
        return None
    bits = kind.list_size * kind.value_type.bit_width
    return None if bits % 8 else bits // 8


def _check_file(
    path: Path,
    remedy: str,
    fields: set[int],
    file: Any,  # noqa: ANN401 - Lance's
    *,
    widths: Mapping[int, int | None] | None = None,
    rows: npt.NDArray[np.int64] | None = None,
) -> None:
    from lance.file import LanceFileReader

    blocks = checked_blocks(path, f"data/{file.path}", remedy)
    if blocks.is_right:
        return
    with blocks.opened() as ranges:
        blocks.check([(blocks.described_from, blocks.size)], ranges)
        if blocks.is_right:
            return
        metadata = LanceFileReader(str(path / "data" / file.path)).metadata()
        described = [
            (metadata.columns[column], (widths or {}).get(field))
            for field, column in zip(file.fields, file.column_indices, strict=True)
            if field in fields and column >= 0
        ]
        spans = [span for column, width in described for span in _spans(column, width, metadata.num_rows, rows)]
        blocks.check(spans, ranges)


def _spans(
    column: Any,  # noqa: ANN401 - Lance's
    width: int | None,
    length: int,
    rows: npt.NDArray[np.int64] | None,
) -> Iterator[tuple[int, int]]:
    """Where the bytes of a column lie; of one that holds its `length` vectors one after the other, those of `rows`."""
    buffers = [buffer for page in column.pages for buffer in page.buffers]
    is_plain = len(buffers) == len(column.pages) and not column.column_buffers
    if rows is None or not width or not is_plain or sum(buffer.size for buffer in buffers) != width * length:
        for buffer in (*column.column_buffers, *buffers):
            yield buffer.position, buffer.position + buffer.size
        return
    first = 0
    for buffer in buffers:
        n_rows = buffer.size // width
        for row in rows[(rows >= first) & (rows < first + n_rows)].tolist():
            begin = buffer.position + (row - first) * width
            yield begin, begin + width
        first += n_rows


def _numbers(field: Any) -> Iterator[int]:  # noqa: ANN401 - Lance's
    """The numbers of a field and of those within it."""
    yield field.id()
    for child in field.children():
        yield from _numbers(child)


def check_indices(path: Path, remedy: str, dataset: Any, columns: set[str]) -> None:  # noqa: ANN401 - Lance's
    """Compare the files of the indices of some columns with their sums."""
    for uuid in _indices_of(dataset, columns):
        (_check_index_once if isinstance(path, ObjectPath) else _check_index)(path, remedy, uuid)


def _indices_of(dataset: Any, columns: set[str]) -> list[str]:  # noqa: ANN401 - Lance's
    indices = [index for index in dataset.describe_indices() if columns & set(index.field_names)]
    return [str(segment.uuid) for index in indices for segment in index.segments]


def _check_index(path: Path, remedy: str, uuid: str) -> None:
    for file in sorted(file for kind in INDEX_FILES for file in (path / "_indices" / uuid).rglob(f"*{kind}")):
        CheckedBlocks(path, str(file.relative_to(path)), remedy).check_all()


_check_index_once = lru_cache(maxsize=_OPEN_VERSIONS)(_check_index)


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
