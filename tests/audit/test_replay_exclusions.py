"""What replay says of the steps that leave pictures out, where the stored values fit and where they do not."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from evenly.audit.explanation import PairHistory, StepSight
from evenly.audit.replay import replay_step

PAIR = PairHistory(
    uid="a", outcome="kept", step="", reason="", identity={}, image=None, arrivals=(), steps=(), merged=0,
    merged_examples=(),
)  # fmt: skip
LIMITS = {"sets": {"val": "val"}, "perceptual": 16, "semantic": 0.95, "colour": 22.0}
DETECTOR = {"detector": {"threshold": 0.25, "classes": ["X"]}}


def sight(step, rule, *, reason="", columns=(), rows=(), notes=()):
    return StepSight(
        step=step, version=1, verdict="dropped" if reason else "kept", reason=reason, value=None, rule=rule,
        notes=dict(notes), model=None, seed=None, columns=dict(columns), rows=dict(rows), twin=None, run={},
    )  # fmt: skip


def replayed(*arguments, build=None, **options):
    found = replay_step(build, PAIR, sight(*arguments, **options))
    return found.label, found.agrees


@pytest.mark.parametrize(("score", "reason", "agrees"), [(0.25, "unsafe", True), (0.24, "", True), (0.3, "", False)])
def test_a_score_is_held_against_its_threshold(score, reason, agrees):
    columns = {"unsafe_score": score}
    assert replayed("safety", DETECTOR, reason=reason, columns=columns) == ("re-checked", agrees)


@pytest.mark.parametrize("step", ["safety", "block_domains"])
def test_what_a_list_says_is_not_replayed(step):
    assert replayed(step, {"domains": ["d"]}, reason="blocked_domain:0123456789ab") == ("not replayed", None)


@pytest.mark.parametrize(
    ("kind", "distance", "reason", "agrees"),
    [
        ("perceptual", 16.0, "contaminated_perceptual", True),
        ("perceptual", 17.0, "contaminated_perceptual", False),
        ("semantic", 0.95, "contaminated_semantic", True),
        ("semantic", 0.94, "contaminated_semantic", False),
        ("semantic", 0.99, "", False),
    ],
)
def test_matches_are_held_against_the_rule(kind, distance, reason, agrees):
    rows = {"contamination": [{"kind": kind, "distance": distance}]}
    assert replayed("decontaminate", LIMITS, reason=reason, rows=rows) == ("re-checked", agrees)


@pytest.mark.parametrize(("target", "reason", "agrees"), [(3, "", True), (0, "off_target", True), (0, "", False)])
def test_a_cluster_is_looked_up(target, reason, agrees):
    def table(_record, name, columns, where):
        assert name == "clusters"
        return pa.table({"cluster": [3, 4], "target": [0, target]}).filter(where).select(columns)

    build = SimpleNamespace(records=[SimpleNamespace(name="image_based")], ledger=SimpleNamespace(table=table))
    found = replayed("image_based", {}, reason=reason, columns={"cluster": 4}, build=build)
    assert found == ("re-checked", agrees)


def test_a_filter_that_looked_something_up_is_judged_by_its_stored_value():
    rule = {"caption_blocklist": {"file": "gone.txt", "sha256": ""}}
    notes, columns = {"caption_blocklist": "0123456789abcdef"}, {"caption_blocklist_value": 1.0}
    step = sight("check_texts", rule, reason="blocked_words:0123456789ab", columns=columns, notes=notes)
    pair = PairHistory(**PAIR.__dict__ | {"steps": [step]})
    found = replay_step(None, pair, step)
    assert (found.label, found.agrees) == ("recomputed", True)
    assert found.detail == "measured and judged again by 0 filters, judged again by the stored values of 1"
