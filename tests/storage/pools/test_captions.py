"""Only what is asked for is read, every row comes out, and what cannot be matched says why."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.pools.captions import CaptionColumns, check_columns, count_rows, pool_files, read_caption_rows
from evenly.storage.pools.rows import PoolError


def read(file, **columns):
    rows = list(read_caption_rows(file, CaptionColumns(caption="text", **columns)))
    return [value for part in rows for value in zip(part.caption.to_pylist(), part.reject.to_pylist(), strict=True)]


def test_rows_of_every_kind_are_the_same(tmp_path):
    wanted = [("a dog", ""), ("", ""), ("a, cat", "")]
    pq.write_table(
        pa.table({"text": [text for text, _ in wanted], "picture": [b"1", b"2", b"3"]}), tmp_path / "a.parquet"
    )
    (tmp_path / "a.csv").write_text('text\na dog\n""\n"a, cat"\n')
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.write('{"text": "a dog"}\n{"text": ""}\n{"text": "a, cat"}\n')
    assert {tuple(read(tmp_path / name)) for name in ("a.parquet", "a.csv", "a.jsonl.gz")} == {tuple(wanted)}
    assert [file.name for file in pool_files(str(tmp_path))] == ["a.csv", "a.jsonl.gz", "a.parquet"]
    assert count_rows([tmp_path / "a.parquet"]) == 3
    assert count_rows([tmp_path / "a.parquet", tmp_path / "a.csv"]) is None


@pytest.mark.parametrize(
    ("line", "columns", "reject"),
    [
        ('{"text": null, "id": "x"}', {"uid": "id"}, "missing_caption"),
        ('{"text": 3, "id": "x"}', {"uid": "id"}, "bad_caption"),
        ('{"text": "a", "id": ""}', {"uid": "id"}, "missing_uid"),
        ("no json", {"uid": "id"}, "bad_row"),
        ('{"text": "a", "url": "ftp://x.org/"}', {"url": "url"}, "bad_url"),
        ('{"text": "a", "url": null}', {"url": "url"}, "missing_url"),
        ('{"text": "a", "url": "https://x.org/"}', {"url": "url"}, ""),
    ],
)
def test_a_row_that_cannot_be_matched_says_why(tmp_path, line, columns, reject):
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"text": "first", "id": 1, "url": "http://x.org/1"}}\n{line}\n')
    assert read(file, **columns)[1][1] == reject


def test_numbers_name_rows_and_lists_do_not(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "id": [7], "list": [[1]]}), tmp_path / "a.parquet")
    (rows,) = read_caption_rows(tmp_path / "a.parquet", CaptionColumns(caption="text", uid="id"))
    assert rows.uid.to_pylist() == ["7"]
    with pytest.raises(PoolError, match="`uid` must name a column of text or numbers; got `list`"):
        list(read_caption_rows(tmp_path / "a.parquet", CaptionColumns(caption="text", uid="list")))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(PoolError, match="`pool` must match at least one file"):
        pool_files(str(tmp_path))
    (tmp_path / "a.csv").write_text("caption\nx\n")
    with pytest.raises(PoolError, match=r"`caption` must name a column of the file; got `text`.*there are: caption"):
        check_columns(pool_files(str(tmp_path / "*.csv")), CaptionColumns(caption="text"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(PoolError, match=r"must be files that end in one of .*notes.txt"):
        pool_files(str(tmp_path))
    with pytest.raises(PoolError, match="a row must have one name; got `uid` and `url`"):
        CaptionColumns(caption="text", uid="a", url="b")
