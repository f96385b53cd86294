"""Sources are mixed again: a draw, threshold or verdict that does not follow is found, for a build and a pair."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest

from evenly.audit.checks.mixing import check_mix, replay_mix
from evenly.audit.explanation import PairHistory, StepSight
from evenly.curation.balance.source_mixing import SourceRule, mix_sources
from evenly.curation.decisions import Decisions
from evenly.storage.ledger import Ledger, StepOutput, StepSpec

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SOURCES = ["web"] * 12 + ["books"] * 6 + ["other"] * 2
RULE = {"sources": {"web": {"quota": 5}, "books": {"weight": 0.5}}}


def mixed_build(workspace, *, change=lambda table: table, change_sources=lambda table: table, seed: int | None = 7):
    """A build of two steps, of which the second is stored as `change` says."""
    ledger = Ledger(workspace)
    uids, sources = pa.array([f"{number:032x}" for number in range(len(SOURCES))]), pa.array(SOURCES)
    pairs = Decisions.keep_all(len(uids)).to_table(uids).append_column("source", sources)
    spec = StepSpec(name="collect", version=1, rule={}, inputs={})
    collect = ledger.commit(spec, StepOutput(decisions=pairs), uids=None, started=NOW)
    rules = {name: SourceRule(**rule) for name, rule in RULE["sources"].items()}
    found = mix_sources(uids, sources, rules, seed=7)
    decisions = found.decisions.to_table(uids).append_column("mix_threshold", found.thresholds)
    spec = StepSpec(name="mix_sources", version=1, rule=RULE, inputs={}, seed=seed)
    output = StepOutput(decisions=change(decisions), tables={"sources": change_sources(found.sources)})
    mix = ledger.commit(spec, output, uids=uids, started=NOW)
    records = (collect, mix)
    whole = {"each": lambda _, function: [function(ledger)], "around": lambda _: ledger}
    return SimpleNamespace(ledger=ledger, records=records, step={"mix_sources": mix}.get, **whole)


def with_first(table: pa.Table, column: str, value: object) -> pa.Table:
    values = [value, *table[column].to_pylist()[1:]]
    return table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type))


def test_an_honest_mix_has_no_findings(workspace):
    assert list(check_mix(mixed_build(workspace))) == []


@pytest.mark.parametrize(("column", "value"), [("value", 0.5), ("mix_threshold", 0.5), ("into", None)])
def test_a_column_that_does_not_follow_is_named(workspace, column, value):
    build = mixed_build(workspace, change=lambda table: with_first(table, column, value))
    findings = [(finding.where, finding.what) for finding in check_mix(build)]
    changed = [] if value is None else [("mix_sources", f"{column} differs when the sources are mixed again")]
    assert findings == changed


def test_a_pair_that_was_let_in_or_kept_out_is_found(workspace):
    def turn(table):
        kept = table["verdict"][0].as_py() == "kept"
        return with_first(
            with_first(table, "verdict", "dropped" if kept else "kept"), "reason", "quota" if kept else ""
        )

    wheres = [finding.what.split()[0] for finding in check_mix(mixed_build(workspace, change=turn))]
    assert wheres == ["verdict", "reason"]


def test_a_table_of_sources_that_counts_otherwise_is_found(workspace):
    build = mixed_build(workspace, change_sources=lambda table: with_first(table, "kept", 99))
    (finding,) = check_mix(build)
    assert finding.where == "mix_sources/sources"


def test_a_step_without_a_seed_and_a_build_without_mixing_are_left_alone(workspace):
    assert list(check_mix(mixed_build(workspace, seed=None))) == []
    assert list(check_mix(SimpleNamespace(records=()))) == []


def sight_of(build, row: int) -> tuple[PairHistory, StepSight]:
    uid, (_, record) = f"{row:032x}", build.records
    said = next(one for one in build.ledger.decisions(record).to_pylist() if one["uid"] == uid)
    sight = StepSight(
        step="mix_sources", version=1, verdict=said["verdict"], reason=said["reason"], value=said["value"], rule=RULE,
        notes={}, model=None, seed=record.seed, columns={"mix_threshold": said["mix_threshold"]}, rows={}, twin=None,
        run={},
    )  # fmt: skip
    pair = PairHistory(
        uid=uid, outcome=said["verdict"], step="", reason="", identity={"source": SOURCES[row]}, image=None,
        arrivals=(), steps=(sight,), merged=0, merged_examples=(),
    )  # fmt: skip
    return pair, sight


@pytest.mark.parametrize("row", range(0, len(SOURCES), 3))
def test_every_pair_of_an_honest_mix_replays(workspace, row):
    build = mixed_build(workspace)
    replay = replay_mix(build, *sight_of(build, row))
    assert (replay.label, replay.agrees) == ("recomputed", True)
    ruled = SOURCES[row] != "other"
    assert ("draw made again, threshold" in replay.detail) == ruled
    assert (replay.detail == "its source has no rule") != ruled


@pytest.mark.parametrize(
    "change", [{"value": 0.123}, {"seed": 8}, {"reason": "share"}, {"columns": {"mix_threshold": 0.9}}, {"columns": {}}]
)
def test_a_pair_that_says_something_else_disagrees(workspace, change):
    build = mixed_build(workspace)
    pair, sight = sight_of(build, 0)
    assert replay_mix(build, pair, replace(sight, **change)).agrees is False


def test_a_draw_that_is_missing_disagrees_where_the_source_has_a_rule(workspace):
    build = mixed_build(workspace)
    for row, agrees in ((0, False), (19, True)):
        pair, sight = sight_of(build, row)
        assert replay_mix(build, pair, replace(sight, value=None)).agrees is agrees


def test_without_a_seed_nothing_is_claimed(workspace):
    build = mixed_build(workspace)
    pair, sight = sight_of(build, 0)
    replay = replay_mix(build, pair, replace(sight, seed=None))
    assert (replay.label, replay.agrees) == ("not replayed", None)
