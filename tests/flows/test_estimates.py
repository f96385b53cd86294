"""What a rebuild would take, from figures of earlier runs or typical ones."""

from dataclasses import replace

import pytest

from evenly.flows.cli.datasets.estimates import (
    LAST_RUN,
    TYPICAL,
    Figures,
    best_figures,
    described,
    estimate_step,
    figures_of,
    shown_row,
    shown_size,
    shown_time,
    sum_estimates,
)
from evenly.storage.step_records import StepRecord
from evenly.tasks.partitioning import Cut

CUT = Cut(rows=2_000_000, bits=4, workers=2, memory=4 * 10**9)
RECORD = StepRecord(
    key="k", name="check_texts", version=1, rule={}, inputs={}, model=None, seed=None, output_hash="h", hashes={},
    columns=(), rows_in=1000, counts={"kept": 400, "dropped": 600, "failed": 0, "merged": 0}, reasons={}, notes={},
    code={}, started="", ended="", flow_run_id=None, work={}, layout={}, seconds=8.0,
)  # fmt: skip


def test_figures_of_the_last_run_are_scaled_by_rows_and_shared_out_to_workers():
    figures = figures_of(RECORD, size=50_000)
    assert figures == Figures(rows=1000, seconds=8.0, size=50_000, kept=0.4, basis=LAST_RUN)
    estimate = estimate_step(figures, 3000, CUT, is_cut=True)
    assert estimate == {"estimated_s": 12.0, "bytes": 150_000, "memory_bytes": CUT.expected, "basis": LAST_RUN}
    whole = estimate_step(figures, 3000, CUT, is_cut=False)
    assert (whole["estimated_s"], whole["memory_bytes"]) == (24.0, None)


def test_a_run_that_took_most_rows_over_does_not_say_how_long_all_of_them_take():
    most = replace(RECORD, work={"computed": 5, "reused": 995})
    assert figures_of(most, size=1).seconds is None
    half = replace(RECORD, work={"computed": 500, "reused": 500})
    assert figures_of(half, size=1).seconds == 16.0
    assert figures_of(replace(RECORD, seconds=None), size=1).seconds is None
    old = replace(RECORD, seconds=None, started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:00:09+00:00")
    assert figures_of(old, size=1).seconds == 9.0


def test_the_largest_timed_run_counts_and_typical_figures_where_there_is_none():
    small, large = (Figures(rows=rows, seconds=1.0, size=1, basis=LAST_RUN) for rows in (10, 1000))
    untimed = Figures(rows=10**6, seconds=None, size=1, basis=LAST_RUN)
    assert best_figures("balance", [small, large, untimed]) == large
    assert best_figures("balance", [untimed]) == TYPICAL["balance"]
    assert best_figures("download", []) is None
    assert estimate_step(None, 10, CUT, is_cut=False) == dict.fromkeys(
        ("estimated_s", "bytes", "memory_bytes", "basis")
    )


def test_a_step_that_judges_no_rows_takes_the_same_for_any_pool():
    assert estimate_step(Figures(rows=0, seconds=4.0, size=7), 10**9, CUT, is_cut=True)["estimated_s"] == 2.0


def row(step, action="unknown", **facts):
    empty = {"why": "", "rows": None, "rows_are": None, "estimated_s": None, "bytes": None, "memory_bytes": None}
    return {"step": step, "action": action, **empty, "basis": None, **facts}


def test_the_sum_leaves_out_what_is_reused_and_names_what_is_not_known():
    timed = {"estimated_s": 60.0, "bytes": 10**9}
    rows = [
        row("collect", "reuse", **timed, basis=LAST_RUN),
        row("check_texts", "compute", **timed, basis=LAST_RUN),
        row("balance", **timed, basis="typical"),
        row("download"),
    ]
    total = sum_estimates(CUT, rows, is_counted=False)
    assert (total["estimated_s"], total["bytes"], total["unknown"]) == (120.0, 2 * 10**9, ["download"])
    basis = "figures from the last run and typical figures"
    assert described(total) == [
        "pool      about 2,000,000 rows (estimated) in 16 partitions, worked on by 2 processes",
        "memory    2.2 GB of 4.0 GB that may be taken",
        f"estimate  2.0 min, 2.0 GB on disk, without 1 step that nothing is known of: {basis}",
        "unknown   how long download would take: not run here yet",
    ]
    assert described(sum_estimates(CUT, rows[:1], is_counted=True))[-1] == "estimate  nothing would run"


def test_a_row_says_where_its_figures_are_from():
    shown = shown_row(row("balance", rows=1500, rows_are="estimated", estimated_s=3.0, bytes=10, basis="typical"))
    assert (shown["rows"], shown["would take"]) == ("~1,500", "3.0 s, 10 bytes (typical)")
    timed = row("balance", rows=1500, rows_are="counted", estimated_s=3.0, bytes=10, basis=LAST_RUN)
    assert (shown_row(timed)["rows"], shown_row(timed)["would take"]) == ("1,500", "3.0 s, 10 bytes")
    assert shown_row(row("download", to_fetch=7))["to fetch"] == 7


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h"), (180_000, "2.1 days")]
)
def test_time_is_in_a_unit_that_people_use(seconds, text):
    assert shown_time(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(999, "999 bytes"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB")])
def test_bytes_are_in_a_unit_that_people_use(size, text):
    assert shown_size(size) == text
