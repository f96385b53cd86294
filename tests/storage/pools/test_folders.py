import hashlib
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.pools.folders import folder_hash, folder_rows
from evenly.storage.pools.local_rows import in_columns
from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import PoolSource, local_pictures, read_pool
from tests.storage.held_pool import picture, write_files


def found(folder, key=None):
    return [(row.file_name, row.caption, row.reject) for row in folder_rows(folder, key)]


def test_captions_lie_beside_pictures_and_the_folder_of_a_picture_is_a_column(tmp_path):
    write_files(tmp_path / "birds", {
        "robin/a.png": picture(1), "robin/a.txt": "a robin\n", "robin/a.json": '{"by": "ann", "year": 7}',
        "wren/b.JPG": picture(2), "wren/b.json": '{"caption": "a wren"}', "c.png": picture(3), "readme.md": "text",
        ".git/d.png": picture(4), "wren/.e.png": picture(5),
    })  # fmt: skip
    source = PoolSource(kind="folder", path=str(tmp_path / "birds"))
    (table,) = read_pool(source)
    assert table["file_name"].to_pylist() == ["c.png", "robin/a.png", "wren/b.JPG"]
    assert table["caption"].to_pylist() == [None, "a robin", "a wren"]
    assert table["reject"].to_pylist() == ["missing_caption", None, None]
    assert table["folder"].to_pylist() == [None, "robin", "wren"]
    assert (table["by"][1].as_py(), table["year"][1].as_py()) == ("ann", "7")
    digests = [hashlib.sha256(picture(seed)).hexdigest() for seed in (1, 2)]
    assert table["url"].to_pylist() == [None, *(f"sha256:{digest}" for digest in digests)]
    assert table["source"].to_pylist() == ["birds"] * 3
    assert [row.place.read() for row in local_pictures(source)] == [picture(1), picture(2)]


@pytest.mark.parametrize("name", ["metadata.csv", "captions.csv", "metadata.jsonl", "captions.parquet"])
def test_a_list_gives_captions_and_columns_and_the_other_pictures_keep_their_own(tmp_path, name):
    rows = [
        {"file_name": "a.png", "text": "first", "by": "ann"},
        {"file_name": "deep/b.png", "text": "second", "by": "bob"}, {"file_name": "a.png", "text": "third", "by": ""},
    ]  # fmt: skip
    lists = {
        "csv": "file_name,text,by\n" + "".join(f"{r['file_name']},{r['text']},{r['by']}\n" for r in rows),
        "jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "parquet": b"",
    }
    files = {"train/a.png": picture(1), "train/deep/b.png": picture(2), "c.png": picture(3), "c.json": '{"text": "c"}'}
    write_files(tmp_path, {**files, f"train/{name}": lists[name.partition(".")[2]]})
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train" / name)
    read = list(folder_rows(tmp_path, "text"))
    assert [(row.file_name, row.caption, row.reject) for row in read] == [
        ("train/a.png", "first", ""), ("train/deep/b.png", "second", ""), ("train/a.png", "third", ""),
        ("c.png", "c", ""),
    ]  # fmt: skip
    extra = [rows.extra for rows in in_columns(iter(read), tmp_path)]
    assert [by for table in extra if "by" in table.column_names for by in table["by"].to_pylist()] == ["ann", "bob", ""]


def test_rows_of_a_list_that_make_no_pair_say_why(tmp_path):
    rows = [
        "a.png,good", "b.png,not there", "../out.png,x", "/etc/passwd,x", ",no name", "one field", "sub/../a.png,fine",
        "..,x", "sub,x", 'a.png,"two\nlines"',
    ]  # fmt: skip
    write_files(tmp_path / "out.png", {}).write_bytes(picture(9))
    folder = write_files(tmp_path / "pool", {"a.png": picture(1), "sub/x.txt": "", "metadata.csv": b""})
    content = "file_name,caption\n" + "\n".join(rows) + "\n"
    (folder / "metadata.csv").write_bytes(content.encode() + b"a.png,\xff\n")
    assert [(caption, reject) for _, caption, reject in found(folder)] == [
        ("good", ""), ("not there", "missing_picture"), ("x", "outside"), ("x", "outside"), ("no name", "no_file_name"),
        (None, "bad_row"), ("fine", ""), ("x", "outside"), ("x", "missing_picture"), ("two\nlines", ""),
        (None, "bad_caption"),
    ]  # fmt: skip


