"""A step is found by its key, observes before its key is made, and stops the run where nothing is left."""

from dataclasses import replace

import pyarrow as pa
import pytest

from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.decisions import Decisions
from evenly.storage.errors import ConservationError, DamagedError
from evenly.storage.ledger import StepOutput
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import NothingLeftError, Step, check_ready, summarise_record
from tests.picture_pool import plain_step


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3, progress=Progress(quiet=True))


def counted(calls: list[str], reason: str = "") -> Step:
    def compute(_run, _before, _rule) -> StepOutput:
        calls.append("compute")
        return StepOutput(decisions=Decisions.of(reason=[reason, reason]).to_table(pa.array(["a", "b"])))

    return plain_step("collect", compute)


def test_a_finished_step_is_not_computed_again(run):
    calls: list[str] = []
    step = counted(calls)
    first = run_step(run, step, (), {"x": 1})
    assert run_step(run, step, (), {"x": 1}) == first
    assert calls == ["compute"]


def test_another_rule_version_or_input_is_computed(run):
    calls: list[str] = []
    step = counted(calls)
    run_step(run, step, (), {"x": 1})
    run_step(run, step, (), {"x": 2})
    run_step(run, replace(step, version=2), (), {"x": 1})
    run_step(run, replace(step, inputs=lambda *_: {"file": "1"}), (), {"x": 1})
    assert len(calls) == 4


def test_the_seed_matters_to_steps_that_draw_only(run):
    calls: list[str] = []
    step = counted(calls)
    other = replace(run, seed=4)
    run_step(run, step, (), {})
    run_step(other, step, (), {})
    assert len(calls) == 1
    run_step(run, replace(step, seeded=True), (), {})
    run_step(other, replace(step, seeded=True), (), {})
    assert len(calls) == 3


def test_what_is_observed_decides_the_key(run):
    seen: list[int] = []
    calls: list[str] = []
    step = replace(
        counted(calls), observe=lambda *_: seen.append(len(seen)), inputs=lambda *_: {"observed": str(len(seen))}
    )
    for _ in range(2):
        run_step(run, step, (), {})
    assert (calls, seen) == (["compute"], [0])
    seen.append(1)
    run_step(run, step, (), {})
    assert len(calls) == 2


def test_a_step_that_keeps_nothing_ends_the_run_and_says_why(run):
    with pytest.raises(NothingLeftError, match=r"kept none of 2: .*low_score 2"):
        run_step(run, counted([], "low_score"), (), {})


def test_a_rule_is_read_back_as_it_was_stored():
    rule = BalanceRule(t=5, language="lang", headroom=3)
    assert PRESELECT.read(PRESELECT.stored(rule)) == rule
    assert BALANCE.read(BALANCE.stored(rule)) == replace(rule, headroom=1.0)


@pytest.mark.parametrize("stored", [{"t": 40, "low": "v1"}, {"t": -1}, {"t": "many"}, {}])
def test_a_stored_rule_that_this_version_does_not_know_is_refused(stored):
    with pytest.raises(DamagedError, match="the rule of step `balance` must be one that this version knows"):
        BALANCE.read(stored)


def test_a_step_that_keeps_nothing_is_recorded_and_ends_the_next_run_too(run):
    calls: list[str] = []
    step = counted(calls, "low_score")
    for _ in range(2):
        with pytest.raises(NothingLeftError, match=r"Nothing was published\. Look at its reasons"):
            run_step(run, step, (), {})
    assert calls == ["compute"]


def test_a_step_that_judges_no_rows_ends_nothing(run):
    bare = plain_step("count", lambda *_: StepOutput(tables={"counts": pa.table({"count": [1]})}))
    record = run_step(run, bare, (run_step(run, counted([]), (), {}),), {})
    assert (record.rows_in, record.counts, record.reasons) == (0, {}, {})


