"""Balancing matched pools: the fates of a rebuild, however the pool is cut, ordered, spread over threads or resumed."""

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.draws import draw
from evenly.curation.errors import RuleError
from evenly.storage.errors import InputError, NotFoundError, WriterError
from evenly.storage.files.concept_lists import write_concepts
from evenly.storage.matches import matches as pool_matches
from evenly.storage.matches.matches import entries_path
from evenly.storage.matches.stamped import BalancedFile, writing_alone
from evenly.storage.pools.captions import CaptionColumns
from evenly.storage.pools.source import PoolSource
from evenly.tasks.pools import balance as pool_balance
from evenly.tasks.pools.balance import BalanceJob, explain_row
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step

ENTRIES = ["a", "b", "c", "d", "e", "f g", "never"]
QUIET, WORK = Progress(quiet=True), PoolWork(threads=2, quiet=True)
BY_UID, BY_URL = CaptionColumns(caption="text", uid="uid"), CaptionColumns(caption="text", url="url")
RULES = [
    BalanceRule(t=30),
    BalanceRule(t=30, law="v2"),
    BalanceRule(target=150),
    BalanceRule(tail_share=0.3),
]
each_rule = pytest.mark.parametrize("rule", RULES, ids=["t", "v2", "target", "tail_share"])


def captions(n=400, seed=3):
    """Texts that name entry e with a frequency of about 1 / (e + 1), and some that name none."""
    rng = np.random.default_rng(seed)
    words = ["a", "b", "c", "d", "e", "f g", "nothing"]
    weights = 1 / np.arange(1, len(words) + 1)
    return [" ".join(rng.choice(words, rng.integers(1, 4), p=weights / weights.sum())) for _ in range(n)]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(ENTRIES))
    return str(path)


def pool_of(texts):
    """A pool with uids and URLs; its last caption is null."""
    n = len(texts)
    uids, urls = [f"{i:032x}" for i in range(n)], [f"http://x.org/{i}" for i in range(n)]
    return pa.table({"uid": uids, "url": urls, "text": pa.array([*texts[:-1], None], pa.string())})


def match(table, metadata, out, columns=BY_UID, **rule):
    out.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(table, out.parent / f"{out.stem}.pool.parquet")
    pool = str(out.parent / f"{out.stem}.pool.parquet")
    MatchJob(pool=pool, metadata=metadata, out=out, columns=columns, work=WORK, **rule).run()
    return out


def balance(matches, out, rule, *, workers=2, **more):
    return BalanceJob(matches=matches, rule=rule, out=out, work=replace(WORK, threads=workers), **more).run()


@pytest.fixture(scope="module")
def matched(metadata, tmp_path_factory):
    return match(pool_of(captions()), metadata, tmp_path_factory.mktemp("matched") / "m.parquet")


def test_while_another_writes_the_decisions_nobody_else_does(matched, tmp_path):
    out = tmp_path / "b.parquet"
    with writing_alone(out), pytest.raises(WriterError, match=rf"`out` must be .*: process {os.getpid()} on "):
        balance([matched], out, BalanceRule(t=30))
    assert not list(tmp_path.iterdir())
    balance([matched], out, BalanceRule(t=30))
    assert list(tmp_path.iterdir()) == [out]


