"""Every step by what it says of itself: asked, replayed, verified, and seen where what it stored is changed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import typer

from evenly.audit.published import PublishedBuild
from evenly.audit.replay import replay_step
from evenly.curation.steps import STEPS
from evenly.flows.cli.audit.audit import COMMANDS
from evenly.flows.recipe.steps import KNOWN_STEPS
from tests.tasks.step_contract import findings, flipped, rewrite, steps_with_contract, with_row
from tests.tasks.whole_rebuild import STEPS as RUN

DOCS = Path(__file__).parents[2] / "docs"
REJUDGED = [step.name for step in RUN if step.name in STEPS and STEPS[step.name].rejudge is not None]
NO_VERDICTS = {"count_concepts"}
"""Steps that judge no pairs."""
ELSEWHERE = {"deduplicate_semantic", "deduplicate_linked", "rank", "image_based", "find_regions"}
"""Steps that the small rebuild does not have."""


def test_each_step_of_a_recipe_says_what_it_asks_and_no_other_does():
    steps = {step.name: step for step in KNOWN_STEPS}
    assert set(STEPS) == steps.keys() - NO_VERDICTS
    assert [
        name for name, step in STEPS.items() if not (step.question[:1].isupper() and step.question.endswith("?"))
    ] == []
    assert [name for name, step in STEPS.items() if (step.rejudge is None) != bool(step.observed)] == []
    drawing = {name for name, step in steps.items() if step.seeded}
    assert {name for name, step in STEPS.items() if step.seeded} == drawing


def test_each_step_that_is_judged_again_is_tried_here():
    judged_again = {name for name, step in STEPS.items() if step.rejudge is not None}
    assert judged_again - set(REJUDGED) - steps_with_contract() == ELSEWHERE


def test_each_step_stands_in_the_docs_with_what_it_asks():
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    assert [name for name, step in STEPS.items() if f"| `{name}` | {step.question} | {step.label}" not in text] == []


def test_an_honest_build_judged_again_says_the_same(rebuilt):
    assert findings(rebuilt.run.workspace, rebuilt.manifest) == set()


@pytest.mark.parametrize("name", REJUDGED)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "gone"])
def test_a_flipped_verdict_is_seen_by_verify_and_by_why(copied, name, kept):
    copy = copied()
    ledger, record = copy.run.ledger, copy.record(name)
    table = ledger.decisions(record)
    rows = np.flatnonzero(pc.equal(pc.equal(table["verdict"], "kept"), kept).to_numpy())
    if not len(rows):
        assert not kept or name == "collect"
        return
    rewrite(ledger, record, "decisions", lambda table: flipped(table, rows[0]))
    assert name in findings(copy.run.workspace, copy.manifest)
    build = PublishedBuild(copy.run.workspace, copy.manifest)
    assert replay_step(build, table["uid"][rows[0]].as_py(), record).agrees is False


def test_a_command_whose_replay_differs_ends_with_status_1(copied, capsys):
    copy = copied()
    record, root = copy.record("match_concepts"), str(copy.run.workspace.root)
    uid = copy.run.ledger.decisions(record)["uid"][0].as_py()
    asked = {"sample": uid, "build": copy.manifest["build"], "root": root, "replay": True}
    COMMANDS["why"](**asked)
    rewrite(copy.run.ledger, record, "decisions", lambda table: flipped(table, 0))
    with pytest.raises(typer.Exit) as ended:
        COMMANDS["why"](**asked)
    assert ended.value.exit_code == 1
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mix_sources", "match_concepts", "preselect", "recaption", "match_again", "balance"])
def test_a_value_that_is_off_by_a_billionth_is_seen(copied, name):
    copy = copied()
    record = copy.record(name)
    value = copy.run.ledger.decisions(record)["value"][0].as_py()
    rewrite(copy.run.ledger, record, "decisions", lambda table: with_row(table, 0, value=value + 1e-9))
    assert findings(copy.run.workspace, copy.manifest) >= {name}


TABLES = ("match_concepts/matches", "preselect/draws", "balance/draws", "balance/counts", "balance/thresholds")


@pytest.mark.parametrize("place", [*TABLES, "mix_sources/sources", "match_again/matches"])
def test_a_row_that_is_missing_in_a_table_of_a_step_is_seen(copied, place):
    copy, (name, table) = copied(), place.split("/")
    rewrite(copy.run.ledger, copy.record(name), table, lambda rows: rows.slice(1))
    assert place in findings(copy.run.workspace, copy.manifest)


@pytest.mark.parametrize("name", ["mix_sources", "preselect", "balance", "align"])
def test_every_pair_is_judged_again_by_what_was_stored_of_all(rebuilt, monkeypatch, name):
    """A source is cut at a pair: of that pair alone all are ranked again."""
    build, record, passes = PublishedBuild(rebuilt.run.workspace, rebuilt.manifest), rebuilt.record(name), []
    each = PublishedBuild.each
    monkeypatch.setattr(PublishedBuild, "each", lambda *arguments: passes.append(1) or each(*arguments))
    uids = rebuilt.run.ledger.decisions(record)["uid"].to_pylist()
    assert [uid for uid in uids if not replay_step(build, uid, record).agrees] == []
    cut = sum(rule["quota"] is not None for rule in record.rule["sources"].values()) if name == "mix_sources" else 0
    assert len(passes) <= 2 * cut


@pytest.mark.parametrize(
    ("name", "column"),
    [("check_texts", "caption"), ("check_images", "width"), ("check_images", "height")],
)
def test_a_column_that_a_step_reads_is_needed_for_its_verdict(rebuilt, monkeypatch, name, column):
    judgement, record = STEPS[name], rebuilt.record(name)
    build = PublishedBuild(rebuilt.run.workspace, rebuilt.manifest)
    upstream, rule = build.records[: build.records.index(record)], judgement.stored_rule(record.rule)
    fewer = [read for read in judgement.reads(upstream, rule) if read != column]
    assert len(fewer) < len(judgement.reads(upstream, rule))
    monkeypatch.setitem(STEPS, name, replace(judgement, reads=lambda *_: fewer))
    uid = rebuilt.run.ledger.decisions(record)["uid"][0].as_py()
    assert replay_step(build, uid, record).label == "not replayed"


def test_a_step_of_another_time_is_not_replayed(rebuilt, monkeypatch):
    build, record = PublishedBuild(rebuilt.run.workspace, rebuilt.manifest), rebuilt.record("check_texts")
    uid = rebuilt.run.ledger.decisions(record)["uid"][0].as_py()
    others = {name: judgement for name, judgement in STEPS.items() if name != "check_texts"}
    monkeypatch.setattr("evenly.audit.replay.STEPS", others)
    assert replay_step(build, uid, record).label == "not replayed"
