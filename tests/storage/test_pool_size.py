"""The number of rows of a pool, by what its files say or weigh."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.pool_size import PoolSize, estimate_rows
from evenly.storage.pools.source import PoolSource


def csv_text(rows, seed=1):
    """Lines as different from each other as captions are."""
    draws = np.random.default_rng(seed).integers(1 << 60, size=rows)
    lines = (f"http://a.test/{row},a dog with number {draw} of many\n" for row, draw in enumerate(draws))
    return "url,text\n" + "".join(lines)


def test_rows_are_what_parquet_files_say(tmp_path):
    for name in "ab":
        pq.write_table(pa.table({"url": ["u"] * 70, "text": ["t"] * 70}), tmp_path / f"{name}.parquet")
    source = PoolSource(kind="parquet", path=str(tmp_path / "*.parquet"))
    assert PoolSize.of([source]) == PoolSize(rows=140, is_counted=True)
    assert PoolSize.of([source, source], limit=150) == PoolSize(rows=150, is_counted=True)
    assert PoolSize.of([]).rows == 0


@pytest.mark.parametrize(("kind", "name"), [("csv", "b.csv"), ("csv", "b.csv.gz"), ("jsonl", "b.jsonl.gz")])
def test_rows_of_lines_are_estimated_from_the_first_of_them_also_where_they_are_compressed(tmp_path, kind, name):
    text = csv_text(60_000).encode()
    (tmp_path / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
    size = PoolSize.of([PoolSource(kind=kind, path=str(tmp_path / name))])
    assert 54_000 <= size.rows <= 66_000
    assert not size.is_counted


def test_gzip_files_one_after_the_other_are_counted_together(tmp_path):
    parts = [gzip.compress(csv_text(400, seed).encode(), mtime=0) for seed in range(3)]
    (tmp_path / "b.csv.gz").write_bytes(b"".join(parts))
    assert estimate_rows(PoolSource(kind="csv", path=str(tmp_path / "b.csv.gz"))) == 1203


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip at all", gzip.compress(b"url,text\n" * 900, mtime=0)[:40]],
    ids=["empty", "no gzip", "cut off"],
)
def test_a_broken_file_is_no_error_of_the_estimate(tmp_path, content):
    (tmp_path / "b.csv.gz").write_bytes(content)
    assert estimate_rows(PoolSource(kind="csv", path=str(tmp_path / "b.csv.gz"))) >= 0


def test_what_unpacks_to_much_more_is_unpacked_in_part_only(tmp_path):
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"\n" * (200 << 20), mtime=0))
    assert estimate_rows(PoolSource(kind="csv", path=str(tmp_path / "b.csv.gz"))) == pytest.approx(200 << 20, rel=0.05)


def test_rows_of_a_folder_are_its_pictures_not_its_texts_and_lists(tmp_path):
    for name in ("a.png", "a.txt", "b.JPG", "b.json", "classes.txt", "metadata.csv"):
        (tmp_path / name).write_bytes(b"")
    source = PoolSource(kind="folder", path=str(tmp_path))
    assert PoolSize.of([source]) == PoolSize(rows=2, is_counted=False)
