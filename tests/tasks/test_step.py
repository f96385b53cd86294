"""A step is found by its key, observes before its key is made, and stops the run where nothing is left."""

from dataclasses import replace

import pyarrow as pa
import pytest

from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.decisions import Decisions
from evenly.storage.errors import DamagedError
from evenly.storage.ledger import StepOutput
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.run import Run
from evenly.tasks.step import NothingLeftError, Step, record_step


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3, progress=Progress(quiet=True))


def counted(calls: list[str], reason: str = "") -> Step:
    def compute(_run, _before, _rule) -> StepOutput:
        calls.append("compute")
        return StepOutput(decisions=Decisions.of(reason=[reason, reason]).to_table(pa.array(["a", "b"])))

    return Step(name="collect", rule=dict, stored=dict, load=dict, compute=compute)


def test_a_finished_step_is_not_computed_again(run):
    calls: list[str] = []
    step = counted(calls)
    first = record_step(run, step, (), {"x": 1})
    assert record_step(run, step, (), {"x": 1}) == first
    assert calls == ["compute"]


def test_another_rule_version_or_input_is_computed(run):
    calls: list[str] = []
    step = counted(calls)
    record_step(run, step, (), {"x": 1})
    record_step(run, step, (), {"x": 2})
    record_step(run, replace(step, version=2), (), {"x": 1})
    record_step(run, replace(step, inputs=lambda *_: {"file": "1"}), (), {"x": 1})
    assert len(calls) == 4


def test_the_seed_matters_to_steps_that_draw_only(run):
    calls: list[str] = []
    step = counted(calls)
    other = replace(run, seed=4)
    record_step(run, step, (), {})
    record_step(other, step, (), {})
    assert len(calls) == 1
    record_step(run, replace(step, seeded=True), (), {})
    record_step(other, replace(step, seeded=True), (), {})
    assert len(calls) == 3


def test_what_is_observed_decides_the_key(run):
    seen: list[int] = []
    calls: list[str] = []
    step = replace(
        counted(calls), observe=lambda *_: seen.append(len(seen)), inputs=lambda *_: {"observed": str(len(seen))}
    )
    record_step(run, step, (), {})
    record_step(run, step, (), {})
    assert len(calls) == 2


def test_a_step_that_keeps_nothing_ends_the_run_and_says_why(run):
    with pytest.raises(NothingLeftError, match=r"kept none of 2: .*low_score 2"):
        record_step(run, counted([], "low_score"), (), {})


def test_a_rule_is_read_back_as_it_was_stored():
    rule = BalanceRule(t=5, language="lang", headroom=3)
    assert PRESELECT.read(PRESELECT.stored(rule)) == rule
    assert BALANCE.read(BALANCE.stored(rule)) == replace(rule, headroom=1.0)


@pytest.mark.parametrize("stored", [{"t": 40, "low": "v1"}, {"t": -1}, {"t": "many"}, {}])
def test_a_stored_rule_that_this_version_does_not_know_is_refused(stored):
    with pytest.raises(DamagedError, match="the rule of step `balance` must be one that this version knows"):
        BALANCE.read(stored)
