"""Small JSON records that are created once and never change, and aliases that move.

Every acknowledged fact of evenly (a finished step, a build, a reply) is such a record: written to a temporary file,
flushed to disk, then linked to its name. The link fails if the name exists, so exactly one writer wins.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from storage.errors import DamagedError, NotFoundError
from storage.temporary_files import temporary_file


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """One byte string per JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def content_hash(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def create_record(path: Path, record: Mapping[str, Any]) -> bool:
    """Create `path` with `record`; False, and nothing changed, if it exists already. Durable when it returns."""
    with temporary_file(path) as (temporary, stream):
        stream.write(_pretty(record).encode())
        _flush(stream)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def replace_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` at `path` in one step, over whatever stood there: readers see the old or the new, whole."""
    replace_text(path, _pretty(record))


def replace_text(path: Path, text: str) -> None:
    """Write a text file at `path` in one step, over whatever stood there."""
    with replacing(path) as stream:
        stream.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes stand at `path`, durable, once the block is done; where it fails nothing has changed."""
    with temporary_file(path) as (temporary, stream):
        yield stream
        _flush(stream)
        temporary.replace(path)
    sync_folder(path.parent)


def read_record(path: Path) -> dict[str, Any]:
    """Read the record at `path`.

    Raises NotFoundError where there is none, DamagedError where it is not a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(
            f"record `{path}` must exist; it does not. List what is there with `evenly builds`."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"record `{path}` must be JSON; {error}. Restore it from a backup or remove it.") from None
    if not isinstance(value, dict):
        raise DamagedError(f"record `{path}` must be a JSON object; got {type(value).__name__}.")
    return value


def _pretty(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk, so that a created or renamed file outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