def test_a_step_that_fails_leaves_no_record_and_is_computed_by_the_next_run(run):
    calls: list[str] = []
    step = counted(calls)

    def fail(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_step(run, replace(step, judge=fail), (), {})
    assert not list(run.workspace.root.rglob("*.json"))
    assert run_step(run, step, (), {}).counts["kept"] == 2
    assert calls == ["compute"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.slice(1), "one verdict for each of its 2 input rows, in uid order; got 1 rows"),
        (lambda table: table.take([1, 0]), "in uid order; got 2 rows"),
        (lambda table: pa.concat_tables([table, table.slice(1)]), "got 3 rows"),
        (lambda table: table.set_column(0, "uid", pa.array(["a", "c"])), "got 2 rows"),
        (lambda table: table.set_column(1, "verdict", pa.array(["kept", "lost"])), r"one of .*; got \['lost'\]"),
        (lambda table: table.set_column(1, "verdict", pa.array(["kept", "dropped"])), "1 rows without a reason"),
    ],
    ids=["lost", "other order", "doubled", "invented", "unknown verdict", "no reason"],
)
def test_a_step_that_does_not_account_for_every_row_is_refused(run, change, words):
    first = run_step(run, counted([]), (), {})
    decisions = Decisions.of(reason=["", ""]).to_table(pa.array(["a", "b"]))
    wrong = plain_step("wrong", lambda *_: StepOutput(decisions=change(decisions)))
    with pytest.raises(ConservationError, match=words):
        run_step(run, wrong, (first,), {})
    assert run.ledger.find(wrong.spec(run, (first,), {}).key) is None


def test_of_two_runs_at_once_the_first_record_stands(run):
    seconds: list[int] = []

    def slow(inner, before, rule):
        if not seconds:
            seconds.append(1)
            run_step(inner, plain_step("collect", slow), before, rule)  # another process, in between
        value = float(len(seconds))
        seconds.append(2)
        return StepOutput(decisions=Decisions.of(reason=["", ""], value=[value, value]).to_table(pa.array(["a", "b"])))

    record = run_step(run, plain_step("collect", slow), (), {})
    assert run.ledger.decisions(record)["value"].to_pylist() == [1.0, 1.0]
    assert len(run.ledger.records("collect")) == 1


def test_what_a_step_needs_is_asked_for_before_any_step_runs(run):
    asked: list[str] = []

    def ask(name):
        def ready(_run, rule):
            asked.append(f"{name} {rule['x']}")
            if name == "second":
                raise FileNotFoundError(name)

        return ready

    steps = [(replace(counted([]), ready=ask(name)), {"x": at}) for at, name in enumerate(("first", "second", "third"))]
    with pytest.raises(FileNotFoundError, match="second"):
        check_ready(run, steps)
    assert asked == ["first 0", "second 1"]


def test_a_step_says_how_many_of_what_in_one_line(run, capsys):
    loud = replace(run, progress=Progress())
    reasons = ["", "too_short", "too_short"]
    decisions = Decisions.of(reason=[*reasons, "http_404"], failed=[False, False, False, True])
    uids = pa.array(["a", "b", "c", "d"])
    step = plain_step("collect", lambda *_: StepOutput(decisions=decisions.to_table(uids)))
    record = run_step(loud, step, (), {})
    run_step(loud, step, (), {})
    computed, reused = capsys.readouterr().err.splitlines()
    assert summarise_record(record) == "2 dropped, 1 failed, 1 kept (http_404 1, too_short 2)"
    assert computed.split(maxsplit=3)[0::3] == ["collect", summarise_record(record)]
    assert reused.split(maxsplit=2) == ["collect", "reused", summarise_record(record)]


def test_verdicts_that_nothing_had_are_left_out_of_the_line_but_for_kept(run):
    first = run_step(run, counted([]), (), {})
    assert summarise_record(first) == "2 kept"
    decisions = Decisions.of(reason=["x", "x"]).to_table(pa.array(["a", "b"]))
    gone = plain_step("gone", lambda *_: StepOutput(decisions=decisions))
    with pytest.raises(NothingLeftError, match=r"it kept none of 2: 2 dropped, 0 kept \(x 2\)"):
        run_step(run, gone, (first,), {})


def test_a_rule_in_another_order_is_the_same_rule(run):
    calls: list[str] = []
    step = counted(calls)
    one = run_step(run, step, (), {"x": 1, "y": {"a": 1, "b": [1, 2]}})
    assert run_step(run, step, (), {"y": {"b": [1, 2], "a": 1}, "x": 1}) == one
    run_step(run, step, (), {"x": 1, "y": {"a": 1, "b": [2, 1]}})
    assert len(calls) == 2
