"""`evenly match` and `evenly balance`: what a person sees, and what a program reads."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "list.txt").write_text("dog\nblack dog\ncat\n\x1b[31mred\n")
    captions = ["a black dog", "a dog", "a cat", None] * 10
    pq.write_table(pa.table({"id": range(40), "text": captions}), tmp_path / "pool.parquet")
    return tmp_path


def match(evenly, folder, *options):
    place = (folder / "pool.parquet", "--metadata", folder / "list.txt", "--out", folder / "matches.parquet")
    return evenly("match", *place, "--caption", "text", "--uid", "id", *options)


def test_match_says_what_it_found(evenly, pool):
    status, printed, _ = match(evenly, pool)
    assert status == 0
    assert "40 rows of 1 files" in printed
    assert "3 named, 1 never" in printed
    status, printed, _ = match(evenly, pool)
    assert "nothing to do" in printed
    status, printed, _ = match(evenly, pool, "--json")
    facts = json.loads(printed)
    assert (facts["rows"], facts["matched"], facts["reasons"]) == (40, 30, {"missing_caption": 10})
    assert facts["reused"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--url", "url"), "evenly: a row must have one name; got `uid` and `url`."),
        (("--caption", "gone"), "evenly: `caption` must name a column of the file; got `gone`"),
        (("--mode", "loose"), "evenly: `mode` must be one of faithful, normalized; got 'loose'."),
    ],
)
def test_what_cannot_be_matched_is_one_line_and_a_usage_error(evenly, pool, options, error):
    status, printed, told = match(evenly, pool, *options)
    assert (status, printed) == (2, "")
    assert told.startswith(error)


def balanced(evenly, folder, *options):
    return evenly("balance", folder / "matches.parquet", "--out", folder / "balanced.parquet", *options)


def test_balance_says_what_stays_and_explains_a_row(evenly, pool):
    match(evenly, pool)
    status, printed, _ = balanced(evenly, pool, "--t", "5")
    assert status == 0
    assert "balance_draw" in printed
    status, printed, _ = balanced(evenly, pool, "--t", "5", "--json")
    facts = json.loads(printed)
    assert facts["reused"]
    assert (facts["rows"], facts["seed"], facts["languages"][0]["t"]) == (40, 1, 5)
    status, printed, _ = balanced(evenly, pool, "--replay", "0")
    assert status == 0
    assert "black dog" in printed
    assert "the same" in printed
    status, printed, _ = balanced(evenly, pool, "--replay", "3", "--json")
    assert json.loads(printed)[0]["reason"] == "missing_caption"
    status, _, told = balanced(evenly, pool, "--replay", "99")
    assert status == 1
    assert told.startswith("evenly: a row must be named `99`")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((), "evenly: balance needs exactly one of t, tail_share, target; got none."),
        (("--t", "-1"), "evenly: `t` must be above 0 and finite; got -1.0."),
        (("--t", "inf"), "evenly: `t` must be above 0 and finite; got inf. Correct it: large ones keep all."),
        (("--t", "5", "--law", "v3"), "evenly: `law` must be one of v1, v2; got 'v3'."),
        (("--t", "5", "--per-language"), "evenly: thresholds per language need matches with languages."),
    ],
)
def test_what_cannot_be_balanced_is_one_line_and_a_usage_error(evenly, pool, options, error):
    match(evenly, pool)
    status, printed, told = balanced(evenly, pool, *options)
    assert (status, printed) == (2, "")
    assert told.startswith(error)
