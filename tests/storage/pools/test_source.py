import gzip
import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.errors import StorageError
from evenly.storage.pools import rows
from evenly.storage.pools.source import (
    POOL_COLUMNS,
    LabelFile,
    PoolSource,
    pool_pieces,
    read_captions,
    read_labels,
    read_pool,
    source_hash,
)
from evenly.storage.pools.texts import joined_pools

TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\x00"), max_size=30)


def read(**source) -> pa.Table:
    return pa.concat_tables(read_pool(PoolSource(**source)), promote_options="default")


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_every_row_of_a_parquet_pool_comes_out_with_its_place(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet",
        link=["http://a.test/1", None, "ftp://a.test/2", "", "https://a.test/x y"],
        text=["one", "two", "three", "four", None],
        uid=[1, 2, 3, 4, 5],
        similarity=[0.1, 0.2, 0.3, 0.4, 0.5],
    )
    table = read(kind="parquet", path=path, url="link", caption="text", id="uid")
    assert table.column_names == [*POOL_COLUMNS, "similarity"]
    assert table["reject"].to_pylist() == [None, "missing_url", "bad_url", "missing_url", "missing_caption"]
    assert table["source_id"].to_pylist() == ["1", "2", "3", "4", "5"]
    assert table["row"].to_pylist() == [0, 1, 2, 3, 4]
    assert set(table["source"].to_pylist()) == {"a.parquet"}
    content = (tmp_path / "a.parquet").read_bytes()
    assert set(table["file_hash"].to_pylist()) == {hashlib.sha256(content).hexdigest()}
    assert table["similarity"].type == pa.float64()


def test_a_large_parquet_file_is_read_in_pieces_of_its_row_groups(tmp_path, monkeypatch):
    table = pa.table({"url": [f"http://a.test/{number}" for number in range(57)], "caption": ["a"] * 57})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=5)
    pq.write_table(table.slice(0, 0), tmp_path / "b.parquet")
    source = PoolSource(kind="parquet", path=str(tmp_path / "*.parquet"))
    assert len(pool_pieces(source)) == 2
    monkeypatch.setattr(rows, "PIECE_ROWS", 12)
    pieces = pool_pieces(source)
    read_rows = [[table.num_rows for table in read_pool(source, piece)] for piece in pieces]
    assert [sum(counts) for counts in read_rows] == [15, 15, 15, 12, 0]
    assert pa.concat_tables(table for piece in pieces for table in read_pool(source, piece)).equals(
        pa.concat_tables(read_pool(source)).combine_chunks()
    )


