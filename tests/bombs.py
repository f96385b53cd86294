"""Files that are small and stand for much, of each kind of source, and what reading them takes and says.

`python -m tests.bombs` prints a table: a process for each kind, under a limit of its address space.
"""

import gc
import gzip
import io
import json
import re
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import StorageError
from evenly.storage.pools.source import PoolSource, read_pool

Make = Callable[[Path], Path]
_MB = 1 << 20


def _packed(path: Path, parts: Iterator[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for part in parts:
            stream.write(part)
    return path


def _lines(name: str, head: bytes, part: bytes, times: int, end: bytes = b"\n") -> Make:
    def make(folder: Path) -> Path:
        return _packed(folder / name, iter([head, *[part] * times, end]))

    return make


def _json(row: bytes, times: int) -> Make:
    return _lines("pool.jsonl.gz", b'{"url":"http://a.test/","caption":"a"}\n', row, times)


def _new_keys(folder: Path) -> Path:
    rows = (
        json.dumps({"url": "http://a.test/", "caption": "a", f"key {number}": number}) + "\n" for number in range(4000)
    )
    return _packed(folder / "pool.jsonl.gz", (row.encode() for row in rows))


def _many_keys(folder: Path) -> Path:
    row = {"url": "http://a.test/", "caption": "a"} | {str(number): 0 for number in range(300_000)}
    return _packed(folder / "pool.jsonl.gz", iter([(json.dumps(row) + "\n").encode()] * 20))


def _table(folder: Path, columns: dict[str, pa.Array], **options: object) -> Path:
    options = {"compression": "zstd", **options}
    pq.write_table(pa.table(columns), folder / "pool.parquet", **options)
    return folder / "pool.parquet"


def _urls(n: int) -> pa.Array:
    return pa.array([f"http://a.test/{number}" for number in range(n)])


def _dictionary(folder: Path, key: str = "url") -> Path:
    captions = pa.DictionaryArray.from_arrays(np.zeros(65_536, np.int32), [" ".join(["word"] * 8_000)])
    return _table(folder, {key: _urls(65_536), "caption": captions})


def _mixed_dictionary(folder: Path, key: str = "url") -> Path:
    texts = [f"a picture of {number}" for number in range(5_000)] + ["word " * 100_000]
    places = np.concatenate([np.arange(5_000), np.full(60_000, 5_000)]).astype(np.int32)
    captions = pa.DictionaryArray.from_arrays(places, texts)
    return _table(folder, {key: _urls(65_000), "caption": captions}, store_schema=False)


def _repeated_text(folder: Path) -> Path:
    captions = pa.array(["word " * 2_000] * 65_536)
    return _table(folder, {"url": _urls(65_536), "caption": captions}, use_dictionary=False, compression="zstd")


def _prefixes(folder: Path) -> Path:
    captions = pa.array(["word " * 4_000] * 30_000)
    encoding = {"caption": "DELTA_BYTE_ARRAY", "url": "PLAIN"}
    return _table(folder, {"url": _urls(30_000), "caption": captions}, use_dictionary=False, column_encoding=encoding)


def _long_lists(folder: Path) -> Path:
    lists = pa.ListArray.from_arrays([0, 100_000_000, 100_000_000], np.zeros(100_000_000, np.int8))
    return _table(folder, {"url": _urls(2), "caption": ["a", "b"], "more": lists})


def _huge_page(folder: Path, key: str = "url") -> Path:
    return _table(folder, {key: _urls(1), "caption": [" " * 400_000_000]}, use_dictionary=False)


def _wide(folder: Path) -> Path:
    return _table(folder, {"url": _urls(1), "caption": ["a"], **{f"column {number}": [0] for number in range(1_500)}})


def _tar(folder: Path, members: Iterator[tuple[str, bytes, dict[str, str]]]) -> Path:
    with tarfile.open(folder / "pool.tar", "w", format=tarfile.PAX_FORMAT) as stream:
        for name, content, pax in members:
            header = tarfile.TarInfo(name)
            header.size, header.pax_headers = len(content), pax
            stream.addfile(header, io.BytesIO(content))
    return folder / "pool.tar"


def _deep_json(folder: Path) -> Path:
    content = b'{"caption":"a","more":[' + b",".join([b'{"":0}'] * 140_000) + b"]}"
    return _tar(folder, ((f"{number}.json", content, {}) for number in range(60)))


def _tar_keys(folder: Path) -> Path:
    keys = ({"caption": "a"} | {f"{number} {key}": 0 for key in range(900)} for number in range(400))
    return _tar(folder, ((f"{number}.json", json.dumps(row).encode(), {}) for number, row in enumerate(keys)))


def _tar_texts(folder: Path) -> Path:
    return _tar(folder, ((f"{number}.txt", b"x" * 999_999, {}) for number in range(400)))


def _pax_records(folder: Path) -> Path:
    def block(number: int) -> bytes:
        records = b"".join(
            b"%d %d=\n" % (len(str(key)) + 5, key) for key in range(number * 6_000, number * 6_000 + 6_000)
        )
        info = tarfile.TarInfo("pax")
        info.type, info.size = tarfile.XHDTYPE, len(records)
        return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)

    with (folder / "pool.tar").open("wb") as stream:
        for number in range(1_000):
            stream.write(block(number))
        stream.write(bytes(1024))
    return folder / "pool.tar"


def _sparse_tar(folder: Path) -> Path:
    with (folder / "pool.tar").open("wb") as stream:
        info = tarfile.TarInfo("a.txt")
        info.size = 4_000 * _MB
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(info.size + 2048)
    return folder / "pool.tar"


def _wat(*records: bytes, times: int = 1) -> Make:
    def make(folder: Path) -> Path:
        def parts() -> Iterator[bytes]:
            for _ in range(times):
                for content in records:
                    yield b"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n" % len(content)
                    yield content + b"\r\n\r\n"

        return _packed(folder / "pool.wat.gz", parts())

    return make


def _page(links: bytes, address: str = "http://a.test/", base: str = "") -> bytes:
    head = json.dumps({"Base": base}).encode()
    html = b'{"HTML-Metadata":{"Head":%b,"Links":[%b]}}' % (head, links)
    warc = json.dumps({"WARC-Target-URI": address}).encode()
    return b'{"Envelope":{"WARC-Header-Metadata":%b,"Payload-Metadata":{"HTTP-Response-Metadata":%b}}}' % (warc, html)


def _links(n: int, url: str, alt: str) -> bytes:
    return b",".join([json.dumps({"path": "IMG@/src", "url": url, "alt": alt}).encode()] * n)


def _vectors(n: int, length: int, kind: str = "<f4", claimed: tuple[int, int] | None = None) -> Make:
    def make(folder: Path) -> Path:
        _table(folder, {"caption": [f"caption {number}" for number in range(n)]})
        packing = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
        with (
            zipfile.ZipFile(folder / "pool.npz", "w", **packing) as archive,
            archive.open("vector.npy", "w", force_zip64=True) as stream,
        ):
            shape = claimed or (n, length)
            np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
            for _ in range(n):
                stream.write(bytes(length * np.dtype(kind).itemsize))
        return folder / "pool.parquet"

    return make


def _column_of_vectors(folder: Path) -> Path:
    vectors = pa.FixedSizeListArray.from_arrays(np.zeros(60_000_000, np.float32), 60_000)
    return _table(folder, {"caption": [f"caption {number}" for number in range(1_000)], "vector": vectors})


def _tensors(header: int, rows: int) -> Make:
    def make(folder: Path) -> Path:
        _table(folder, {"caption": [f"caption {number}" for number in range(8)]})
        names = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(header)}
        names["vector"] = {"dtype": "F32", "shape": [rows, 60_000], "data_offsets": [0, rows * 240_000]}
        head = json.dumps(names).encode()
        with (folder / "pool.safetensors").open("wb") as stream:
            stream.write(struct.pack("<Q", len(head)) + head)
            stream.truncate(8 + len(head) + rows * 240_000)
        return folder / "pool.parquet"

    return make