@each_rule
def test_a_rebuild_and_the_command_give_the_same_fate(workspace, metadata, tmp_path, rule):
    texts = captions()
    match(pool_of(texts), metadata, tmp_path / "m.parquet", columns=BY_URL)
    balance([tmp_path / "m.parquet"], tmp_path / "b.parquet", rule, seed=9)
    source = PoolSource(kind="parquet", path=str(tmp_path / "m.pool.parquet"), caption="text")
    run = Run(workspace=workspace, seed=9, sources=(source,), progress=QUIET)
    matching = {"metadata": metadata, "mode": "faithful", "plurals": False}
    wanted = {"t": rule.t, "target": rule.target, "tail_share": rule.tail_share, "law": rule.law}
    records = ()
    for step, its_rule in (
        (COLLECT, {"limit": None}),
        (MATCH_CONCEPTS, matching),
        (MATCH_AGAIN, matching),
        (BALANCE, wanted),
    ):
        records = (*records, run_step(run, step, records, step.read(its_rule)))
    rows = {row["uid"]: row for row in pq.read_table(tmp_path / "b.parquet").to_pylist()}
    decisions = run.ledger.decisions(records[-1], ["uid", "verdict", "value"]).to_pylist()
    assert len(decisions) > 300
    for decision in decisions:
        assert rows[decision["uid"]]["kept"] == (decision["verdict"] == "kept")
        assert rows[decision["uid"]]["p_keep"] == decision["value"]
    for told in run.ledger.table(records[-1], "draws").to_pylist():
        row = rows[told["uid"]]
        assert row["deciding"] == told["deciding"]
        if told["deciding"] is not None and told["draws"]:
            at = told["entries"].index(told["deciding"]) if rule.law == "v1" else 0
            assert row["draw"] == told["draws"][at]
        else:
            assert row["draw"] is None
    assert sum(row["kept"] for row in rows.values()) == sum(one["verdict"] == "kept" for one in decisions)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    rule=st.sampled_from(RULES),
    cuts=st.sets(st.integers(0, 99), max_size=4),
    backwards=st.booleans(),
    workers=st.integers(1, 3),
    size=st.sampled_from([1, 7, 1 << 18]),
)
def test_shards_their_order_and_workers_change_no_fate(  # noqa: PLR0917 - hypothesis and a fixture
    tmp_path_factory, metadata, rule, cuts, backwards, workers, size
):
    folder, table = tmp_path_factory.mktemp("balance"), pool_of(captions(100))
    rule = BalanceRule(t=9, law=rule.law) if rule.t else rule
    whole = match(table, metadata, folder / "whole.parquet")
    balance([whole], folder / "b.parquet", rule)
    bounds = [0, *sorted(cuts), 100]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_matches, "ROWS", size)
        shards = [
            match(table.slice(start, stop - start), metadata, folder / f"{number}.parquet")
            for number, (start, stop) in enumerate(itertools.pairwise(bounds))
            if stop > start
        ]
    facts = balance(shards[::-1] if backwards else shards, folder / "c.parquet", rule, workers=workers)
    wanted, found = (pq.read_table(folder / name).sort_by("uid") for name in ("b.parquet", "c.parquet"))
    assert found.equals(wanted)
    assert {name: facts[name] for name in ("counts", "languages", "expected", "kept")} == {
        name: BalancedFile.at(folder / "b.parquet").facts[name] for name in ("counts", "languages", "expected", "kept")
    }


