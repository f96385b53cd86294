"""Made-up pools of text for measurements: what a measurement rests on."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import text_pool
from benchmarks.text_pool import Change, write_pool


def written(folder: Path, pairs: int, seed: int) -> pa.Table:
    write_pool(folder, pairs, seed=seed)
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])


def test_a_pool_follows_from_its_seed_and_a_smaller_one_is_the_beginning_of_a_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_pool, "FILE_ROWS", 500)
    large = written(tmp_path / "large", 1_700, 1)
    small = written(tmp_path / "small", 1_200, 1)
    other = written(tmp_path / "other", 1_200, 2)
    assert large.num_rows == 1_700
    assert small.equals(large.slice(0, 1_200))
    assert not set(other["url"].to_pylist()) & set(large["url"].to_pylist())
    assert not other["text"].equals(small["text"])
    assert pc.count_distinct(large["url"]).as_py() == 1_700
    lengths = pc.utf8_length(large["text"])
    assert large["text"].null_count > 0
    assert pc.min(lengths).as_py() == 0
    assert pc.max(lengths).as_py() > 300


def test_a_folder_with_a_pool_is_refused(tmp_path: Path) -> None:
    write_pool(tmp_path, 10, seed=1)
    with pytest.raises(SystemExit, match="hold no Parquet files"):
        write_pool(tmp_path, 10, seed=1)


def test_a_later_version_of_a_pool_has_other_captions_in_a_share_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_pool, "FILE_ROWS", 5_000)
    before = written(tmp_path / "before", 10_000, 1)
    tables = []
    for number, change in enumerate((Change(0.01, 2), Change(0.01, 2), Change(0.01, 3))):
        recipe = write_pool(tmp_path / str(number), 10_000, seed=1, change=change)
        assert "name: text-pool\n" in recipe.read_text()
        tables.append(pa.concat_tables([pq.read_table(file) for file in sorted(recipe.parent.glob("*.parquet"))]))
    one, same, other = tables
    assert one.equals(same)
    assert not one.equals(other)
    assert one["url"].equals(before["url"])
    differing = pc.sum(pc.fill_null(pc.not_equal(one["text"], before["text"]), False)).as_py()
    assert 60 <= differing <= 130
