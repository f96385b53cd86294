"""Rows by a key: every value once, only files that hold some of them read and compared with their sums."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError
from evenly.storage.records import read_record
from evenly.storage.tables import lance_keys
from evenly.storage.tables.lance_commits import commit_rows
from evenly.storage.tables.lance_keys import KeyedRows


def stored(path: Path, *stretches: range) -> Path:
    for rows in stretches:
        names = [f"name {row}" for row in rows]
        value = pa.array(np.repeat(np.array(rows, np.float64), 40))
        table = pa.table({"id": names, "value": pa.FixedSizeListArray.from_arrays(value, 40)})
        commit_rows(path, table, mode="append")
    return path


def values(path: Path, names: list[str]) -> dict[int, float]:
    """The first number of each row by its place in `names`."""
    return {
        place: row["value"][0]
        for places, table in KeyedRows(path, "Make it again.").rows(pa.array(names), ["value"])
        for place, row in zip(places.tolist(), table.to_pylist(), strict=True)
    }


def flip_values(path: Path, commit: int) -> None:
    """Change a bit of the values of a commit, which lie behind its ids."""
    file = sorted((path / "data").iterdir(), key=lambda data: data.stat().st_mtime_ns)[commit]
    data = bytearray(file.read_bytes())
    at = data.index(np.float64(commit * 5_000 + 4_000).tobytes() * 20)
    data[at] ^= 1
    file.write_bytes(bytes(data))


def test_values_come_once_each_from_whatever_file_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "t.lance", range(10), range(10, 25), range(20, 40))
    for keys_at_once, rows, scanned_from in ((1 << 20, 1 << 16, 16), (12, 7, 1), (12, 7, 10**6), (1 << 20, 1 << 16, 1)):
        monkeypatch.setattr(lance_keys, "_SCANNED_FROM", scanned_from)
        monkeypatch.setattr(lance_keys, "_KEYS_AT_ONCE", keys_at_once)
        monkeypatch.setattr(lance_keys, "ROWS_PER_FILE", rows)
        assert values(path, ["name 39", "name 3", "none", "name 22", "name 3"]) == {0: 39, 1: 3, 3: 22, 4: 3}
        assert values(path, ["none"]) == {}
        assert KeyedRows(path, "").stored(pa.array(["none", "name 24"])).tolist() == [False, True]
        assert KeyedRows(path, "").stored(pa.array([], pa.string())).tolist() == []


def test_damage_is_seen_by_those_alone_who_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "t.lance", range(5_000), range(5_000, 10_000))
    flip_values(path, 1)
    monkeypatch.setattr(lance_keys, "ROWS_PER_FILE", 5_000)
    assert values(path, ["name 7"]) == {0: 7}
    assert values(path, ["name 9999", "name 5000", "name 9996"]) == {0: 9999, 1: 5000, 2: 9996}
    assert KeyedRows(path, "").stored(pa.array(["name 9999"])).all()
    with pytest.raises(DamagedError, match=r"another checksum\. Make it again\."):
        values(path, ["name 9999", "name 9000"])
    with pytest.raises(DamagedError, match=r"another checksum\. Make it again\."):
        values(path, [f"name {row}" for row in range(5_000, 5_400)])


def test_of_rows_with_one_key_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.lance"
    for number in (1.0, 2.0):
        value = pa.FixedSizeListArray.from_arrays(pa.array([number] * 12), 3)
        commit_rows(path, pa.table({"id": ["a", "b", "c", "b"], "value": value}), mode="append")
    for keys_at_once in (1 << 20, 1):
        monkeypatch.setattr(lance_keys, "_KEYS_AT_ONCE", keys_at_once)
        assert [table.num_rows for _, table in KeyedRows(path, "").rows(pa.array(["b"]), ["value"])] == [1]
        for names in (["b"], ["b", "b"], ["c", "none", "b", "a", "none too"]):
            assert values(path, names) == {place: 1 for place, name in enumerate(names) if len(name) == 1}


def test_files_whose_keys_end_before_or_begin_after_what_is_looked_for_are_not_read(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.lance", range(5_000), range(5_000, 10_000))
    for file in (path / "data").iterdir():
        keys = read_record(path / "_sums" / "data" / f"{file.name}.json")["keys"]
        if keys["min"] == "name 5000":
            file.write_bytes(b"nothing of a dataset")
    assert values(path, ["name 1001", "name 17"]) == {0: 1001, 1: 17}
    assert KeyedRows(path, "").stored(pa.array(["name 1", "name 4999"])).all()
    with pytest.raises(DamagedError):
        KeyedRows(path, "").stored(pa.array(["name 1", "name 7000"]))