def test_every_row_has_a_fate_and_the_numbers_add_up(matched, tmp_path):
    facts = balance([matched], tmp_path / "b.parquet", BalanceRule(t=30))
    rows = pq.read_table(tmp_path / "b.parquet").to_pylist()
    matches = pq.read_table(matched).to_pylist()
    assert [row["uid"] for row in rows] == [row["uid"] for row in matches]
    assert (
        facts["rows"] == len(rows) == facts["kept"] + sum(facts["reasons"].values()) == facts["kept"] + facts["dropped"]
    )
    assert set(facts["reasons"]) == {"balance_draw", "no_concept", "missing_caption"}
    counts = np.bincount([entry for row in matches for entry in row["entries"]], minlength=len(ENTRIES))
    for row, match_ in zip(rows, matches, strict=True):
        assert row["kept"] == (row["reason"] == "")
        p = np.minimum(1, 30 / np.maximum(counts[match_["entries"]], 1))
        assert row["p_keep"] == pytest.approx(1 - np.prod(1 - p) if match_["entries"] else 0)
        drawn = {e: draw(seed=1, step="balance", uid=row["uid"], entry=ENTRIES[e]) for e in match_["entries"]}
        fired = [e for e, p_e in zip(match_["entries"], p, strict=True) if drawn[e] < p_e]
        assert row["kept"] == bool(fired)
        if row["draw"] is not None:
            assert row["deciding"] in fired
            assert row["draw"] == drawn[row["deciding"]] == min(drawn[e] for e in fired)
    assert facts["expected"] == pytest.approx(sum(row["p_keep"] for row in rows), abs=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_target_of_more_matches_than_are_held_is_met_by_reading_them_again(matched, tmp_path, monkeypatch, workers):
    rule = BalanceRule(target=150)
    balance([matched], tmp_path / "held.parquet", rule)
    monkeypatch.setattr(pool_balance, "HELD_BYTES", 0)
    facts = balance([matched], tmp_path / "read.parquet", rule, workers=workers)
    assert facts["expected"] == pytest.approx(150, abs=0.5)
    assert (tmp_path / "read.parquet").read_bytes() == (tmp_path / "held.parquet").read_bytes()


def test_a_target_is_met_in_expectation_and_a_second_run_keeps_what_is_there(matched, tmp_path):
    facts = balance([matched], tmp_path / "b.parquet", BalanceRule(target=150))
    assert facts["expected"] == pytest.approx(150, abs=1e-4)
    before = (tmp_path / "b.parquet").read_bytes()
    assert balance([matched], tmp_path / "b.parquet", BalanceRule(target=150))["reused"]
    with pytest.raises(InputError, match="`out` must not exist"):
        balance([matched], tmp_path / "b.parquet", BalanceRule(target=150), seed=2)
    balance([matched], tmp_path / "b.parquet", BalanceRule(target=150), seed=2, overwrite=True)
    assert (tmp_path / "b.parquet").read_bytes() != before
    balance([matched], tmp_path / "again.parquet", BalanceRule(target=150), workers=1)
    assert (tmp_path / "again.parquet").read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
from evenly.curation.balance.thresholds import BalanceRule
from evenly.tasks.pools import balance
from evenly.tasks.pools.work import PoolWork
summed = balance._summed
def cut(*given):
    for table in summed(*given):
        yield table
        os.kill(os.getpid(), signal.SIGKILL)
balance._summed = cut
matches, out = map(Path, sys.argv[1:])
balance.BalanceJob(matches=[matches], rule=BalanceRule(t=30), out=out, work=PoolWork(threads=2, quiet=True)).run()
"""


def test_a_killed_run_leaves_nothing_and_the_next_gives_the_same_bytes(matched, tmp_path):
    out = tmp_path / "b.parquet"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(matched), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    for path in (out, tmp_path / "again.parquet"):
        balance([matched], path, BalanceRule(t=30))
    assert out.read_bytes() == (tmp_path / "again.parquet").read_bytes()


@each_rule
def test_one_row_is_recomputed_alone(matched, tmp_path, rule):
    out = tmp_path / "b.parquet"
    balance([matched], out, rule)
    for row in pq.read_table(out).to_pylist()[::37]:
        (told,) = explain_row(row["uid"], [matched], out)
        assert told["as_stored"]
        assert {name: told[name] for name in ("p_keep", "kept", "deciding", "draw", "reason")} == {
            name: row[name] for name in ("p_keep", "kept", "deciding", "draw", "reason")
        }
        assert [one["number"] for one in told["entries"] if one["deciding"]] == [row["deciding"]] * row["kept"]
    with pytest.raises(NotFoundError, match="a row must be named `gone`"):
        explain_row("gone", [matched], out)


def test_a_row_that_was_changed_is_told(matched, tmp_path):
    out = tmp_path / "b.parquet"
    balance([matched], out, BalanceRule(t=30))
    table = pq.read_table(out)
    changed = table.set_column(1, "p_keep", pa.array([0.5] * len(table)))
    pq.write_table(changed.replace_schema_metadata({b"evenly.balanced": json.dumps(BalancedFile.at(out).facts)}), out)
    assert not explain_row(f"{0:032x}", [matched], out)[0]["as_stored"]


def test_matches_of_different_lists_modes_or_of_one_pool_twice_are_refused(matched, metadata, tmp_path):
    (tmp_path / "other.txt").write_text("a\nb\n")
    texts = pool_of(captions(50, seed=4))
    other = match(texts, str(tmp_path / "other.txt"), tmp_path / "other.parquet")
    mode = match(texts, metadata, tmp_path / "mode.parquet", mode="normalized")
    for files, told in (([other], "one list"), ([mode], "one mode"), ([matched], "different pools")):
        with pytest.raises(InputError, match=f"matches must be of {told}; got"):
            balance([matched, *files], tmp_path / "b.parquet", BalanceRule(t=30))
    out = tmp_path / "b.parquet"
    balance([matched], out, BalanceRule(t=30))
    with pytest.raises(InputError, match="`matches` must be those that"):
        explain_row("x", [mode], out)


def test_texts_of_entries_come_from_the_list_where_they_do_not_lie_beside(metadata, tmp_path):
    matches = match(pool_of(captions(50)), metadata, tmp_path / "m.parquet")
    balance([matches], tmp_path / "b.parquet", BalanceRule(t=5))
    entries_path(matches).unlink()
    with pytest.raises(InputError, match="Name the list with --entries"):
        balance([matches], tmp_path / "c.parquet", BalanceRule(t=5))
    balance([matches], tmp_path / "c.parquet", BalanceRule(t=5), entries=metadata)
    assert pq.read_table(tmp_path / "c.parquet") == pq.read_table(tmp_path / "b.parquet")
    (tmp_path / "other.txt").write_text("\n".join(reversed(ENTRIES)))
    with pytest.raises(InputError, match="`entries` must be the list of the matches"):
        balance([matches], tmp_path / "d.parquet", BalanceRule(t=5), entries=str(tmp_path / "other.txt"))


def test_a_list_that_was_built_for_one_language_is_matched_and_named_by_it(tmp_path):
    table = pa.table({"entry": ["dog"], "sources": [["list"]], "synsets": pa.array([[]], pa.list_(pa.string()))})
    built = tmp_path / "en.parquet"
    write_concepts(built, table, pa.table({"entry": ["x"]}), {"language": "en"})
    pool = pa.table({"uid": ["a", "b"], "text": ["a dog", "a dog"], "lang": ["en", "fr"]})
    matches = match(
        pool, str(built), tmp_path / "m.parquet", columns=CaptionColumns(caption="text", uid="uid", language="lang")
    )
    assert pq.read_table(matches)["reason"].to_pylist() == ["", "no_list_of_language"]
    entries_path(matches).unlink()
    found = balance([matches], tmp_path / "b.parquet", BalanceRule(t=5), entries=str(built))
    assert found["kept"] == 1


def test_each_language_has_its_own_threshold(tmp_path, metadata):
    (tmp_path / "lists.json").write_text(json.dumps({"en": ["dog", "cat"], "fr": ["chien", "dog"]}))
    rows = [("dog", "en")] * 200 + [("cat", "en")] * 20 + [("chien", "fr")] * 100 + [("dog", "fr")] * 10 + [("x", None)]
    texts, languages = zip(*rows, strict=True)
    table = pa.table({"uid": [str(i) for i in range(len(rows))], "text": texts, "lang": pa.array(languages)})
    columns = CaptionColumns(caption="text", uid="uid", language="lang")
    matches = match(table, str(tmp_path / "lists.json"), tmp_path / "m.parquet", columns=columns)
    rule = BalanceRule(t=50, language="language")
    found = {one["language"]: one for one in balance([matches], tmp_path / "b.parquet", rule)["languages"]}
    assert {name: (one["t"], one["matched"]) for name, one in found.items()} == {
        "": (1, 0),
        "en": (50, 220),
        "fr": (10, 110),
    }
    assert found["en"]["expected"] == 70
    plain = match(table, metadata, tmp_path / "plain.parquet")
    with pytest.raises(RuleError, match="thresholds per language need matches with languages"):
        balance([plain], tmp_path / "c.parquet", rule)
    together = balance([matches], tmp_path / "d.parquet", BalanceRule(t=50))["languages"]
    assert [one["matched"] for one in together] == [330]


@each_rule
def test_a_pool_without_rows_or_matches_is_balanced(tmp_path, metadata, rule):
    for number, texts in enumerate(([], ["nothing", "here"])):
        table = pa.table({"uid": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.string())})
        matches = match(table, metadata, tmp_path / f"{number}.parquet")
        facts = balance([matches], tmp_path / f"{number}.out.parquet", rule)
        assert (facts["rows"], facts["kept"], facts["expected"]) == (len(texts), 0, 0)
        for uid in table["uid"].to_pylist():
            assert explain_row(uid, [matches], tmp_path / f"{number}.out.parquet")[0]["entries"] == []