def test_captions_alone_need_no_other_column_and_what_is_no_text_is_null(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", text=["one", None, "two"])
    write_parquet(tmp_path / "b.parquet", text=["three"])
    found = read_captions(PoolSource(kind="parquet", path=str(tmp_path / "*.parquet"), caption="text"))
    assert [caption for captions in found for caption in captions.to_pylist()] == ["one", None, "two", "three"]
    (tmp_path / "c.jsonl").write_text('{"text": "four"}\n{"text": 5}\nbroken\n')
    found = read_captions(PoolSource(kind="jsonl", path=str(tmp_path / "c.jsonl"), caption="text"))
    assert [caption for captions in found for caption in captions.to_pylist()] == ["four", None, None]
    with pytest.raises(StorageError, match="`caption` must name a column of the file; got `caption`"):
        read_captions(PoolSource(kind="parquet", path=path))


def test_a_table_of_captions_without_urls_gives_rows_whose_url_is_null(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"t": "a dog", "url": "x", "n": 7}\n{"t": ""}\n{"t": 5}\n{"url": "y"}\nbroken\n')
    source = PoolSource(kind="jsonl", path=str(tmp_path / "a.jsonl"), url=None, caption="t", id="n")
    (table,) = read_pool(source)
    assert table["url"].null_count == 5
    assert table["pool_url"].to_pylist() == ["x", None, None, "y", None]
    assert table["source_id"].to_pylist() == ["7", None, None, None, None]
    assert table["reject"].to_pylist() == [None, "missing_caption", "bad_caption", "missing_caption", "bad_row"]
    assert source_hash(source) != source_hash(replace(source, url="url"))


def test_columns_whose_names_are_taken_are_kept_under_another(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", url=["http://a.test/1"], alt=["x"], caption=["y"], row=[7], uid=["u"])
    table = read(kind="parquet", path=path, caption="alt")
    assert table["caption"].to_pylist() == ["x"]
    assert table["pool_caption"].to_pylist() == ["y"]
    assert table["pool_row"].to_pylist() == [7]
    assert table["pool_uid"].to_pylist() == ["u"]


def test_a_source_column_names_the_source_and_the_file_stands_in(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", url=["http://a.test/1"] * 2, caption=["x"] * 2, source=pa.array(["web", None])
    )
    assert read(kind="parquet", path=path, source="source")["source"].to_pylist() == ["web", "a.parquet"]


def test_files_of_a_pattern_are_read_by_path_and_rows_counted_per_file(tmp_path):
    for name in ("b", "a"):
        write_parquet(
            tmp_path / f"{name}.parquet", url=[f"http://{name}.test/{i}" for i in range(2)], caption=["x"] * 2
        )
    table = read(kind="parquet", path=str(tmp_path / "*.parquet"))
    assert table["url"].to_pylist() == ["http://a.test/0", "http://a.test/1", "http://b.test/0", "http://b.test/1"]
    assert table["row"].to_pylist() == [0, 1, 0, 1]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_text_of_any_arrow_type_is_text(tmp_path, kind):
    path = write_parquet(
        tmp_path / "a.parquet", url=["http://a.test/1"], caption=pa.array(["cat"]).cast(pa.string()).cast(kind)
    )
    table = read(kind="parquet", path=path)
    assert table["caption"].type == pa.string()
    assert table["caption"].to_pylist() == ["cat"]


def test_a_caption_that_is_no_text_is_a_bad_row_not_an_error(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", url=["http://a.test/1", "http://a.test/2"], caption=[3, None])
    table = read(kind="parquet", path=path)
    assert table["reject"].to_pylist() == ["bad_caption", "missing_caption"]
    assert table["caption"].to_pylist() == [None, None]


def test_bytes_that_are_no_utf8_are_a_bad_caption(tmp_path):
    broken = pa.array([b"caf\xe9", b"caf\xc3\xa9"]).view(pa.string())
    path = write_parquet(tmp_path / "a.parquet", url=["http://a.test/1"] * 2, caption=broken, note=broken)
    table = read(kind="parquet", path=path)
    assert table["reject"].to_pylist() == ["bad_caption", None]
    assert table["caption"].to_pylist() == [None, "café"]
    assert table["note"].to_pylist() == ["caf\ufffd", "café"]


def test_csv_rows_with_other_than_the_header_s_fields_are_bad_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfurl,caption,n\nhttp://a.test/1,"a, ""b""\nc",5\nshort\nhttp://a.test/2,caf\xe9,6\n\n'
    )
    table = read(kind="csv", path=str(path))
    assert table["reject"].to_pylist() == [None, "bad_row", "bad_caption"]
    assert table["caption"].to_pylist() == ['a, "b"\nc', None, None]
    assert table["n"].to_pylist() == ["5", None, "6"]


def test_a_quote_that_does_not_end_costs_its_own_row_and_no_other(tmp_path):
    lines = [f"http://a.test/{number},a picture of {number}" for number in range(3_000)]
    lines[500] = 'http://a.test/500,"Look, said the fox'
    (tmp_path / "a.csv").write_text("\n".join(["url,caption", *lines]) + "\n")
    table = read(kind="csv", path=str(tmp_path / "a.csv"))
    assert table.num_rows == 3_000
    assert [row for row, reject in enumerate(table["reject"].to_pylist()) if reject] == [500]
    assert table["caption"].to_pylist()[501:] == [f"a picture of {number}" for number in range(501, 3_000)]


def test_a_header_with_a_quote_that_does_not_end_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('url,"caption\n' + "http://a.test/1,x\n" * 10)
    with pytest.raises(StorageError, match=r"readable CSV file; got `a quote that does not end, .* in line 1`"):
        list(read_pool(PoolSource(kind="csv", path=str(tmp_path / "a.csv"))))


def test_jsonl_rows_keep_what_is_text_and_name_what_is_not(tmp_path):
    lines = [
        '{"url": "http://a.test/1", "caption": "one", "score": 0.5}',
        "no json",
        "[1]",
        "",
        '{"url": "http://a.test/2", "caption": 7, "tags": ["a"]}',
        '{"url": "http://a.test/3", "caption": "\\ud800"}',
        '{"caption": "no url"}',
    ]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    table = read(kind="jsonl", path=str(path))
    assert table["reject"].to_pylist() == [None, "bad_row", "bad_row", "bad_caption", "bad_caption", "missing_url"]
    assert table["score"].to_pylist()[0] == "0.5"
    assert table["tags"].to_pylist()[3] == '["a"]'


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20))
def test_the_three_kinds_read_the_same_rows(tmp_path, rows):
    urls, captions = [f"http://a.test/{url}" for url, _ in rows], [caption for _, caption in rows]
    write_parquet(tmp_path / "p.parquet", url=urls, caption=captions)
    with (tmp_path / "p.jsonl").open("w") as stream:
        stream.writelines(json.dumps({"url": u, "caption": c}) + "\n" for u, c in zip(urls, captions, strict=True))
    quoted = "".join(
        f'"{u.replace(chr(34), chr(34) * 2)}","{c.replace(chr(34), chr(34) * 2)}"\n'
        for u, c in zip(urls, captions, strict=True)
    )
    (tmp_path / "p.csv").write_bytes(("url,caption\n" + quoted).encode())
    tables = [read(kind=kind, path=str(tmp_path / f"p.{kind}")) for kind in ("parquet", "jsonl", "csv")]
    for table in tables:
        assert table["url"].to_pylist() == urls
        assert table["caption"].to_pylist() == captions
        assert table["reject"].null_count == len(rows)


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        (lambda _: None, {"kind": "parquet"}, r"`path` must match at least one file; got `.*pool`"),
        (lambda p: p.write_bytes(b"no parquet"), {"kind": "parquet"}, r"`path` must be a readable Parquet file; got"),
        (lambda p: p.write_bytes(b""), {"kind": "csv"}, r"`url` must name a column .* Columns there are: none\."),
        (lambda p: p.write_bytes(b"url,caption\n"), {"kind": "csv"}, r"`path` must hold at least one row"),
        (lambda p: p.write_bytes(b"url,url\n"), {"kind": "csv"}, r"different names; got `url` twice"),
        (lambda p: p.write_bytes(b"\n"), {"kind": "jsonl"}, r"`url` must name a column"),
        (lambda p: p.write_bytes(b"link,text\n"), {"kind": "csv", "url": "link"}, r"`caption` .* are: link, text\."),
        (lambda p: p.write_bytes(b"url,caption\n"), {"kind": "csv", "id": "n"}, r"`id` must name a column"),
        (lambda p: p.write_bytes(b"x"), {"kind": "wat"}, r"`path` must be a whole WAT file; got b'x' where"),
        (lambda p: p.write_bytes(b""), {"kind": "wat"}, r"`path` must hold at least one row"),
        (
            lambda p: p.write_bytes(b"x"),
            {"kind": "tar"},
            r"`kind` must be one of csv, features, folder, jsonl, parquet, wat, webdataset; got `tar`",
        ),
        (lambda p: p.write_bytes(b"\x1f\x8b bad"), {"kind": "csv", "url": "link"}, r"`url` must name a column"),
    ],
)
def test_a_pool_that_cannot_be_read_says_so_in_a_line_for_each_field(tmp_path, make, source, message):
    make(tmp_path / "pool")
    with pytest.raises(StorageError, match=message) as caught:
        list(read_pool(PoolSource(path=str(tmp_path / "pool"), **source)))
    fields = [line.split("`")[1] for line in str(caught.value).splitlines()]  # a line for each
    assert len(set(fields)) == len(fields)


