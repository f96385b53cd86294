"""The memory that a run may take decides how finely it is cut, and how many processes work."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.errors import InputError
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from evenly.tasks.partitioning import PoolSize, allowed_memory, choose_cut, cut_run, estimate_rows, machine_memory
from evenly.tasks.run import Run

GB = 10**9
PLENTY = 500 * GB


@pytest.mark.parametrize(("rows", "bits"), [(0, 0), (1, 0), (250_000, 0), (250_001, 1), (500_001, 2), (10_000_000, 6)])
def test_with_enough_memory_a_pool_is_cut_into_partitions_of_up_to_250000_pairs(rows, bits):
    cut = choose_cut(rows, PLENTY, 2)
    assert (cut.bits, cut.workers) == (bits, 2 if bits else 1)
    assert cut.partitions == 1 << bits


@pytest.mark.parametrize(
    ("memory", "bits", "workers"),
    [
        (PLENTY, 6, 8),
        (5.2 * GB, 7, 6),  # 0.8 GB and six times 0.5 GB and 120,000 pairs of 1.5 kB; of 240,000 five would fit
        (2.3 * GB, 7, 2),
        (1.9 * GB, 6, 1),  # 0.8 GB and 0.35 GB and 240,000 pairs of 1.5 kB
        (1.4 * GB, 7, 1),
    ],
)
def test_less_memory_is_met_by_fewer_workers_and_finer_partitions(memory, bits, workers):
    cut = choose_cut(240_000 << 6, int(memory), 8)
    assert (cut.bits, cut.workers) == (bits, workers)
    assert cut.expected <= memory


def test_pairs_with_pictures_take_more_memory():
    cut = choose_cut(10**6, 3 * GB, 2, pictured=True)
    assert (cut.bits, cut.workers) == (3, 2)
    assert choose_cut(10**6, 3 * GB, 2).bits == 2
    assert cut.expected <= 3 * GB < choose_cut(10**6, PLENTY, 2, pictured=True).expected


@pytest.mark.parametrize("rows", [130_000 << 4, 199_999 << 4])
def test_no_partition_is_made_smaller_than_100000_pairs(rows):
    for memory in (1, GB, 2 * GB):
        assert rows / choose_cut(rows, memory, 8).partitions >= 100_000


def test_the_number_of_processes_is_never_exceeded_and_one_works_in_the_command():
    assert choose_cut(10_000_000, PLENTY, 1).workers == 1
    assert choose_cut(300_000, PLENTY, 64).workers == 2
    assert choose_cut(200, PLENTY, 64).workers == 1
    assert choose_cut(10_000_000, PLENTY, 1).expected < choose_cut(10_000_000, PLENTY, 2).expected


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run over a pool of a million pairs on a machine of 8 GB with 4 processors."""
    monkeypatch.setattr(partitioning.PoolSize, "of", lambda _, limit: PoolSize(rows=limit or 10**6, is_counted=True))
    monkeypatch.setattr(partitioning, "machine_memory", lambda: 8 * GB)
    return Run(workspace=Workspace.at(tmp_path), seed=1, processes=4)


def test_the_default_is_half_of_the_machine(run):
    assert cut_run(run, pictured=False).memory == 4 * GB
    assert cut_run(run, pictured=False).workers == 4
    assert cut_run(run, pictured=False, memory="30%").workers == 2
    assert cut_run(run, pictured=False, limit=1000).bits == 0


def test_too_little_memory_is_refused_with_the_least_that_does(run):
    with pytest.raises(InputError) as error:
        cut_run(run, pictured=False, memory="900MB")
    assert str(error.value) == (
        "`memory` must be at least 1.34GB for about 1,000,000 pairs; got `900MB`, which is 0.90GB here. Raise it in "
        "the recipe or at --memory, or take fewer pairs with --limit."
    )
    cut = cut_run(run, pictured=False, memory="1.34GB")
    assert (cut.bits, cut.workers) == (3, 1)


def test_a_small_machine_works_by_default_as_well_as_it_can(run, monkeypatch):
    monkeypatch.setattr(partitioning, "machine_memory", lambda: GB)
    assert cut_run(run, pictured=False).workers == 1


@pytest.mark.parametrize("size", ["6", "GB", "0GB", "0%", "101%", "-1GB", "six GB", "6gb", "1e3GB"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match=r"^`memory` must be a size such as 6GB or 8GiB, or a share .*; got `.*`\."):
        allowed_memory(size)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("6GB", 6 * GB), ("1.5 GiB", 3 << 29), ("512MB", 512 * 10**6), ("50%", 4 * GB), ("2TB", 2000 * GB)],
)
def test_a_size_is_in_bytes_or_a_share(monkeypatch, size, expected):
    monkeypatch.setattr(partitioning, "machine_memory", lambda: 8 * GB)
    assert allowed_memory(size) == expected


def group(folder, limit):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("memory.max" if "v1" not in str(folder) else "memory.limit_in_bytes")).write_text(f"{limit}\n")


@pytest.mark.parametrize(
    ("line", "mount", "limits", "expected"),
    [
        ("0::/a/b", "v2", {"v2/a/b": "max", "v2/a": 5 * 10**6}, 5 * 10**6),
        ("0::/a/b", "v2", {"v2/a/b": 3 * 10**6, "v2/a": 5 * 10**6}, 3 * 10**6),
        ("0::/", "v2", {"v2": 4 * 10**6}, 4 * 10**6),  # as a container sees its own
        ("0::/not/mounted", "v2", {"v2": 4 * 10**6}, 4 * 10**6),
        ("4:cpu,memory:/a", "v1", {"v1/memory/a": 7 * 10**6, "v1/memory": 2**63 - 4096}, 7 * 10**6),
        ("4:cpu:/a", "v1", {"v1/memory/a": 7 * 10**6}, None),
        ("0::/a", "v2", {}, None),
    ],
)
def test_memory_is_what_the_control_group_and_those_around_it_allow(tmp_path, line, mount, limits, expected):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(f"9:pids:/a\n{line}\n")
    for folder, limit in limits.items():
        group(tmp_path / folder, limit)
    machine = machine_memory(tmp_path / "nowhere", tmp_path)
    assert machine > GB // 4
    assert machine_memory(tmp_path, tmp_path / mount) == (expected or machine)


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