def _in_folder(make: Callable[[Path, str], Path]) -> Make:
    def made(folder: Path) -> Path:
        (folder / "pool").mkdir()
        path = make(folder / "pool", "file_name")
        path.rename(path.with_stem("metadata"))
        return folder / "pool"

    return made


def _plain_list(row: bytes, times: int) -> Make:
    def make(folder: Path) -> Path:
        (folder / "pool").mkdir()
        with (folder / "pool" / "metadata.jsonl").open("wb") as stream:
            for _ in range(times):
                stream.write(row)
        return folder / "pool"

    return make


_CSV = b"url,caption\nhttp://a.test/,a\n"
_LONG = b"x" * _MB
_DENSE = b'{"url":"http://a.test/","caption":"a","more":[' + b'{"":0},' * 500_000 + b"0]}\n"
_LISTED = b'{"file_name":"a.png","caption":"a","more":[' + b'{"":0},' * 500_000 + b"0]}\n"

BOMBS: dict[str, dict[str, Make]] = {
    "csv": {
        "one line": _lines("pool.csv.gz", _CSV, _LONG, 1_000),
        "many empty lines": _lines("pool.csv.gz", _CSV, b"\n" * _MB, 400),
        "many small rows": _lines("pool.csv.gz", _CSV, b"http://a.test/,a\n" * 50_000, 300),
        "an open quote": _lines("pool.csv.gz", _CSV, b'"' + b"x" * 100_000 + b"\n", 3_000),
        "many columns": _lines("pool.csv.gz", b"url,caption" + b"," * 3_000_000 + b"\n", b"," * _MB, 100),
        "wide rows": _lines(
            "pool.csv.gz",
            b"url,caption" + b"".join(b",c%d" % n for n in range(900)) + b"\n",
            b"," * 901 + b"\n",
            300_000,
        ),
    },
    "jsonl": {
        "one line": _json(_LONG, 1_000),
        "dense rows": _json(_DENSE, 30),
        "new keys in each row": _new_keys,
        "rows of many keys": _many_keys,
        "many small rows": _json(b"{}\n" * 100_000, 600),
        "many blank lines": _json(b"\n" * _MB, 400),
        "long captions": _json(b'{"url":"http://a.test/","caption":"' + b"x" * 900_000 + b'"}\n', 400),
    },
    "parquet": {
        "a caption in a dictionary": _dictionary,
        "one long among many": _mixed_dictionary,
        "a repeated caption": _repeated_text,
        "captions as prefixes": _prefixes,
        "a list of 100 million": _long_lists,
        "a huge page": _huge_page,
        "many columns": _wide,
    },
    "webdataset": {
        "dense JSON": _deep_json,
        "new keys in each": _tar_keys,
        "long captions": _tar_texts,
        "pax records": _pax_records,
        "a sparse file": _sparse_tar,
    },
    "wat": {
        "one record": _wat(b" " * 400_000_000),
        "dense records": _wat(_page(b'{"":0},' * 500_000 + b"0"), times=20),
        "a long base": _wat(_page(_links(40_000, "a.png", "b"), base="http://a.test/" + "a" * 60_000)),
        "a longer base": _wat(_page(_links(40_000, "a.png", "b"), base="http://a.test/" + "a" * 900_000)),
        "long texts": _wat(_page(_links(3, "a.png", "b" * 900_000)), times=100),
        "a header without end": lambda folder: _packed(
            folder / "pool.wat.gz", iter([b"WARC/1.0\r\n", b"a: b\r\n" * 80_000_000])
        ),
    },
    "folder": {
        "a caption in a dictionary": _in_folder(_dictionary),
        "one long among many": _in_folder(_mixed_dictionary),
        "a huge page": _in_folder(_huge_page),
        "dense rows": _plain_list(_LISTED, 20),
        "one line": _plain_list(_LONG, 400),
    },
    "features": {
        "zeros in a zip": _vectors(2_000, 60_000),
        "zeros in doubles": _vectors(1_000, 60_000, "<f8"),
        "a header that lies": _vectors(8, 60_000, claimed=(8, 60_000_000)),
        "a column of zeros": _column_of_vectors,
        "a header of many tensors": _tensors(400_000, 8),
        "a sparse file": _tensors(0, 8),
        "more rows than captions": _tensors(0, 20_000),
    },
}
"""By the kind of source, what each is called, and what writes it into a folder."""


