"""Records of many shards: looked through a few shards at a time, whatever is looked for."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.storage.web import shards
from evenly.storage.web.images import find_places
from evenly.storage.web.shards import count_unrecorded, read_downloads, shard_names
from tests.storage.web.recorded import record_shards

N = 300
OF_SHARD = 10


def url(number: int) -> str:
    return f"http://a.test/{number}"


def image_id(number: int) -> str:
    return f"{number:02x}" * 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of N URLs, ten to a shard; every third is asked for once more in a later shard, and then kept."""
    folder = tmp_path_factory.mktemp("downloads")
    rows = [record(number, attempt=1, is_kept=number % 3 > 0) for number in range(N)]
    rows += [record(number, attempt=2, is_kept=True) for number in range(0, N, 3)]
    record_shards(folder, (rows[start : start + OF_SHARD] for start in range(0, len(rows), OF_SHARD)))
    return folder


def record(number: int, *, attempt: int, is_kept: bool) -> dict:
    told = {"verdict": "kept", "image_id": image_id(number % 200), "tar": "a.tar", "offset": number, "size": 1}
    return {"url": url(number), "attempt": attempt} | (told if is_kept else {"verdict": "failed"})


@pytest.fixture
def sizes(monkeypatch):
    """Records of three shards are in memory together; the rows of each table that was read or received."""
    monkeypatch.setattr(shards, "_TOGETHER", 3)
    monkeypatch.setattr(shards, "_OF_PART", 3)
    sizes = []

    def noting(function):
        def noted(*arguments):
            tables = function(*arguments)
            sizes.append(sum(table.num_rows for table in (tables if isinstance(tables, list) else [tables])))
            return tables

        return noted

    monkeypatch.setattr(shards, "read_shards", noting(shards.read_shards))
    monkeypatch.setattr(shards, "received_rows", noting(shards.received_rows))
    return sizes


@pytest.mark.parametrize("bits", [0, 2, 6])
@pytest.mark.parametrize("numbers", [range(0), range(N), range(N - 20, N + 50), [N + 1, N + 1, 5, 5, N + 1]])
def test_urls_without_a_record_are_counted_once_each(folder, tmp_path, sizes, numbers, bits):
    parts = [pa.array([url(number) for number in part], pa.string()) for part in (numbers[::2], numbers, numbers[1::2])]
    assert count_unrecorded(iter(parts), folder, tmp_path / "exchange", bits=bits) == len({*numbers} - {*range(N)})
    assert max(sizes) < N / 4
    assert not list(tmp_path.glob("exchange/*"))


@pytest.mark.usefixtures("sizes")
def test_without_any_records_all_urls_are_unrecorded(tmp_path):
    parts = [pa.array([url(1), url(2)]), pa.array([url(2)])]
    assert count_unrecorded(parts, tmp_path / "downloads", tmp_path / "exchange", bits=1) == 2


def test_records_of_some_urls_are_those_among_all(folder, sizes):
    whole = read_downloads(folder)
    urls = pa.array([url(number) for number in (0, 7, 299, 1000)])
    sizes.clear()
    of_urls = read_downloads(folder, urls=urls)
    assert of_urls.equals(whole.filter(pc.is_in(whole["url"], urls)).combine_chunks())
    assert (of_urls.num_rows, max(sizes)) == (3, 3 * OF_SHARD)
    assert of_urls["attempt"].to_pylist() == [2, 1, 1]


def test_places_are_looked_for_in_a_few_shards_at_a_time(folder, sizes):
    places = find_places(folder, [image_id(7), image_id(3), "f" * 64])
    assert places["offset"].to_pylist() == [7, 203, 3, 207]
    assert max(sizes) == 3 * OF_SHARD < len(shard_names(folder)) * OF_SHARD
