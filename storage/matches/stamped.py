"""Parquet files with facts about themselves, written fast: what `evenly match` and `evenly balance` leave."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import InputError
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.tables.block_sums import open_checked

_UNPACKED = {"uid", "entries.list.element"}
_ENCODINGS = {"uid": "DELTA_LENGTH_BYTE_ARRAY", "row": "DELTA_BINARY_PACKED"}


def stamped_writer(stream: Any, schema: pa.Schema, dictionaries: list[str]) -> pq.ParquetWriter:  # noqa: ANN401 - a file
    """A writer of Parquet that costs little time: dictionaries only where values repeat, no statistics.

    Uids and entries are not compressed: that would halve the bytes, and take longer than all the rest.
    """
    paths = {f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema}
    packed = paths - _UNPACKED
    return pq.ParquetWriter(
        stream,
        schema,
        compression=dict.fromkeys(paths, "none") | dict.fromkeys(packed, "zstd"),
        compression_level=dict.fromkeys(packed, 1),
        use_dictionary=dictionaries,
        column_encoding={name: kind for name, kind in _ENCODINGS.items() if name in schema.names},
        write_statistics=False,
        store_schema=False,
    )


def check_name(out: Path) -> None:
    """Raise InputError for a file to be written whose name does not say that it is Parquet."""
    if out.suffix != ".parquet":
        raise InputError(f"`out` must end in .parquet; got `{out}`. Rename it.")


def check_unused(out: Path, *, overwrite: bool) -> None:
    """Raise InputError for a file that is there, unless it may be overwritten."""
    if out.exists() and not overwrite:
        raise InputError(f"`out` must not exist; got `{out}`. Choose another name, or overwrite it with --force.")


def finished_facts(
    out: Path, wanted: Mapping[str, Any], facts_at: Callable[[Path], Mapping[str, Any]], *, overwrite: bool
) -> dict[str, Any] | None:
    """The facts of the file at `out` where they hold what is wanted; None where it is to be written.

    facts_at: raises InputError for a file that is none of its kind, or not whole. Raises as `check_unused` does.
    """
    if out.exists():
        with suppress(InputError):
            facts = dict(facts_at(out))
            if all(facts.get(name) == value for name, value in wanted.items()):
                return facts
    check_unused(out, overwrite=overwrite)
    return None


def read_stamp(path: Path, key: bytes, schema: int, *, field: str, command: str) -> dict[str, Any]:
    """The facts under `key` of the file's metadata.

    Raises InputError, naming the `field` that asked and the `command` that makes such files, where it is none of
    this `schema`, and DamagedError where it has changed since it was written.
    """
    if not path.is_file():
        raise InputError(f"`{field}` must be a file; got `{path}`. Correct the path, or run `{command}`.")
    try:
        with open_checked(path, f"Remove it and run `{command}` again.") as source:
            facts = json.loads((pq.read_metadata(source).metadata or {}).get(key, b"null"))
    except (OSError, ValueError, RecursionError) as error:  # pyarrow's errors are among them
        raise InputError(
            f"`{field}` must be a readable Parquet file; got `{first_line(error)}` at `{path}`. Check it."
        ) from None
    if not isinstance(facts, dict) or facts.get("schema") != schema:
        raise InputError(
            f"`{field}` must be what `{command}` wrote; got another file at `{path}`. Name another, or run it again."
        )
    return facts
