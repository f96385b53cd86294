"""Parquet files with facts about themselves, written fast: what `evenly match` and `evenly balance` leave."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError, InputError, WriterError
from evenly.storage.records import canonical_json, replacing
from evenly.storage.stores.writer_lock import described_holder, lock_holder
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, open_checked

SCHEMA = 1
_UNPACKED = {"uid", "entries.list.element"}
_LOCK = "held.lock"
_ENCODINGS = {"uid": "DELTA_LENGTH_BYTE_ARRAY", "row": "DELTA_BINARY_PACKED"}


@dataclass(frozen=True, eq=False, kw_only=True)
class StampedFile:
    """A file that `write_stamped` wrote; facts: what it says of itself.

    Of a kind are the key of these facts, the command that writes it, and the option that names it.
    """

    key: ClassVar[bytes]
    command: ClassVar[str]
    option: ClassVar[str]
    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> Self:
        """Open `path`. Raises InputError where it is no such file, DamagedError where it has changed."""
        command = cls.command
        if not path.is_file():
            raise InputError(f"`{cls.option}` must be a file; got `{path}`. Correct the path, or run `{command}`.")
        try:
            with open_checked(path, f"Remove it and run `{command}` again.") as source:
                facts = json.loads((pq.read_metadata(source).metadata or {}).get(cls.key, b"null"))
        except (OSError, ValueError, RecursionError) as error:  # pyarrow's errors are among them
            raise InputError(
                f"`{cls.option}` must be a readable Parquet file; got `{first_line(error)}` at `{path}`. Check it."
            ) from None
        if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
            raise InputError(
                f"`{cls.option}` must be what `{command}` wrote; got another file at `{path}`. Name another, or run it "
                "again."
            )
        return cls(path=path, facts=facts)

    @property
    def beside(self) -> Sequence[Path]:
        """Files that are written with it."""
        return ()

    @contextmanager
    def opened(self, path: Path | None = None) -> Iterator[pq.ParquetFile]:
        """The file, or another at `path` beside it, to read from. Raises DamagedError where it cannot be read."""
        path = self.path if path is None else path
        cure = f"{self.command.split()[-1]} again."
        try:
            with open_checked(path, f"Remove it, and {cure}") as source, pq.ParquetFile(source) as file:
                yield file
        except (OSError, ValueError) as error:  # pyarrow's errors are among them
            raise DamagedError(f"`{path}` must be readable; {first_line(error)}. {cure.capitalize()}") from None


def write_stamped(
    path: Path,
    schema: pa.Schema,
    dictionaries: list[str],
    tables: Iterable[pa.Table],
    stamp: tuple[bytes, Callable[[], Mapping[str, Any]]],
) -> None:
    """Write tables, a row group each, then the facts under their key, asked for at the end; the file appears whole.

    It costs little time: dictionaries only where values repeat, no statistics. Uids and entries are not compressed:
    that would halve the bytes, and take longer than all the rest.
    """
    paths = {f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema}
    packed = paths - _UNPACKED
    options = {
        "compression": dict.fromkeys(paths, "none") | dict.fromkeys(packed, "zstd"),
        "compression_level": dict.fromkeys(packed, 1),
        "use_dictionary": dictionaries,
        "column_encoding": {name: kind for name, kind in _ENCODINGS.items() if name in schema.names},
        "write_statistics": False,
        "store_schema": False,
    }
    key, facts = stamp
    with replacing(path) as stream:
        with pq.ParquetWriter(stream, schema, **options) as writer:
            for table in tables:
                writer.write_table(table)
            writer.add_key_value_metadata({**PARQUET_MARK, key: canonical_json({**facts(), "schema": SCHEMA})})
        append_sums(stream)


def check_name(out: Path) -> None:
    """Raise InputError for a file to be written whose name does not say that it is Parquet."""
    if out.suffix != ".parquet":
        raise InputError(f"`out` must end in .parquet; got `{out}`. Rename it.")


def check_unused(out: Path, *, overwrite: bool) -> None:
    """Raise InputError for a file that is there, unless it may be overwritten."""
    if out.exists() and not overwrite:
        raise InputError(f"`out` must not exist; got `{out}`. Choose another name, or overwrite it with --force.")


def finished_facts(
    out: Path, wanted: Mapping[str, Any], kind: type[StampedFile], *, overwrite: bool
) -> dict[str, Any] | None:
    """The facts of the file at `out` where it is of a kind, whole, and holds what is wanted; None: it is to be written.

    Raises as `check_unused` does.
    """
    if out.exists():
        with suppress(InputError):
            file = kind.at(out)
            is_whole = all(path.is_file() for path in file.beside)
            if is_whole and all(file.facts.get(name) == value for name, value in wanted.items()):
                return dict(file.facts)
    check_unused(out, overwrite=overwrite)
    return None


def parts_beside(out: Path) -> Path:
    """The folder in which `out` grows."""
    return out.absolute().with_name(f".{out.name}.parts")


@contextmanager
def writing_alone(out: Path) -> Iterator[None]:
    """Write `out` and the folder beside it alone for the block, which ends without the folder.

    After an error what has been done stays there, for a later run to go on with. Raises InputError for a name that is
    none of a Parquet file, WriterError, which says who writes `out` just now.
    """
    check_name(out)
    folder = parts_beside(out)
    lock = folder / _LOCK
    try:
        with lock_holder(lock) as holder:
            if holder is not None:
                raise WriterError(
                    f"`out` must be written by one command at a time; got `{out}`: {described_holder(holder)}. Wait "
                    "until it has ended, or choose another name."
                )
            try:
                yield
                _remove_others(folder, lock)
            finally:
                with suppress(OSError):
                    lock.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # it holds parts, or another command has just begun there
            folder.rmdir()


def _remove_others(folder: Path, lock: Path) -> None:
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != lock:
            path.unlink(missing_ok=True)


BALANCED = pa.schema(
    [
        ("uid", pa.string()),
        ("p_keep", pa.float64()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("deciding", pa.int32()),
        ("draw", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False, kw_only=True)
class BalancedFile(StampedFile):
    """A file that `write_balanced` wrote."""

    key: ClassVar[bytes] = b"evenly.balanced"
    command: ClassVar[str] = "evenly balance"
    option: ClassVar[str] = "out"

    def groups(self) -> Iterator[pa.Table]:
        """The row groups in order: those of the matches. Raises DamagedError where they cannot be read."""
        with self.opened() as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number).cast(BALANCED)


def write_balanced(path: Path, tables: Iterable[pa.Table], facts: Callable[[], Mapping[str, Any]]) -> None:
    """Write tables of BALANCED, a row group each, and their facts; the file appears whole."""
    write_stamped(path, BALANCED, ["reason"], tables, (BalancedFile.key, facts))
