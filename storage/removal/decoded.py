"""The decoded content of any file of a workspace, searched for traces of pairs: never its compressed bytes."""

import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from evenly.storage.errors import StoreError
from evenly.storage.removal.leftovers import StoredFile
from evenly.storage.removal.traces import Traces
from evenly.storage.stores.object_path import AT_ONCE, ObjectPath

UNREADABLE = "unreadable"
"""The kind of a file that cannot be decoded: what it holds is not known."""
Counts = Counter[str]
_UNDECODABLE = (
    *(OSError, ValueError, RuntimeError, LookupError, EOFError, tarfile.TarError, sqlite3.Error),
    *(pa.ArrowException, zlib.error),
)
_LANCE = (".lance", ".idx")
_THREADS = 4


def search(files: Iterable[StoredFile], traces: Traces) -> dict[str, Counts]:
    """The files that hold a trace, by name, with counts by kind.

    Files of Lance, which reads one by threads of its own, are read by this thread: there Ctrl-C reaches it.
    """
    listed = list(files)
    others = [file for file in listed if file.path.suffix not in _LANCE]
    is_stored = any(isinstance(file.path, ObjectPath) for file in listed)
    with ThreadPoolExecutor(AT_ONCE if is_stored else _THREADS) as pool:
        read = pool.map(lambda file: traces_in(file.path, traces), others)
        counted = dict(zip((file.name for file in others), read, strict=True))
    counted |= {file.name: traces_in(file.path, traces) for file in listed if file.path.suffix in _LANCE}
    return {file.name: counted[file.name] for file in listed if counted[file.name]}


def holding(counted: Mapping[str, Counts]) -> set[str]:
    """The files of a search in which there is a trace: not those that only cannot be decoded."""
    return {name for name, counts in counted.items() if counts.keys() - {UNREADABLE}}


def traces_in(path: Path, traces: Traces) -> Counts:
    """Counts of traces in the decoded content of a file, by kind; of one that is gone meanwhile none."""
    names = [path.suffix.lower(), *([Path(path.stem).suffix.lower()] if path.suffix in _PACKED else [])]
    try:
        if path.suffix in (".db", ".sqlite"):
            return _in_database(path, traces)
        if path.suffix in _LANCE:
            return _in_lance(path, traces)
        with path.open("rb") as stream:
            opened = io.BytesIO(_PACKED[path.suffix](stream.read())) if path.suffix in _PACKED else stream
            return _READERS.get(names[-1], _in_bytes)(opened, traces)
    except FileNotFoundError:
        return Counter()
    except StoreError:  # it may answer another time
        raise
    except _UNDECODABLE:
        return Counter({UNREADABLE: 1})
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Lance's Rust; its class cannot be imported
            raise
        return Counter({UNREADABLE: 1})


def _in_arrow(stream: BinaryIO, traces: Traces) -> Counts:
    file = ipc.open_file(stream)
    batches = (pa.Table.from_batches([file.get_batch(place)]) for place in range(file.num_record_batches))
    return sum((traces.in_table(batch)[0] for batch in batches), Counter[str]())


def _in_parquet(stream: BinaryIO, traces: Traces) -> Counts:
    file = pq.ParquetFile(stream)
    groups = (traces.in_table(file.read_row_group(group))[0] for group in range(file.num_row_groups))
    return sum(groups, traces.in_bytes(repr(file.metadata.metadata).encode()))


def _in_lance(path: Path, traces: Traces) -> Counts:
    """Traces in a data file of Lance, or in one of an index, also where no version of its dataset names it."""
    from lance.file import LanceFileReader

    try:
        batches = LanceFileReader(str(path)).read_all().to_batches()
    except (OSError, ValueError, RuntimeError):  # a form of index that only Lance itself reads
        return traces.in_bytes(path.read_bytes())
    return sum((traces.in_table(pa.Table.from_batches([batch]))[0] for batch in batches), Counter[str]())


def _in_tar(stream: BinaryIO, traces: Traces) -> Counts:
    counts: Counts = Counter()
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            counts += traces.in_text(member.name)
            opened = tar.extractfile(member)
            inner = b"" if opened is None else opened.read()
            counts["picture"] += hashlib.sha256(inner).hexdigest() in traces.pictures
            if Path(member.name).suffix in (".txt", ".json", ".cls"):
                counts += _READERS.get(Path(member.name).suffix, _in_text)(io.BytesIO(inner), traces)
    return +counts


def _in_json(stream: BinaryIO, traces: Traces) -> Counts:
    content = stream.read()
    try:
        return traces.in_json(json.loads(content))
    except ValueError:
        return sum((traces.in_json(_line(line)) for line in content.splitlines()), Counter[str]())


def _line(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace")


def _in_text(stream: BinaryIO, traces: Traces) -> Counts:
    return traces.in_text(stream.read().decode("utf-8", "replace"))


def _in_page(stream: BinaryIO, traces: Traces) -> Counts:
    return traces.in_page(stream.read().decode("utf-8", "replace"))


def _in_bytes(stream: BinaryIO, traces: Traces) -> Counts:
    """Traces in bytes; of a picture or another file that is kept as it came, also its hash."""
    content = stream.read()
    is_picture = hashlib.sha256(content).hexdigest() in traces.pictures
    return traces.in_bytes(content) + Counter({"picture": 1} if is_picture else {})


def _in_numbers(stream: BinaryIO, traces: Traces) -> Counts:
    """Traces in an array of numpy's: DataComp's uids are two numbers each."""
    array = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    if array.dtype.names is not None and array.dtype.itemsize == 16:
        high, low = (array[name].astype(">u8") for name in array.dtype.names)
        uids = np.stack([high, low], axis=1).tobytes().hex()
        return traces.in_text(" ".join(uids[place : place + 32] for place in range(0, len(uids), 32)))
    return traces.in_text("\n".join(array.astype(str).ravel())) if array.dtype.kind in "US" else Counter()


def _in_database(path: Path, traces: Traces) -> Counts:
    """Traces in every row of a database of SQLite, as Prefect has one."""
    counts: Counts = Counter()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            quoted = name.replace('"', '""')
            for row in database.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - a name of its own
                for value in row:
                    if isinstance(value, str):
                        counts += traces.in_json(value)
                    elif isinstance(value, bytes):
                        counts += traces.in_bytes(value)
    return counts


def _unzstd(content: bytes) -> bytes:
    return bytes(pa.input_stream(io.BytesIO(content), compression="zstd").read())


_PACKED: Mapping[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".zst": _unzstd}
_READERS: Mapping[str, Callable[[BinaryIO, Traces], Counts]] = {
    ".arrow": _in_arrow,
    ".parquet": _in_parquet,
    ".tar": _in_tar,
    ".json": _in_json,
    ".jsonl": _in_json,
    ".html": _in_page,
    ".npy": _in_numbers,
    **dict.fromkeys((".txt", ".csv", ".md", ".log", ".yaml", ".tsv"), _in_text),
}
