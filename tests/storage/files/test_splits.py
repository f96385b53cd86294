import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.errors import InputError, StorageError
from evenly.storage.files.splits import read_split

COOP = {
    "train": [["b/1.jpg", 1, "dog"], ["./a/1.jpg", 0, "cat"], ["a/1.jpg", 0, "cat"]],
    "val": [["a//2.jpg", 0, "cat"]],
    "test": [["c/../b/2.jpg", 1, "dog"], ["ü.jpg", 7, 'Ümlaut, "quoted"']],
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "split.json"


def saved(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_split_of_the_coop_protocol_has_keys_parts_labels_and_classes(path):
    split = read_split(saved(path, COOP))
    assert split.rows.to_pydict() == {
        "key": ["b/1.jpg", "a/1.jpg", "a/2.jpg", "b/2.jpg", "ü.jpg"],
        "part": ["train", "train", "val", "test", "test"],
        "label": ["dog", "cat", "cat", "dog", 'Ümlaut, "quoted"'],
        "group": [None] * 5,
    }
    assert split.rows.schema.types == [pa.string()] * 4
    assert split.classes == {0: "cat", 1: "dog", 7: 'Ümlaut, "quoted"'}
    assert list(split.classes) == [0, 1, 7]
    assert split.repeated == 1


def test_parts_may_be_missing(path):
    assert read_split(saved(path, {"test": COOP["test"]})).rows["part"].to_pylist() == ["test", "test"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "`split` must be JSON; got `"),
        ("", "`split` must be JSON; got `"),
        ("[" * 100_000, "`split` must be JSON; got `"),
        ("[]", "must be an object of train, val, test; got list"),
        ({"train": [], "valid": []}, "must be an object of train, val, test; got `train`, `valid`"),
        ('{"train": [], "train": []}', "names in an object must differ; got `train` in lines 1 and 1"),
        ({"train": []}, "must have at least one row; got none"),
        ({"train": {"a": 1}}, "`train` must be a list; got dict"),
        ({"train": [["a.jpg", 0, "cat"], ["b.jpg", 0]]}, r"got \['b.jpg', 0\] at `.*`, train\[1\]"),
        ({"val": [["a.jpg", "0", "cat"]]}, r"\[path, class position, class name\]; got .* at `.*`, val\[0\]"),
        ({"val": [["a.jpg", 0.5, "cat"]]}, r"\[path, class position, class name\]; got "),
        ({"val": [["a.jpg", True, "cat"]]}, r"\[path, class position, class name\]; got "),
        ({"val": [["a.jpg", -1, "cat"]]}, r"\[path, class position, class name\]; got "),
        ({"val": [["a.jpg", 0, None]]}, r"\[path, class position, class name\]; got "),
        ({"val": [["", 0, "cat"]]}, r"\[path, class position, class name\]; got "),
        ({"val": [["\ud800.jpg", 0, "cat"]]}, r"\[path, class position, class name\]; got "),
        ({"val": ["a.jpg"]}, r"\[path, class position, class name\]; got 'a.jpg'"),
        ({"val": [["x" * 999] * 99]}, r"got \['x{75}\.\.\. at"),
        ({"val": [["../a.jpg", 0, "cat"]]}, r"paths must stay in the folder of pictures; got `\.\./a.jpg`"),
        ({"val": [["/etc/passwd", 0, "cat"]]}, r"paths must stay in the folder of pictures; got `/etc/passwd`"),
        ({"val": [["a/..", 0, "cat"]]}, r"paths must stay in the folder of pictures; got `a/\.\.`"),
        (
            {"train": [["a.jpg", 0, "cat"]], "test": [["b/../a.jpg", 0, "cat"]]},
            r"`a.jpg` must be in one part, with one label.*; got \(train, cat\) and \(test, cat\) at .*, test\[0\]",
        ),
        (
            {"train": [["a.jpg", 0, "cat"], ["a.jpg", 1, "dog"]]},
            r"`a.jpg` must be in one part.*; got \(train, cat\) and \(train, dog\) at `.*`, train\[1\]",
        ),
        (
            {"train": [["a.jpg", 0, "cat"]], "test": [["b.jpg", 0, "dog"]]},
            r"class position 0 must have one name; got `dog` and `cat` at `.*`, test\[0\]",
        ),
        (
            {"train": [["a.jpg", 0, "cat"]], "test": [["b.jpg", 5, "cat"]]},
            "`cat` must be one class; got positions 0 and 5",
        ),
    ],
)
def test_a_json_that_breaks_the_rules_is_named_with_its_place(path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_split(saved(path, content))
    assert str(path) in str(caught.value)


def test_a_json_that_is_too_large_is_not_read(path):
    with pytest.raises(InputError, match="at most 100 bytes of JSON; got "):
        read_split(saved(path, COOP), limit_bytes=100)


TABLE = "key,part,label,group\nk1,train,cat,p1\nk2,train,,p1\nk1,train,cat,p1\n3,test,dog,\n4,test,dog,\n"
ROWS = {
    "key": ["k1", "k2", "3", "4"],
    "part": ["train", "train", "test", "test"],
    "label": ["cat", None, "dog", "dog"],
    "group": ["p1", "p1", None, None],
}


def test_a_csv_has_the_columns_of_its_header(tmp_path):
    split = read_split(saved(tmp_path / "split.csv", TABLE))
    assert split.rows.to_pydict() == ROWS
    assert (dict(split.classes), split.repeated) == ({}, 1)
    (tmp_path / "split.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    assert read_split(tmp_path / "split.csv.gz").rows.to_pydict() == ROWS


def test_a_parquet_may_hold_whole_numbers_and_dictionaries_and_other_columns(tmp_path):
    part = pa.array(["train", "test"]).dictionary_encode()
    pq.write_table(pa.table({"key": [1, 2], "part": part, "label": [7, None], "x": [0.5, 1.5]}), tmp_path / "s.parquet")
    split = read_split(tmp_path / "s.parquet")
    assert split.rows.to_pydict() == {
        "key": ["1", "2"], "part": ["train", "test"], "label": ["7", None], "group": [None, None],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key\na\n", "`part` must name a column of the file; got `part` at .* Columns there are: key"),
        ("name,part\na,test\n", "`key` must name a column of the file; got `key` at .* Columns there are: name, part"),
        ("", "`key` must name a column of the file; got `key` at .* Columns there are: none"),
        ("key,part\n", "must have at least one row; got none"),
        ("key,part\na,train\nb,training\n", "got key 'b' in part 'training' at `.*`, row 2"),
        ("key,part\n,train\n", "got key '' in part 'train' at `.*`, row 1"),
        ("key,part\na,train\na,train,cat\n", r"got a broken row at `.*`, row 2 \(line 3\)"),
        ("key,part\na,train\na,val\n", r"`a` must be in one part.*; got \(train\) and \(val\) at `.*`, row 2"),
        ("key,part,label\na,train,x\na,train,y\n", r"got \(train, x\) and \(train, y\) at `.*`, row 2"),
        ("key,part,group\na,train,p\nb,test,p\n", "group `p` must lie in one part; got train and test at `.*`, row 2"),
    ],
)
def test_a_table_that_breaks_the_rules_is_named_with_its_place(tmp_path, text, message):
    path = saved(tmp_path / "split.csv", text)
    with pytest.raises(InputError, match=message) as caught:
        read_split(path)
    assert str(path) in str(caught.value)


def test_columns_of_other_types_and_bytes_that_are_no_text_are_refused(tmp_path):
    pq.write_table(pa.table({"key": [0.5], "part": ["test"]}), tmp_path / "s.parquet")
    with pytest.raises(InputError, match="`key` must be a column of text; got double"):
        read_split(tmp_path / "s.parquet")
    (tmp_path / "s.csv").write_bytes(b"key,part\n\xff,test\n")
    with pytest.raises(InputError, match="`key` must be UTF-8"):
        read_split(tmp_path / "s.csv")


@pytest.mark.parametrize("name", ["split.txt", "split"])
def test_another_ending_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"must end in one of \.json, \.parquet, \.csv, \.jsonl; got"):
        read_split(saved(tmp_path / name, TABLE))


def test_a_file_that_is_not_there_or_is_damaged_is_named(tmp_path):
    with pytest.raises(InputError, match="`split` must be a file; got"):
        read_split(tmp_path / "absent.json")
    with pytest.raises(StorageError, match=r"must be a readable Parquet file.*s\.parquet"):
        read_split(saved(tmp_path / "s.parquet", "PAR1"))


PARTS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from(["train", "val", "test"]), min_size=1
)


@settings(max_examples=50, deadline=None)
@given(PARTS)
def test_a_split_written_as_parquet_is_read_as_it_was(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("split") / "a.parquet"
    pq.write_table(pa.table({"key": list(parts), "part": list(parts.values())}), path)
    rows = read_split(path).rows
    assert dict(zip(rows["key"].to_pylist(), rows["part"].to_pylist(), strict=True)) == parts