def test_a_list_without_a_caption_column_says_which_it_has(tmp_path):
    write_files(tmp_path, {"a.png": picture(1), "metadata.csv": "file_name,text\na.png,x\n"})
    with pytest.raises(PoolError, match=r"`caption` must name a column of the file; got `caption` .* file_name, text"):
        found(tmp_path)


def test_links_that_lead_out_and_what_is_no_file_are_named(tmp_path):
    folder = write_files(tmp_path / "pool", {"a.png": picture(1), "a.txt": "x", "real/b.png": picture(2)})
    write_files(tmp_path, {"secret.png": picture(3), "secret.txt": "secret", "far/c.png": picture(4)})
    (folder / "inside.png").symlink_to("a.png")
    (folder / "inside.txt").symlink_to("a.txt")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "round.png").symlink_to("round.png")
    (folder / "d").symlink_to(tmp_path / "far")
    (folder / "e.png").write_bytes(picture(5))
    (folder / "e.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe.png")
    (folder / "pictures.png").mkdir()
    with open(os.fsencode(folder) + b"/\xff.png", "wb") as stream:  # noqa: PTH123 - a name of bytes
        stream.write(picture(6))
    rows = {name: (caption, reject) for name, caption, reject in found(folder)}
    assert rows.pop(os.fsdecode(b"\xff.png")) == (None, "bad_name")
    assert rows == {
        "a.png": ("x", ""), "inside.png": ("x", ""),
        "out.png": (None, "outside_link"), "gone.png": (None, "not_a_file"),
        "round.png": (None, "not_a_file"), "d": (None, "linked_folder"), "e.txt": (None, "outside_link"),
        "e.png": (None, "missing_caption"), "pipe.png": (None, "not_a_file"), "real/b.png": (None, "missing_caption"),
    }  # fmt: skip
    (table,) = read_pool(PoolSource(kind="folder", path=str(folder)))
    assert "\ufffd.png" in table["file_name"].to_pylist()


def test_a_hash_follows_names_and_contents_but_not_where_the_folder_lies(tmp_path):
    files = {"a.png": picture(1), "a.txt": "x", "readme": "not read"}
    first = folder_hash(write_files(tmp_path / "one", files))
    assert first == folder_hash(write_files(tmp_path / "two" / "other", files | {"readme": "other"}))
    changed = [{"a.txt": "y"}, {"b.png": picture(1)}, {"metadata.csv": "file_name,caption\n"}]
    assert (
        len({first, *(folder_hash(write_files(tmp_path / str(at), files | one)) for at, one in enumerate(changed))})
        == 4
    )


def test_a_folder_that_is_not_there_or_empty_says_so(tmp_path):
    with pytest.raises(PoolError, match="`path` must match at least one folder"):
        read_pool(PoolSource(kind="folder", path=str(tmp_path / "none")))
    with pytest.raises(PoolError, match="`path` must hold at least one row"):
        list(read_pool(PoolSource(kind="folder", path=str(tmp_path))))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), ending=st.sampled_from(["txt", "json"]))
def test_whatever_lies_beside_a_picture_it_is_one_row(tmp_path, content, ending):
    folder = write_files(tmp_path / ending, {"a.png": picture(1), f"a.{ending}": content})
    ((name, caption, reject),) = found(folder)
    assert name == "a.png"
    assert (caption is None) == bool(reject)
