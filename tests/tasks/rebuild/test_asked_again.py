"""Pairs whose site was away come back: a rebuild asks failed URLs again once they are due, and no others."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from threading import Event

import pyarrow as pa
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.reservations.rule import PoolDownload
from evenly.flows.recipe.section import RebuildSchedule
from evenly.storage.errors import StorageError
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.local_rows import LOCAL
from evenly.storage.records import content_hash
from evenly.storage.tables.partitions import partition_of
from evenly.storage.web.rule import Retry
from evenly.storage.web.shards import read_downloads, url_key
from evenly.storage.workspace import Workspace, adopt_observations
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import Step
from tests.storage.web.conftest import HOST, Answer, Web, picture, serve
from tests.storage.web.recorded import record_shards

AWAY = "other.test"
URLS = [f"http://{HOST}/{number}" for number in range(8)] + [f"http://{AWAY}/{number}" for number in range(8, 12)]
RULE = PoolDownload(retries=0, respect=(), timeout_s=60)
HOUR = timedelta(hours=1)
BITS = pytest.mark.parametrize("bits", [0, 2])


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as served:
        served.fallback = lambda path: Answer(200, picture(int(path[1:]))) if path[1:].isdigit() else None
        yield served


@pytest.fixture
def away() -> Iterator[str]:
    """An address that refuses connections while the test lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def pool(urls) -> Step:
    """A first step that gives pairs of these URLs."""

    def judge(run: Run, *_: object) -> StepOutput:
        uids = {url_key(url): url for url in urls}  # hashes, as uids are
        rows = [(uid, uids[uid]) for uid in sorted(uids) if partition_of(uid, run.bits) == run.part.number]
        decisions = Decisions.keep_all(len(rows)).to_table(pa.array([uid for uid, _ in rows], pa.string()))
        return StepOutput(decisions=decisions.append_column("url", pa.array([url for _, url in rows], pa.string())))

    return Step(name="collect", rule=dict, stored=dict, load=dict, judge=judge)


def rebuild(run: Run, urls=URLS, **changes):
    """The record of the download of these pairs, in a run with these changes."""
    changed = replace(run, asked_again=type(run.asked_again)(), **changes)
    steps = [(pool(urls), {"urls": content_hash(list(urls))}), (DOWNLOAD, RULE)]
    return run_steps(changed, steps, InProcess(run=changed))[-1], dict(changed.asked_again)


@BITS
def test_a_site_that_comes_back_gives_its_pairs_back_once_they_are_due(web, away, tmp_path, bits):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, processes=1, bits=bits)
    broken = web.connect | {AWAY: away}
    first, _ = rebuild(run, connect=broken)
    assert (first.counts["kept"], first.reasons) == (8, {"connection": 4})
    reasons, now, asked = ("connection", "dns"), datetime.now(UTC), web.asked.total()

    early, again = rebuild(run, connect=web.connect, retry=Retry(reasons=reasons, until=now - HOUR))
    assert (early.key, again, web.asked.total()) == (first.key, {}, asked)
    other, again = rebuild(run, connect=web.connect, retry=Retry(reasons=("dns",), until=now + HOUR))
    assert (other.key, again, web.asked.total()) == (first.key, {}, asked)

    due = Retry(reasons=reasons, until=now + HOUR)
    second, again = rebuild(run, connect=web.connect, retry=due)
    assert (second.counts["kept"], second.reasons, again) == (12, {}, {"connection": 4})
    assert web.asked.total() == asked + 4
    assert {row["attempt"] for row in read_downloads(run.workspace.downloads).to_pylist()} == {1, 2}

    third, again = rebuild(run, connect=broken, retry=due)
    assert (third.key, again, web.asked.total()) == (second.key, {}, asked + 4)
    copy = Workspace.at(tmp_path / "copy")
    adopt_observations(copy, run.workspace)
    replayed, _ = rebuild(replace(run, workspace=copy), connect=broken, retry=due)
    assert replayed.output_hash == second.output_hash


