"""Sources are held to their parts by draws that a larger part shares, and every source is told."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.curation.balance.judgement import MIX_SOURCES
from evenly.curation.balance.source_mixing import MixRule, SourceRule
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.run import Run
from evenly.tasks.step import ledger_step
from tests.picture_pool import commit, plain_step
from tests.step_outputs import output_of
from tests.tasks.step_contract import StepContract


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3)


def collected(run, sources):
    uids = pa.array([f"{number:032x}" for number in range(len(sources))], pa.string())
    decisions = Decisions.keep_all(len(sources)).to_table(uids).append_column("source", pa.array(sources, pa.string()))
    step = plain_step("collect", lambda *_: StepOutput(decisions=decisions))
    spec = step.spec(run, [], {"sources": content_hash(sources)})
    return [run.ledger.commit(spec, output_of(step, run, [], {}), uids=None, started=datetime.now(UTC))]


def kept(run, record) -> set[str]:
    return {row["uid"] for row in run.ledger.decisions(record).to_pylist() if row["verdict"] == "kept"}


def mixed(run, sources, **rules):
    return commit(run, ledger_step(MIX_SOURCES), collected(run, sources), {"sources": rules})


SOURCES = ["web"] * 60 + ["books"] * 30 + ["other"] * 10


def test_a_quota_is_kept_exactly_and_a_source_without_a_rule_whole(run):
    record = mixed(run, SOURCES, web={"quota": 7}, books={"weight": 0.5})
    table = {row["source"]: row for row in run.ledger.table(record, "sources").to_pylist()}
    assert (table["web"]["pairs"], table["web"]["limit"], table["web"]["kept"]) == (60, 7, 7)
    assert table.keys() == {"web", "books"}
    by_source = [SOURCES[int(uid, 16)] for uid in kept(run, record)]
    assert by_source.count("other") == 10
    assert by_source.count("books") == table["books"]["kept"]
    assert record.reasons == {"quota": 53, "weight": 30 - table["books"]["kept"]}


def test_a_pair_stays_where_its_draw_is_below_the_threshold_of_its_source(run):
    record = mixed(run, SOURCES, web={"quota": 7}, books={"weight": 0.5})
    for row in run.ledger.decisions(record).to_pylist():
        ruled = SOURCES[int(row["uid"], 16)] != "other"
        assert (row["value"] is not None, row["mix_threshold"] is not None) == (ruled, ruled)
        if ruled:
            assert (row["value"] < row["mix_threshold"]) == (row["verdict"] == "kept")


def test_shares_make_the_largest_mix_and_name_the_source_that_bounds_it(run):
    record = mixed(run, SOURCES, web={"share": 0.5}, books={"share": 0.25}, other={"share": 0.25})
    table = {row["source"]: row["kept"] for row in run.ledger.table(record, "sources").to_pylist()}
    assert table == {"web": 20, "books": 10, "other": 10}
    assert record.notes == {"limiting_source": "other"}
    assert record.reasons == {"share": 60}


@pytest.mark.parametrize(("small", "large"), [({"quota": 5}, {"quota": 6}), ({"weight": 0.2}, {"weight": 0.6})])
def test_a_larger_part_holds_every_smaller_one(run, small, large):
    assert kept(run, mixed(run, SOURCES, web=small)) <= kept(run, mixed(run, SOURCES, web=large))


def test_the_seed_draws_and_a_full_weight_draws_nothing_away(run):
    one, other = (kept(again, mixed(again, SOURCES, web={"quota": 7})) for again in (run, replace(run, seed=4)))
    assert one != other
    assert mixed(run, SOURCES, web={"weight": 1.0}).counts["kept"] == 100
    assert mixed(run, SOURCES, web={"quota": 60}).counts["kept"] == 100


def test_a_row_of_no_source_has_no_rule(run):
    record = mixed(run, ["web", None, "web", ""], web={"quota": 1})
    assert record.counts == {"kept": 3, "dropped": 1, "failed": 0, "merged": 0}


def test_a_share_of_a_source_that_is_not_there_is_refused(run):
    with pytest.raises(RuleError, match="`nowhere` has none left"):
        mixed(run, SOURCES, web={"share": 0.5}, nowhere={"share": 0.5})
    assert mixed(run, SOURCES, nowhere={"quota": 3}).counts["kept"] == 100


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sources=st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=30),
    quota=st.integers(1, 12),
    weight=st.sampled_from([0.01, 0.5, 1.0]),
)
def test_every_row_is_kept_or_dropped_and_the_table_adds_up(run, sources, quota, weight):
    record = mixed(run, sources, a={"quota": quota}, b={"weight": weight})
    table = {row["source"]: row for row in run.ledger.table(record, "sources").to_pylist()}
    assert sum(record.counts.values()) == len(sources)
    assert record.counts["kept"] == table["a"]["kept"] + table["b"]["kept"] + sources.count(None)
    assert table["a"]["kept"] == min(quota, sources.count("a"))
    assert [table[name]["pairs"] for name in "ab"] == [sources.count(name) for name in "ab"]


class TestMixing(StepContract):
    judgement = MIX_SOURCES
    rule = MixRule(sources={"pool": SourceRule(quota=40, weight=0.9)})
    others: ClassVar = [
        MixRule(sources={"pool": SourceRule(quota=50)}),
        MixRule(sources={"pool": SourceRule(weight=0.4)}),
    ]
