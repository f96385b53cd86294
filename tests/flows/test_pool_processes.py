"""Pools matched and balanced by worker processes under Prefect: the bytes that one process writes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.curation.balance.thresholds import BalanceRule
from evenly.flows.curate_texts import curate_texts
from evenly.storage.errors import InputError
from evenly.storage.pools.captions import CaptionColumns
from evenly.tasks.pools import balance
from evenly.tasks.pools.balance import BalanceJob
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A pool of four files, and a list."""
    (tmp_path / "list.txt").write_text("dog\nblack dog\ncat\n")
    for number in range(4):
        captions = ["a black dog", "a dog", "a cat", None, "none"] * (20 + number)
        uids = [f"row {number}-{row}" for row in range(len(captions))]
        pq.write_table(pa.table({"id": uids, "text": captions}), tmp_path / f"{number}.parquet")
    return tmp_path


def jobs(pool: Path, name: str, rule: BalanceRule, **work: object) -> tuple[MatchJob, BalanceJob]:
    columns, metadata = CaptionColumns(caption="text", uid="id"), str(pool / "list.txt")
    out, how = pool / name, PoolWork(threads=2, quiet=True, **work)
    files = str(pool / "?.parquet")
    match = MatchJob(pool=files, metadata=metadata, out=out / "m.parquet", columns=columns, work=how)
    return match, BalanceJob(matches=[out / "m.parquet"], rule=rule, out=out / "b.parquet", work=how)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [BalanceRule(t=9), BalanceRule(target=40)], ids=["t", "target"])
def test_workers_write_the_bytes_that_one_process_writes(pool, monkeypatch, rule):
    monkeypatch.setattr(balance, "HELD_BYTES", 0)
    for name, work in (("alone", {}), ("workers", {"processes": 2})):
        for job in jobs(pool, name, rule, **work):
            curate_texts(job)
    for file in ("m.parquet", "m.counts.parquet", "m.entries.parquet", "b.parquet"):
        assert (pool / "workers" / file).read_bytes() == (pool / "alone" / file).read_bytes()
    assert not list((pool / "workers").glob(".*"))


def test_prefect_is_needed_only_where_several_processes_work_on_several_stretches(pool):
    rule = BalanceRule(t=9)
    assert jobs(pool, "a", rule, processes=2)[0].has_workers
    assert not jobs(pool, "a", rule)[0].has_workers
    assert not jobs(pool, "a", rule, processes=2, memory="1GB")[0].has_workers
    match, balancing = jobs(pool, "a", rule, processes=2)
    match.stretches[1:] = []
    assert not match.has_workers
    with pytest.raises(InputError, match=r"`memory` must be at least 0.42GB for a list of 3 entries; got `9MB`"):
        _ = jobs(pool, "a", rule, memory="9MB")[0].has_workers
    jobs(pool, "a", rule)[0].run()
    assert not balancing.has_workers  # one row group
