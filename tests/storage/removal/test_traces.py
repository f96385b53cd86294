"""What counts as a trace of a pair, in texts, tables and files of every kind, and what does not."""

import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
from collections import Counter
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.removal.decoded import UNREADABLE, traces_in
from evenly.storage.removal.forget import add_forgotten, read_forgotten
from evenly.storage.removal.traces import ListedTraces, Traces
from evenly.storage.tables.arrow_files import write_table
from evenly.storage.tables.lance_commits import commit_rows
from evenly.storage.web.shards import url_key

UID, OTHER = "ab" * 16, "ba" * 16
URL = "https://a.test/1.jpg"
BYTES = b"the bytes of a picture"
PICTURE = hashlib.sha256(BYTES).hexdigest()
TRACES = Traces(
    uids=frozenset([UID]),
    urls=frozenset([URL]),
    pictures=frozenset([PICTURE]),
    looks=frozenset(["00000000000000ff"]),
    captions=frozenset(["a dog", "naïve “dog”"]),
    domains=frozenset(["bad.test"]),
)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (UID, ["uid"]),
        (f"why {UID}, please", ["uid"]),
        (f"{PICTURE}:crop 3", ["picture"]),
        (f"see {URL}.", ["url"]),
        (f"[it]({URL})", ["url"]),
        (url_key(URL), ["url"]),
        ("http://img.bad.test:80/x", ["url"]),
        ("a dog", ["caption"]),
        ("Caption: a dog\nSay more.", ["caption"]),
        ('the caption "a dog" is short', ["caption"]),
        (f"{UID}0", []),
        (f"{URL}x", []),
        (f"{URL}?size=2", []),
        ("a dog in the snow", []),
        ("http://notbad.test/", []),
    ],
)
def test_a_value_counts_where_it_stands_whole(text, kinds):
    assert TRACES.in_text(text) == Counter(kinds)


def test_cells_count_at_any_depth_and_name_their_rows():
    table = pa.table(
        {
            "uid": pa.array([UID, OTHER, None, OTHER, OTHER]).dictionary_encode(),
            "nested": [[{"texts": ["a dog"]}], [], None, [{"texts": ["a dog in the snow", URL]}], []],
            "raw": pa.array([b"", None, bytes.fromhex(UID), b"x", b"y"]),
            "phash": pa.array([1, 2, 3, 4, 255], pa.uint64()),
            "map": pa.array([[], [], [], [], [("k", "a dog")]], pa.map_(pa.string(), pa.string())),
        }
    )
    counts, rows = TRACES.in_table(table)
    assert counts == {"uid": 2, "caption": 2, "url": 1, "perceptual hash": 1}
    assert rows.tolist() == [True, False, True, True, True]


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in ((f"{OTHER}.jpg", BYTES), (f"{OTHER}.txt", b"a dog"), (f"{UID}.json", b'{"url": "x"}')):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def _uids(*uids: str) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids], "u8,u8"))
    return stream.getvalue()


def _database(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (parameters TEXT, other BLOB)")
        database.execute("INSERT INTO runs VALUES (?, ?)", (json.dumps({"sample": URL}), bytes.fromhex(UID)))
        database.commit()


def _parquet(path):
    pq.write_table(pa.table({"url": [URL, "x"]}), path, compression="zstd")


FILES = {
    "t.arrow": (lambda path: write_table(path, pa.table({"uid": [UID, OTHER]})), {"uid"}),
    "t.parquet": (_parquet, {"url"}),
    "t.tar": (lambda path: path.write_bytes(_tar()), {"picture", "caption", "uid"}),
    "t.json": (lambda path: path.write_text(json.dumps({"a": [{"naïve “dog”": URL}]})), {"caption", "url"}),
    "t.jsonl": (lambda path: path.write_text('{"a": "a dog"}\n{"a": "no"}'), {"caption"}),
    "t.json.gz": (lambda path: path.write_bytes(gzip.compress(b'["a dog"]')), {"caption"}),
    "t.html": (lambda path: path.write_text("<p title='x'>na&iuml;ve &ldquo;dog&rdquo;</p>"), {"caption"}),
    "t.npy": (lambda path: path.write_bytes(_uids(OTHER, UID)), {"uid"}),
    "t.db": (_database, {"url", "uid"}),
    "t.png": (lambda path: path.write_bytes(BYTES), {"picture"}),
    "t.bin": (lambda path: path.write_bytes(b"\0" + bytes.fromhex(UID)), {"uid"}),
    "t.safetensors": (lambda path: path.write_bytes(b"\0nothing"), set()),
    "broken.parquet": (lambda path: path.write_bytes(b"PAR1 no more"), {UNREADABLE}),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_decoded_before_they_are_searched(tmp_path, name):
    write, expected = FILES[name]
    write(tmp_path / name)
    assert set(traces_in(tmp_path / name, TRACES)) == expected
    assert set(traces_in(tmp_path / name, Traces(uids=frozenset(["cd" * 16])))) == expected & {UNREADABLE}


def test_every_data_file_of_lance_is_searched_those_of_older_versions_and_indexes_too(tmp_path):
    path = tmp_path / "rows.lance"
    commit_rows(path, pa.table({"id": [UID, OTHER]}), mode="append", index="id")
    commit_rows(path, pa.table({"id": [OTHER]}), mode="overwrite")
    holding = [file for file in path.rglob("*") if file.is_file() and traces_in(file, TRACES)]
    assert {file.relative_to(path).parts[0] for file in holding} >= {"data", "_indices"}


def test_the_list_alone_finds_what_was_put_on_it(workspace):
    add_forgotten(workspace, [("uid", UID), ("url", URL), ("image_id", PICTURE), ("domain", "bad.test")])
    listed = ListedTraces(forget=read_forgotten(workspace))
    table = pa.table(
        {"text": [UID, URL, f"{PICTURE} 0", "https://x.bad.test/", OTHER], "raw": [bytes.fromhex(UID)] * 5}
    )
    counts, rows = listed.in_table(table)
    assert counts == {"uid": 6, "url": 2, "picture": 1}
    assert rows.all()
    assert listed.in_table(pa.table({"text": [OTHER, "a dog", "https://good.test/"]}))[0] == {}
