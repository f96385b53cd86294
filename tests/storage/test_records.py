from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import canonical_json, content_hash, create_record, read_record, replace_record

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_content_hash_does_not_depend_on_key_order(value):
    assert content_hash(value) == content_hash(dict(reversed(value.items())))


@given(json_values, json_values)
def test_values_with_equal_hash_have_equal_json(left, right):
    assert (content_hash(left) == content_hash(right)) == (canonical_json(left) == canonical_json(right))


def test_of_many_writers_exactly_one_creates_a_record(tmp_path: Path):
    path = tmp_path / "record.json"
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: create_record(path, {"number": number}), range(64)))
    assert sum(won) == 1
    assert read_record(path) == {"number": won.index(True)}
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_replacing_a_record_leaves_no_other_file(tmp_path: Path):
    path = tmp_path / "alias.json"
    replace_record(path, {"build": "a"})
    replace_record(path, {"build": "b"})
    assert read_record(path) == {"build": "b"}
    assert [item.name for item in tmp_path.iterdir()] == ["alias.json"]


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_record_is_named(tmp_path: Path, text: str):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DamagedError, match=r"broken\.json"):
        read_record(path)


def test_a_missing_record_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"absent\.json"):
        read_record(tmp_path / "absent.json")


def test_any_flipped_bit_in_a_record_is_damage(tmp_path: Path):
    path = tmp_path / "r.json"
    record = {"reply": "a fox", "n": 1.5, "of": {"1": None}}
    create_record(path, record)
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            with pytest.raises(DamagedError, match=r"r\.json"):
                read_record(path)


def test_a_record_from_before_there_were_checksums_is_read_as_it_is(tmp_path: Path):
    (tmp_path / "r.json").write_text('{\n "n": 1\n}')
    assert read_record(tmp_path / "r.json") == {"n": 1}


def test_keys_that_are_numbers_have_the_checksum_of_what_is_read_back(tmp_path: Path):
    create_record(tmp_path / "r.json", {"counts": {2: 1, 10: 2}})
    assert read_record(tmp_path / "r.json") == {"counts": {"2": 1, "10": 2}}


@pytest.mark.parametrize("record", [{"n": float("nan")}, {"checksum": "ab"}, {"path": Path("a")}, {"text": "\ud800"}])
def test_what_cannot_be_a_record_leaves_the_old_one(tmp_path: Path, record):
    path = tmp_path / "r.json"
    create_record(path, {"n": 1})
    with pytest.raises((ValueError, TypeError)):
        replace_record(path, record)
    assert read_record(path) == {"n": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "r.json", tmp_path / f"{'r' * 300}.json"):
        with pytest.raises(OSError, match=r"exists|directory|too long"):
            create_record(path, {"n": 1})
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_record(tmp_path / "folder", {"n": 1})
    assert not create_record(tmp_path / "folder", {"n": 1})
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", [" ", "a b", "données 犬", "new\nline", "-rf", "*", "%s", "x" * 230])
def test_any_name_that_the_file_system_takes_is_a_records(tmp_path: Path, name: str):
    assert create_record(tmp_path / name, {"name": name})
    assert not create_record(tmp_path / name, {"name": "another"})
    assert read_record(tmp_path / name) == {"name": name}


def test_a_folder_or_a_file_that_is_no_text_is_damage(tmp_path: Path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe{}")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path in (tmp_path, tmp_path / "binary.json", tmp_path / "deep.json"):
        with pytest.raises(DamagedError, match=path.name):
            read_record(path)


def test_a_record_may_be_read_by_all_who_may_read_the_folder(tmp_path: Path):
    create_record(tmp_path / "r.json", {"n": 1})
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o644