def test_what_fails_again_is_due_again_after_its_new_record(web, away, tmp_path):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, processes=1, connect=web.connect | {AWAY: away})
    first, _ = rebuild(run)
    between = datetime.now(UTC)
    second, again = rebuild(run, retry=Retry(until=between))
    assert (again, second.output_hash) == ({"connection": 4}, first.output_hash)
    assert rebuild(run, retry=Retry(until=between))[1] == {}
    assert rebuild(run, retry=Retry())[1] == {"connection": 4}


def test_a_small_pool_whose_site_is_away_stops_and_loses_nothing(web, away, tmp_path):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, processes=1, bits=2)
    with pytest.raises(StorageError, match=r"got `connection` for 12 of the first 12"):
        rebuild(run, connect={HOST: away, AWAY: away})
    assert rebuild(run, connect=web.connect)[0].counts["kept"] == 12


@BITS
def test_urls_are_looked_up_again_only_where_one_of_these_pairs_is_due(tmp_path, bits):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, bits=bits, retry=Retry())
    row = {"outcome": "timeout", "verdict": "failed", "fetched_at": datetime(2026, 1, 1, tzinfo=UTC)}
    record_shards(run.workspace.downloads, [[{"url": f"http://{HOST}/99", **row}]])
    for urls, is_due in ((URLS, False), ([*URLS, f"http://{HOST}/99"], True)):
        pairs = run_steps(run, [(pool(urls), {"urls": urls})], InProcess(run=run))
        assert DOWNLOAD.is_due(run, pairs) == is_due
        assert not DOWNLOAD.is_due(replace(run, retry=None), pairs)


def test_pictures_at_hand_and_urls_of_other_pairs_are_never_asked_again(web, tmp_path):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, processes=1, connect=web.connect)
    held, other = f"{LOCAL}{'0' * 64}", f"http://{HOST}/99"
    row = {"outcome": "timeout", "verdict": "failed", "fetched_at": datetime(2026, 1, 1, tzinfo=UTC)}
    record_shards(run.workspace.downloads, [[{"url": url, **row} for url in (held, other)]])
    record, again = rebuild(run, [held, URLS[0]], retry=Retry())
    assert (record.counts["kept"], record.reasons, again) == (1, {"timeout": 1}, {})
    assert web.asked == {"/0": 1}


def test_a_run_waits_for_another_that_downloads_and_asks_nothing_twice(web, tmp_path, monkeypatch):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, processes=1, connect=web.connect)
    answer, release, waits = web.fallback, Event(), Event()
    web.fallback = lambda path: answer(path) if release.wait(30) else None
    monkeypatch.setattr(Progress, "say", lambda _, text, *__: "waits for the folder" in text and waits.set())
    with ThreadPoolExecutor() as threads:
        first = threads.submit(rebuild, run)
        assert wait_for(lambda: web.asked)
        second = threads.submit(rebuild, run, [*URLS, f"http://{HOST}/12"])
        assert waits.wait(30)
        release.set()
        assert [ended.result()[0].counts["kept"] for ended in (first, second)] == [12, 13]
    assert set(web.asked.values()) == {1}
    assert len(web.asked) == 13


def wait_for(happened: Callable[[], object]) -> bool:
    until = time.monotonic() + 30
    while not happened() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(happened())


def test_the_rule_is_fixed_by_the_time_at_which_a_run_starts():
    started = datetime(2026, 11, 30, 7, tzinfo=UTC)
    of = {
        after: RebuildSchedule(cron="0 3 * * 1", retry={"after": after}).retry.of_run(started)
        for after in ("7d", "12h")
    }
    assert of["7d"].until == datetime(2026, 11, 23, 7, tzinfo=UTC)
    assert of["12h"].until == datetime(2026, 11, 29, 19, tzinfo=UTC)
    assert asdict(of["7d"])["reasons"] == ("dns", "connection", "timeout", "http_5xx")
