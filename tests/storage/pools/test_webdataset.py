import hashlib
import json
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.errors import TooLargeError
from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import PoolSource, local_pictures, read_captions, read_pool, source_hash
from evenly.storage.pools.webdataset import webdataset_rows
from tests.storage.held_pool import header, picture, write_tar


def found(path, key=None):
    return [(row.file_name, row.caption, row.reject) for row in webdataset_rows(path, key)]


def sample(name, seed=0, **parts):
    return [(f"{name}.png", picture(seed)), *((f"{name}.{ending}", value) for ending, value in parts.items())]


def test_a_sample_is_a_picture_with_the_caption_beside_it_and_columns_from_its_json(tmp_path):
    record = json.dumps({"caption": "other", "uid": "q7", "similarity": 0.25, "tags": ["a", "b"]}).encode()
    write_tar(
        tmp_path / "0.tar",
        [*sample("a", 1, txt=b"a fox\r\n", json=record), ("b.JPG", b"jpg"), ("b.json", b'{"caption": "a cat"}')],
    )
    source = PoolSource(kind="webdataset", path=str(tmp_path / "*.tar"), id="uid")
    (table,) = read_pool(source)
    digest = hashlib.sha256(picture(1)).hexdigest()
    assert table["url"].to_pylist() == [f"sha256:{digest}", "sha256:" + hashlib.sha256(b"jpg").hexdigest()]
    assert table["caption"].to_pylist() == ["a fox", "a cat"]
    assert table["source_id"].to_pylist() == ["q7", None]
    assert table["pool_caption"].to_pylist() == ["other", None]
    assert (table["similarity"][0].as_py(), table["tags"][0].as_py()) == ("0.25", '["a", "b"]')
    assert table["file_name"].to_pylist() == ["a.png", "b.JPG"]
    assert table["source"].to_pylist() == ["0.tar"] * 2
    assert table["row"].to_pylist() == [0, 1]
    assert [row.place.read() for row in local_pictures(source)] == [picture(1), b"jpg"]
    assert [captions.to_pylist() for captions in read_captions(source)] == [["a fox", "a cat"]]
    assert source_hash(source) != source_hash(
        PoolSource(kind="webdataset", path=str(write_tar(tmp_path / "1.tar", [])))
    )


def test_a_key_that_is_named_is_the_caption_even_beside_a_text(tmp_path):
    path = write_tar(tmp_path / "0.tar", [*sample("a", txt=b"text", json=b'{"alt": "named"}'), *sample("b", txt=b"x")])
    assert found(path, "alt") == [("a.png", "named", ""), ("b", None, "missing_caption")]


def test_every_sample_comes_out_or_says_why_not(tmp_path):
    parts = [
        *sample("good", txt=b"a fox"), *sample("no_text"), ("only.txt", b"a caption"), ("only.npy", b"0"),
        *sample("two", txt=b"x"), ("two.jpg", b"x"), *sample("twice", txt=b"x"), ("twice.txt", b"y"),
        *sample("latin", txt="ä".encode("latin-1")), *sample("list", json=b"[1]"), *sample("broken", json=b'{"caption'),
        *sample("number", json=b'{"caption": 5}'), *sample("half", json=b'{"caption": "\\ud800"}'),
        *sample("deep", json=b"[" * 100_000), *sample("long", txt=b"x" * 1_000_001),
        ("../up.png", b"x"), ("../up.txt", b"x"), ("link.txt", b"x"),
        header("link.png", type=tarfile.SYMTYPE, linkname="good.png"),
        ("__MACOSX/._good.png", b"x"), *sample("good", 9, txt=b"again"), *sample("sub/good", txt=b"another"),
        *sample("cap.en", txt=b"dots"),
    ]  # fmt: skip
    assert {name: reject for name, _, reject in found(write_tar(tmp_path / "0.tar", parts)) if reject} == {
        "no_text": "missing_caption", "only": "missing_picture", "two": "many_pictures", "twice": "duplicate_member",
        "latin": "bad_caption", "list": "bad_metadata", "broken": "bad_metadata", "number": "bad_caption",
        "half": "bad_caption", "deep": "bad_metadata", "long": "text_too_large", "../up": "bad_name", "link": "link",
        "good": "duplicate_key", "cap": "missing_picture",
    }  # fmt: skip
    kept = [(name, caption) for name, caption, reject in found(tmp_path / "0.tar") if not reject]
    assert kept == [("good.png", "a fox"), ("sub/good.png", "another")]


def test_keys_that_no_column_can_have_are_renamed_and_too_many_are_refused(tmp_path):
    record = json.dumps({"a.b": 1, "a_b": 2, "": 3, "verdict": "kept", "url": "http://x.test", "uid": "u", "\ud800": 1})
    write_tar(tmp_path / "0.tar", sample("a", txt=b"x", json=record.encode()))
    (table,) = read_pool(PoolSource(kind="webdataset", path=str(tmp_path / "0.tar")))
    values = {name: table[name][0].as_py() for name in ("pool_a_b", "a_b", "_", "pool_verdict", "pool_url", "pool_uid")}
    assert values == {
        "pool_a_b": "1", "a_b": "2", "_": "3", "pool_verdict": "kept", "pool_url": "http://x.test", "pool_uid": "u",
    }  # fmt: skip
    keys = [f"key {number}" for number in range(1002)]
    write_tar(tmp_path / "1.tar", sample("a", txt=b"x", json=json.dumps(dict.fromkeys(keys[:1001], 0)).encode()))
    (table,) = read_pool(PoolSource(kind="webdataset", path=str(tmp_path / "1.tar")))
    assert table["reject"].to_pylist() == ["text_too_large"]
    assert not [name for name in table.column_names if "key" in name]
    parts = (sample(name, txt=b"x", json=json.dumps(dict.fromkeys(some, 0)).encode())
             for name, some in (("a", keys[:501]), ("b", keys[501:])))  # fmt: skip
    write_tar(tmp_path / "2.tar", [part for both in parts for part in both])
    with pytest.raises(TooLargeError, match="at most 1,000 columns; got 1,002"):
        list(read_pool(PoolSource(kind="webdataset", path=str(tmp_path / "2.tar"))))


def test_an_id_that_no_sample_has_is_an_error(tmp_path):
    write_tar(tmp_path / "0.tar", sample("a", txt=b"x"))
    with pytest.raises(PoolError, match=r"`id` must name a column of the file; got `uid` .* file_name"):
        list(read_pool(PoolSource(kind="webdataset", path=str(tmp_path / "0.tar"), id="uid")))


NAMES = st.text(st.sampled_from("ab./ä"), min_size=1, max_size=4)
ENDINGS = st.sampled_from([".png", ".txt", ".json", ".jpg", ""])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.builds("{}{}".format, NAMES, ENDINGS), st.binary(max_size=12)), max_size=8))
def test_no_member_that_is_shown_is_lost(tmp_path, parts):
    path = write_tar(tmp_path / "0.tar", parts)
    rows = list(webdataset_rows(path, None))
    assert {stem(row.file_name) for row in rows} == {stem(name) for name, _ in parts if not hidden(name)}
    for row in rows:
        assert bool(row.reject) == (row.image_id is None) == (row.place is None)
        if not row.reject:
            assert hashlib.sha256(row.place.read()).hexdigest() == row.image_id


def stem(name):
    while name.startswith("./"):
        name = name[2:]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def hidden(name):
    while name.startswith("./"):
        name = name[2:]
    return name.rpartition("/")[2].startswith(".")