def test_a_parquet_pool_without_rows_is_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", url=pa.array([], pa.string()), caption=pa.array([], pa.string()))
    with pytest.raises(StorageError, match="at least one row"):
        list(read_pool(PoolSource(kind="parquet", path=path)))


def test_a_torn_gzip_file_is_an_error_of_one_line(tmp_path):
    whole = gzip.compress(b"url,caption\n" + b"".join(b"http://a.test/%d,x%d\n" % (i, i * 7) for i in range(5000)))
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="readable CSV file"):
        list(read_pool(PoolSource(kind="csv", path=str(tmp_path / "a.csv.gz"))))


def test_the_source_hash_follows_content_and_name_but_not_the_folder(tmp_path):
    hashes = []
    for folder, text in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / folder).mkdir()
        path = write_parquet(tmp_path / folder / "a.parquet", url=["http://a.test/1"], caption=[text])
        hashes.append(source_hash(PoolSource(kind="parquet", path=path)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_source_hash_follows_the_columns_that_are_read(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", url=["http://a.test/1"], caption=["x"], alt=["y"])
    options = ({}, {"caption": "alt"}, {"id": "alt"}, {"source": "alt"}, {"name": "alt"}, {"url": "alt"})
    pools = [PoolSource(kind="parquet", path=path, **one) for one in options]
    labels = [LabelFile(file=path, key="url", **one) for one in ({}, {"column": "alt"}, {"group": "alt"})]
    assert len({source_hash(one) for one in (*pools, *labels)}) == len(pools) + len(labels)


def test_labels_come_once_per_key(tmp_path):
    (tmp_path / "l.csv").write_text("url,label,group\nu1,cat,g1\nu2,dog,g2\nu1,cat,g1\n")
    table = read_labels(LabelFile(file=str(tmp_path / "l.csv")))
    assert table.to_pylist() == [
        {"key": "u1", "label": "cat", "group": "g1"},
        {"key": "u2", "label": "dog", "group": "g2"},
    ]


@pytest.mark.parametrize("broken", ['u2,"dog,g2', "u2,dog"])
def test_a_broken_row_of_labels_is_refused_with_its_line(tmp_path, broken):
    (tmp_path / "l.csv").write_text(f"url,label,group\nu1,cat,g1\n{broken}\nu3,cat,g3\n")
    with pytest.raises(StorageError, match=r"got a broken row at `.*l\.csv`, line 3"):
        read_labels(LabelFile(file=str(tmp_path / "l.csv")))


def test_labels_may_be_numbers_and_nothing_else_but_text(tmp_path):
    path = write_parquet(tmp_path / "l.parquet", url=["u1", "u2"], label=[3, None], group=[[1], [2]])
    assert read_labels(LabelFile(file=path, group=None))["label"].to_pylist() == ["3", None]
    with pytest.raises(
        StorageError, match=r"`labels.group` must name a column of text or numbers; got `group` of type"
    ):
        read_labels(LabelFile(file=path))


def test_labels_without_a_group_have_none(tmp_path):
    (tmp_path / "l.jsonl").write_text('{"url": "u1", "label": "cat"}\n')
    table = read_labels(LabelFile(file=str(tmp_path / "l.jsonl"), group=None))
    assert table.to_pylist() == [{"key": "u1", "label": "cat", "group": None}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url,label,group\nu1,cat,g\nu1,dog,g\n", "several for `u1`"),
        ("url,label\nu1,cat\n", "`labels.group` must name"),
    ],
)
def test_labels_that_contradict_or_lack_a_column_are_refused(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(StorageError, match=message):
        read_labels(LabelFile(file=str(tmp_path / "l.csv")))


def test_a_column_that_is_text_in_one_pool_and_something_else_in_another_becomes_text():
    tables = [
        pa.table({"url": ["a"], "width": ["640"], "score": pa.array([1], pa.int32()), "tags": ["x"]}),
        pa.table({"url": ["b"], "width": [320], "score": [0.5], "tags": [["y"]]}),
        pa.table({"url": ["c"], "score": pa.array([None])}),
    ]
    assert joined_pools(tables).to_pydict() == {
        "url": ["a", "b", "c"], "width": ["640", "320", None], "score": [1.0, 0.5, None], "tags": ["x", '["y"]', None],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        (pa.array([1]), pa.array([True]), "bool and int64"),
        (pa.array([1], pa.date32()), pa.array([1]), r"date32\[day\] and int64"),
        (pa.array([[1]]), pa.array([["x"]]), "list<item: int64> and list<item: string>"),
        (pa.array([2**63], pa.uint64()), pa.array([-1]), r"int64 and uint64 \(Integer value 9223372036854775808"),
    ],
    ids=["bool", "date", "list", "range"],
)
def test_a_column_of_types_without_one_in_common_is_refused_by_its_name(one, other, named):
    with pytest.raises(StorageError, match=f"column `when` must hold what fits one type in all sources; got {named}"):
        joined_pools([pa.table({"url": ["a"], "when": one}), pa.table({"url": ["b"], "when": other})])


def test_a_compressed_file_with_changed_bytes_says_so(tmp_path):
    content = bytearray(gzip.compress(b"url,caption\n" + bytes(range(32, 127)) * 200))
    content[30:50] = b"\xff" * 20
    (tmp_path / "a.csv.gz").write_bytes(bytes(content))
    with pytest.raises(StorageError, match="`path` must be a readable CSV file"):
        list(read_pool(PoolSource(kind="csv", path=str(tmp_path / "a.csv.gz"))))
