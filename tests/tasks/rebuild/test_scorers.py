"""A scorer of one's own is run from the bytes that were hashed, in a process that it cannot take others with."""

import json
from dataclasses import replace

import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.rule import ScorersRule, Value, ValuesRule
from evenly.storage.errors import InputError
from evenly.storage.files.code import allowing_code
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild import scorers
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.rebuild.scorers import SCORE_PAIRS, read_scorers
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import check_ready, ledger_step

SCORERS = """
import my_unit

def length(rows):
    print("heard by nobody")
    return [len(caption) * my_unit.UNIT for caption in rows["caption"].to_pylist()]

def last_digit(rows):
    for caption in rows["caption"].to_pylist():
        if caption.endswith("3"):
            raise ValueError("three is <b>out</b>\\nand more")
    return [float(count) for count in rows["count"].to_pylist()]

def stays(rows):
    return [float(count) for count in rows["count"].to_pylist()]

def killed_once(rows):
    import os, signal
    try:
        os.remove(MARK)
    except FileNotFoundError:
        return stays(rows)
    os.kill(os.getpid(), signal.SIGKILL)

def ends(rows):
    import os
    os._exit(3)
"""


def run_of(root, values, *, bits=0, pairs=40):
    """A run over a small pool, with its scorers read."""
    root.mkdir(exist_ok=True)
    (root / "my_scorers.py").write_text(SCORERS + f"MARK = {str(root / 'mark')!r}\n")
    (root / "my_unit.py").write_text("UNIT = 0.5\n")
    pool = root / f"pool-{pairs}.jsonl"
    lines = [{"caption": f"number {n}", "url": f"https://a.test/{n}.png", "count": n} for n in range(pairs)]
    pool.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = PoolSource(kind="jsonl", path=str(pool), name="pool")
    workspace = Workspace.at(root / "workspace")
    run = Run(workspace=workspace, seed=1, folder=root, sources=(source,), progress=Progress(quiet=True), bits=bits)
    with allowing_code(root):
        return replace(run, scorers=read_scorers(run, values))


def scored(run, values):
    """The records of what collects, scores and keeps."""
    steps = [
        (SCORE_PAIRS, ScorersRule.at("pairs", values)),
        (ledger_step(VALUES["pairs"]), ValuesRule.at("pairs", values)),
    ]
    check_ready(run, steps)
    return list(run_steps(run, [(COLLECT, CollectRule(limit=None)), *steps], InProcess(run=run)))


def value(function, **fields):
    fields = {"reads": ("caption", "count"), "imports": ("my_unit.py",), "min": 4.5} | fields
    return {"mine": Value(python=f"my_scorers.py:{function}", **fields)}


def test_a_scorer_gives_a_column_by_which_pairs_are_kept(tmp_path, capfd):
    run = run_of(tmp_path / "a", value("length"))
    *_, record = scored(run, value("length"))
    assert record.reasons == {"low_mine": 10}
    assert capfd.readouterr().out == ""


def test_rows_on_which_it_fails_fail_alone_and_say_why_in_any_number_of_partitions(tmp_path):
    tables = []
    for bits in (0, 2):
        run = run_of(tmp_path / str(bits), value("last_digit"), bits=bits)
        _, record, _ = scored(run, value("last_digit"))
        assert record.reasons == {"scorer_error": 4}
        table = run.ledger.decisions(record)
        tables.append(table.select(["uid", "verdict", "reason", "mine", "mine_error"]).sort_by("uid"))
    assert tables[0].equals(tables[1])
    assert tables[0]["mine_error"].drop_null().unique().to_pylist() == ["ValueError: three is <b>out</b>"]


def test_after_a_small_change_new_rows_alone_are_scored_and_another_bound_scores_none(tmp_path):
    values = value("length")
    scored(run_of(tmp_path / "a", values), values)
    _, record, _ = scored(run_of(tmp_path / "a", values, pairs=42), values)
    assert record.work == {"computed": 2, "reused": 40}
    again = value("length", min=0.0)
    _, same, kept = scored(run_of(tmp_path / "a", again, pairs=42), again)
    assert (same.key, kept.reasons) == (record.key, {})


def test_code_that_has_scored_before_is_not_loaded_while_nothing_is_to_be_scored(tmp_path, monkeypatch):
    values = value("length")
    scored(run_of(tmp_path / "a", values), values)
    monkeypatch.setattr(scorers, "worker_pool", None)
    assert scored(run_of(tmp_path / "a", values), values)[-1].reasons == {"low_mine": 10}


def test_a_scorer_that_ends_its_process_ends_the_run_in_words(tmp_path):
    with pytest.raises(RuleError, match="its process ended"):
        scored(run_of(tmp_path / "a", value("ends")), value("ends"))


def test_a_scorer_that_somebody_kills_once_is_asked_again(tmp_path):
    run = run_of(tmp_path / "a", value("killed_once"))
    (tmp_path / "a" / "mark").touch()
    assert scored(run, value("killed_once"))[-1].reasons == {"low_mine": 5}
    assert not (tmp_path / "a" / "mark").exists()


def test_what_it_imports_is_declared_and_there_before_the_first_step(tmp_path):
    for values, message in (
        (value("length", imports=()), "No module named 'my_unit'"),
        (value("absent"), "must have a function absent"),
    ):
        with pytest.raises(InputError, match=message):
            scored(run_of(tmp_path / "a", values), values)


def test_modules_that_take_longer_to_load_than_a_batch_may_end_the_run(tmp_path):
    values = value("stays", timeout_s=1.0, imports=("my_unit.py", "my_model.py"))
    tmp_path.joinpath("a").mkdir()
    (tmp_path / "a" / "my_model.py").write_text("import time\ntime.sleep(30)\n")
    run = run_of(tmp_path / "a", values)
    scorer = run.scorers["mine"]
    slow = replace(scorer, sources=scorer.sources | {"my_unit": b"import my_model"})
    with pytest.raises(InputError, match=r"must load; no answer within 1 s.* a longer `timeout_s`"):
        scored(replace(run, scorers={"mine": slow}), values)