def main() -> None:
    """Print the rows of all kinds, or a JSON list in each line for the kind that is named, or its bombs after it."""
    if len(sys.argv) > 1:
        kind, *names = sys.argv[1:]
        for name in names or BOMBS[kind]:
            sys.stdout.write(json.dumps(measured(kind, name)) + "\n")
            sys.stdout.flush()
        return
    sys.stdout.write(
        "| kind | bomb | bytes | MB above idle | processor s | what comes of it |\n|---|---|---|---|---|---|\n"
    )
    for kind in BOMBS:
        for name, size, peak, seconds, outcome in rows_of(kind):
            sys.stdout.write(f"| {kind} | {name} | {size:,} | {peak} | {seconds:.1f} | {outcome} |\n")


def rows_of(kind: str, *names: str) -> Iterator[tuple[str, int, int, float, str]]:
    """(bomb, its bytes, MB above idle at most, processor seconds, what reading it says) of a kind of source."""
    command = [sys.executable, "-m", "tests.bombs", kind, *names]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        yield from (tuple(json.loads(line)) for line in process.stdout)


def measured(kind: str, name: str) -> tuple[str, int, int, float, str]:
    """Make a bomb in a folder of its own and read it."""
    with TemporaryDirectory() as folder:
        path = BOMBS[kind][name](Path(folder))
        size = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*") if file.is_file())
        gc.collect()
        pa.default_memory_pool().release_unused()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest use so far is forgotten
        idle, started = _status("VmRSS"), time.process_time()
        space = _status("VmSize") * 1024 + 3_000 * _MB
        resource.setrlimit(resource.RLIMIT_AS, (space, resource.RLIM_INFINITY))
        try:
            outcome = read(kind, path)
        except (StorageError, MemoryError) as error:
            outcome = f"{type(error).__name__}: {error}".replace(str(path), path.name)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return name, size, (_status("VmHWM") - idle) // 1024, time.process_time() - started, outcome


def read(kind: str, path: Path) -> str:
    """The rows of a pool, counted by why they make no pair."""
    counts: Counter[str] = Counter()
    for table in read_pool(PoolSource(kind=kind, path=str(path))):
        counts.update(reason or "pairs" for reason in table["reject"].to_pylist())
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[1])


if __name__ == "__main__":
    main()
