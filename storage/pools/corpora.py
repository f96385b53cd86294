"""Captions to count words in: one column of files of the kinds that pools have."""

import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from evenly.storage.errors import InputError, TooLargeError
from evenly.storage.pools.rows import file_kind
from evenly.storage.pools.source import READERS
from evenly.storage.pools.texts import as_text
from evenly.storage.reading.parquet import bounded_batches
from evenly.storage.tables.arrow_files import first_line

_ROWS = 65_536


def caption_batches(pattern: str, name: str) -> Iterator[pa.Array]:
    """The texts of a column in files by path or pattern, in stretches of bounded size; null where it is no text.

    The kind is each file's ending: .parquet, .csv, .jsonl, also with .gz. Raises InputError, at once for a file or
    column that is not there.
    """
    files = corpus_files(pattern)
    for file in files:
        columns = READERS[file_kind(file)].columns(file)
        if name not in columns:
            raise InputError(
                f"`caption` must name a column of the file; got `{name}` at `{file}`. Columns there are: "
                f"{', '.join(columns) or 'none'}."
            )
    return (batch for file in files for batch in _batches(file, name))


def corpus_files(pattern: str) -> list[Path]:
    """The files of a corpus, sorted. Raises InputError where there are none, or one of another kind."""
    names = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207 - absolute patterns too
    files = [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise InputError(f"`corpus` must match at least one file; got `{pattern}`. Correct it, or make the file.")
    for file in files:
        if file_kind(file) not in READERS:
            endings = ", ".join(f".{ending}" for ending in READERS)
            raise InputError(f"`corpus` must be files that end in one of {endings}; got `{file}`. Narrow the pattern.")
    return files


def corpus_hash(pattern: str) -> str:
    """A hash of the contents of a corpus's files, whatever they are called."""
    digests = sorted(_digest(file) for file in corpus_files(pattern))
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _batches(file: Path, name: str) -> Iterator[pa.Array]:
    if file_kind(file) != "parquet":
        for raw in READERS[file_kind(file)].rows(file, (name,)):
            yield as_text(raw.table[name], raw.not_text.get(name, ()))[0]
        return
    try:
        for batch in bounded_batches(file, most_rows=_ROWS, columns=[name]):  # it may hold features as well
            yield as_text(pa.Table.from_batches([batch])[name])[0]
    except TooLargeError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise InputError(f"`corpus` must be readable; got `{first_line(error)}` at `{file}`. Check it.") from None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
