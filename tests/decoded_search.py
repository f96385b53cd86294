"""A search of decoded content that shares no code with evenly: every file of a folder, for words, uids and pictures.

python -m tests.decoded_search FOLDER NEEDLES.json

It decodes Arrow, Parquet, every data file of Lance, tars, JSON, packed files, arrays of numpy's and SQLite, and looks
for each needle anywhere in what comes out, inside longer texts too. Uids are also looked for as 16 raw bytes, numbers
as what they are, and pictures by the sha256 of every file and every member of a tar.
"""

import contextlib
import gzip
import hashlib
import html
import io
import json
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lance.file import LanceFileReader


def search(folder: Path, needles: list[str | int]) -> dict[str, list[str]]:
    """The files below a folder in which a needle stands, and which needles these are; numbers are needles as well."""
    texts = {str(needle): needle for needle in needles}
    hits: dict[str, set[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for piece in decoded(path):
            found = {name for name, needle in texts.items() if stands_in(needle, piece)}
            if found:
                hits.setdefault(str(path.relative_to(folder)), set()).update(found)
    return {name: sorted(found) for name, found in hits.items()}


def stands_in(needle: str | int, piece: object) -> bool:
    """Whether a needle stands in a decoded piece: text, bytes, or a set of numbers."""
    if isinstance(needle, int):
        return isinstance(piece, set) and needle in piece
    if isinstance(piece, str):
        return needle in piece
    if isinstance(piece, bytes):
        is_raw = len(needle) == 32 and not needle.strip("0123456789abcdef") and bytes.fromhex(needle) in piece
        return is_raw or needle.encode() in piece
    return False


def decoded(path: Path) -> Iterator[object]:
    """All that a file holds, decoded."""
    content = path.read_bytes()
    yield from of_bytes(path.name, content)
    if path.suffix in (".lance", ".idx"):
        with contextlib.suppress(Exception):
            yield from of_table(LanceFileReader(str(path)).read_all().to_table())
    if path.suffix == ".manifest" and path.parent.name == "_versions":
        dataset = path.parents[1]
        for version in lance.dataset(str(dataset)).versions():
            yield from of_table(lance.dataset(str(dataset), version=version["version"]).to_table())
    if path.suffix in (".db", ".sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            yield from database.iterdump()


def of_bytes(name: str, content: bytes) -> Iterator[object]:
    """What bytes hold, by the end of their name."""
    yield content
    yield hashlib.sha256(content).hexdigest()
    if name.endswith((".gz", ".zst")):
        inner = (
            gzip.decompress(content) if name.endswith(".gz") else pa.input_stream(content, compression="zstd").read()
        )
        yield from of_bytes(name.rpartition(".")[0], inner)
    for end, decode in DECODERS.items():
        if name.endswith(end):
            yield from decode(content)


def of_array(content: bytes) -> Iterator[object]:
    """The texts of an array; two numbers of 64 bits are a uid."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    yield "\n".join(f"{row[0]:016x}{row[1]:016x}" for row in array) if array.dtype.names else str(array.tolist())


def of_tar(content: bytes) -> Iterator[object]:
    """The names of members, and what they hold."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            yield member.name
            stream = tar.extractfile(member)
            if stream is not None:
                yield from of_bytes(member.name, stream.read())


def of_json(content: bytes) -> Iterator[object]:
    """JSON, or JSON in each line, without its escapes."""
    text = content.decode("utf-8", "replace")
    for part in (text, *text.splitlines()):
        with contextlib.suppress(ValueError):
            yield json.dumps(json.loads(part), ensure_ascii=False)


def of_page(content: bytes) -> Iterator[object]:
    """A page without its escapes."""
    yield html.unescape(content.decode("utf-8", "replace"))


def of_table(table: pa.Table) -> Iterator[object]:
    """All values of a table: its texts, its bytes and its numbers."""
    for column in table.columns:
        kind = column.type
        if pa.types.is_integer(kind):
            yield {value for value in column.to_pylist() if value is not None}
        elif not pa.types.is_floating(kind) and not pa.types.is_fixed_size_list(kind):
            for value in column.to_pylist():
                yield value if isinstance(value, bytes) else str(value)


DECODERS = {
    ".arrow": lambda content: of_table(pa.ipc.open_file(io.BytesIO(content)).read_all()),
    ".parquet": lambda content: of_table(pq.ParquetFile(io.BytesIO(content)).read()),
    ".npy": of_array,
    ".tar": of_tar,
    ".json": of_json,
    ".jsonl": of_json,
    ".html": of_page,
}


if __name__ == "__main__":
    result = search(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
    sys.stdout.write(
        json.dumps({"files": len(result), "hits": sum(map(len, result.values())), "where": result}, indent=1)
    )
