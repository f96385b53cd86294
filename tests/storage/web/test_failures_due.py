"""Failed downloads are asked again by one rule: the latest record, its reason, and a time fixed beforehand."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evenly.storage.web.download import pending_urls
from evenly.storage.web.errors import PASSING, may_pass
from evenly.storage.web.rule import Retry
from evenly.storage.web.shards import PENDING_BY, RECORDS, failures_due, is_due, latest_records, read_downloads, url_key
from tests.few_examples import few

from .recorded import record_shards

NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)
OUTCOMES = ("success", "dns", "connection", "timeout", "http_404", "http_429", "http_500", "http_503", "robots")
REASONS = st.lists(st.sampled_from(PASSING), min_size=1, unique=True).map(tuple)
RETRIES = st.builds(Retry, reasons=REASONS, until=st.sampled_from([None, NOW, NOW - timedelta(days=7)]))
RECORDED = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(OUTCOMES), st.integers(-10, 1)), max_size=30
)  # of a URL, what came of it, days from NOW; later ones are later attempts


def records(drawn) -> list[dict]:
    rows, attempts = [], dict[int, int]()
    for number, outcome, days in drawn:
        attempts[number] = attempts.get(number, 0) + 1
        url = f"http://a.test/{number}"
        row = {"url": url, "attempt": attempts[number], "outcome": outcome, "fetched_at": NOW + timedelta(days=days)}
        rows.append(row)
    return rows


def expected(rows: list[dict], retry: Retry) -> dict[str, int]:
    """The number of the next attempt of each URL that is due, as the rule is written."""
    latest = {row["url"]: row for row in rows}
    return {
        url: row["attempt"] + 1
        for url, row in latest.items()
        if any(
            row["outcome"] == word or (word == "http_5xx" and row["outcome"][:6] == "http_5") for word in retry.reasons
        )
        and (retry.until is None or row["fetched_at"] <= retry.until)
    }


@given(drawn=RECORDED, retry=RETRIES, bits=st.integers(0, 3))
def test_what_is_due_follows_from_the_records_and_not_from_the_cut(drawn, retry, bits):
    rows = records(drawn)
    table = pa.Table.from_pylist(rows, pa.schema([RECORDS.field(name) for name in PENDING_BY]))
    pending = {}
    for part in range(1 << bits):
        of_part = [int(url_key(f"http://a.test/{number}")[0], 16) >> (4 - bits) == part for number in range(10)]
        urls = [f"http://a.test/{number}" for number, is_in in enumerate(of_part) if is_in]
        latest = latest_records(table.filter(pa.array([row["url"] in urls for row in rows], pa.bool_())))
        asked = pending_urls(pa.array(urls, pa.string()), latest, retry).to_pylist()
        pending |= {row["url"]: row["first_attempt"] for row in asked}
    new = {f"http://a.test/{number}": 1 for number in range(10)}
    for row in rows:
        new.pop(row["url"], None)
    assert pending == expected(rows, retry) | new


@few(15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=RECORDED, retry=RETRIES, cut=st.integers(1, 4))
def test_failures_that_are_due_are_found_among_all_shards(tmp_path_factory, drawn, retry, cut):
    rows, folder = records(drawn), tmp_path_factory.mktemp("downloads")
    record_shards(folder, [rows[start::cut] for start in range(cut) if rows[start::cut]])
    due = failures_due(folder, retry)
    assert due.column_names == list(PENDING_BY)
    assert {row["url"]: row["attempt"] + 1 for row in due.to_pylist()} == expected(rows, retry)
    latest = read_downloads(folder)
    assert latest.filter(is_due(latest, retry))["url"].to_pylist() == due["url"].to_pylist()


def test_without_a_record_that_may_be_due_no_url_is_read(tmp_path, monkeypatch):
    record_shards(tmp_path, [records([(1, "success", -9), (2, "http_404", -9), (3, "dns", -1)])])
    read = []
    real = failures_due.__globals__["read_shards"]
    monkeypatch.setitem(
        failures_due.__globals__, "read_shards", lambda *given: read.append(tuple(given[2])) or real(*given)
    )
    assert failures_due(tmp_path, Retry(until=NOW - timedelta(days=7))).num_rows == 0
    assert read == [("outcome", "fetched_at")]


def test_nothing_is_due_where_nothing_was_recorded(tmp_path):
    assert failures_due(tmp_path / "none", Retry()).num_rows == 0


@pytest.mark.parametrize("outcome", ["http_500", "http_503", "http_599"])
def test_a_reason_may_stand_for_all_errors_of_a_server(outcome):
    assert may_pass(outcome, ("http_5xx",))
    assert not may_pass(outcome, ("dns", "http_429"))
    assert not may_pass("http_404", ("http_5xx",))
