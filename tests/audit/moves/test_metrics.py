"""Results of models on two builds: paired where both judged the same test pictures, else beside each other."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.audit.diff import diff_builds
from evenly.storage.ledger import Ledger, StepOutput, StepSpec

NOW = datetime(2026, 11, 24, tzinfo=UTC)
GROUPS = [f"group {number // 2}" for number in range(20)]


def commit(workspace, name, rule, **tables):
    output = StepOutput(tables={key: pa.Table.from_pylist(rows) for key, rows in tables.items()})
    spec = StepSpec(name=name, version=1, rule=rule, inputs={})
    return Ledger(workspace).commit(spec, output, uids=None, started=NOW)


def evaluated(workspace, build, right, *, prefix="u", adapter="gda"):
    """Store an evaluation of one adapter whose answers to test pictures are `right`."""
    uids = [f"{prefix}{number}" for number in range(len(right))]
    rows = [
        {"uid": uid, "name": adapter, "texts": "names", "class": "owl", "predicted": "owl" if good else "ant"}
        for uid, good in zip(uids, right, strict=True)
    ]
    split = [{"uid": uid, "group": group} for uid, group in zip(uids, GROUPS, strict=True)]
    result = {"name": adapter, "texts": "names", "accuracy": float(np.mean(right)), "low": 0.1, "high": 0.9}
    rule = {"build": build["build"], "list": "birds"}
    commit(workspace, "evaluate_adapters", rule, results=[result], predictions=rows, split=split)


@pytest.fixture
def two(build, workspace):
    return workspace, build(), build(min_words=4)


def test_adapters_are_compared_picture_by_picture_with_groups_resampled_whole(two):
    workspace, older, newer = two
    before, after = [number % 2 == 0 for number in range(20)], [number % 3 != 0 for number in range(20)]
    evaluated(workspace, older, before)
    evaluated(workspace, newer, after)
    difference = diff_builds(workspace, older, newer, with_metrics=True)
    (metric,) = difference.metrics
    expected = paired_bootstrap(before, after, seed=newer["seed"], groups=GROUPS)
    assert metric.difference == pytest.approx(list(expected))
    assert (metric.rows, metric.older[0], metric.newer[0]) == (20, 0.5, np.mean(after))
    line = "birds, gda names: accuracy 0.500 [0.100, 0.900] -> 0.650 [0.100, 0.900]; +0.150 ["
    assert line in difference.to_text()
    assert difference.to_dict()["metrics"][0]["difference"] == metric.difference


def test_adapters_that_share_no_test_picture_are_not_paired(two):
    workspace, older, newer = two
    evaluated(workspace, older, [True] * 20)
    evaluated(workspace, newer, [True] * 20, prefix="other")
    (metric,) = diff_builds(workspace, older, newer, with_metrics=True).metrics
    assert metric.difference is None
    assert metric.to_text().endswith("; not paired: no test picture is in both")


def test_an_adapter_of_one_build_alone_is_shown_as_such(two):
    workspace, older, newer = two
    evaluated(workspace, newer, [True] * 20)
    (metric,) = diff_builds(workspace, older, newer, with_metrics=True).metrics
    assert (metric.older, metric.note) == (None, "in one build alone")
    assert metric.to_text().startswith("accuracy none -> 1.000")


def test_retrieval_and_worth_stand_beside_each_other_and_say_that_they_are_not_paired(two):
    workspace, older, newer = two
    for build, value in ((older, 0.25), (newer, 0.5)):
        row = {"direction": "text to picture", "auc": None}
        row |= {f"r_at_{k}{end}": value for k in (1, 10) for end in ("", "_low", "_high")}
        commit(workspace, "measure_retrieval", {"build": build["build"], "pairs": 9, "part": None}, retrieval=[row])
        worth = {"pairs": "without align", "of": "held out", "measure": "R@10", "value": value}
        commit(workspace, "measure_worth", {"build": build["build"]}, worth=[worth])
    metrics = diff_builds(workspace, older, newer, with_metrics=True).metrics
    assert [(one.kind, one.measure) for one in metrics] == [
        ("retrieval", "R@1"),
        ("retrieval", "R@10"),
        ("worth", "R@10"),
    ]
    assert {(one.older[0], one.newer[0], one.difference) for one in metrics} == {(0.25, 0.5, None)}
    assert {one.note for one in metrics} == {"not paired: answers to single queries are not stored"}


def test_builds_without_results_have_no_metrics(two):
    workspace, older, newer = two
    assert diff_builds(workspace, older, newer, with_metrics=True).metrics == []
