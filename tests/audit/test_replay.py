from dataclasses import replace

import pytest

from evenly.audit.published import PublishedBuild
from evenly.audit.replay import replay_step
from evenly.audit.why import explain
from tests.audit.outcomes import outcomes


def replays(explanation) -> dict[str, tuple[str, bool | None]]:
    (pair,) = explanation.pairs
    return {sight.step: (sight.replay.label, sight.replay.agrees) for sight in pair.steps}


def test_each_step_says_how_it_was_replayed(published):
    kept = next(row["uid"] for row in outcomes(PublishedBuild(*published)) if not row["step"])
    assert replays(explain(*published, kept, replay=True)) == {
        "collect": ("recomputed", True),
        "check_texts": ("recomputed", True),
        "match_concepts": ("recomputed", True),
        "preselect": ("recomputed", True),
        "download": ("observed", None),
        "check_images": ("recomputed", True),
        "deduplicate_exact": ("re-checked", True),
        "deduplicate_perceptual": ("re-checked", True),
        "recaption": ("recomputed", True),
        "align": ("re-checked", True),
        "match_again": ("recomputed", True),
        "balance": ("recomputed", True),
    }


@pytest.mark.parametrize(
    ("asked", "step"),
    [
        ("http://near.test/fox2.png", "deduplicate_perceptual"),
        ("http://copy.test/fox1.png", "deduplicate_exact"),
        ("http://p.test/fox1.png", "deduplicate_exact"),
    ],
)
def test_a_merge_is_checked_again_from_the_twin(published, asked, step):
    (pair,) = explain(*published, asked, replay=True).pairs
    if pair.outcome == "merged":
        assert (pair.step, pair.steps[-1].replay.label, pair.steps[-1].replay.agrees) == (step, "re-checked", True)


def test_every_pair_of_an_honest_build_agrees(published):
    for uid in PublishedBuild(*published).samples(["uid"])["uid"].to_pylist():
        explanation = explain(*published, uid, replay=True)
        assert explanation.agrees, explanation.to_text()


def test_without_replay_nothing_is_claimed(published):
    (pair,) = explain(*published, "http://near.test/fox2.png").pairs
    assert {sight.replay for sight in pair.steps} == {None}


@pytest.mark.parametrize(
    "balance",
    [
        {"law": "v2"},
        pytest.param({"texts": "one_per_image"}, marks=pytest.mark.slow),
        {"language": "group", "reference": "g0"},
        pytest.param({"tail_share": 0.5}, marks=pytest.mark.slow),  # another t, found before anything is drawn
        pytest.param({"target": 9}, marks=pytest.mark.slow),
    ],
)
def test_each_way_to_balance_is_replayed(shared_build, shared, balance):
    published = shared, shared_build(balance=balance)
    for uid in PublishedBuild(*published).samples(["uid"])["uid"].to_pylist()[::3]:
        explanation = explain(*published, uid, replay=True)
        assert explanation.agrees, explanation.to_text()


def test_the_pick_of_one_text_is_told_with_its_draw_and_replayed(shared_build, shared):
    published = shared, shared_build(balance={"texts": "one_per_image"})
    pairs = explain(*published, "http://p.test/fox0.png", replay=True).pairs
    steps = [next(sight for sight in pair.steps if sight.step == "preselect") for pair in pairs]
    picks = [sight.rows["texts"][0] for sight in steps]
    assert sorted(pick["chosen"] for pick in picks) == [False, True]
    assert min(picks, key=lambda pick: pick["draw"])["chosen"]
    assert [sight.reason for sight, pick in zip(steps, picks, strict=True) if not pick["chosen"]] == ["other_text"]
    assert [pick["texts"] for pick in picks] == [2, 2]


@pytest.mark.parametrize("changed", [{"rule": {"filter_of_another_time": {}}}, {"name": "new_step"}])
def test_a_step_that_this_code_does_not_know_is_not_replayed(published, changed):
    build = PublishedBuild(*published)
    uid, record = build.samples(["uid"])["uid"][0].as_py(), build.step("check_texts")
    strange = replace(record, **changed)
    build.records = tuple(strange if one is record else one for one in build.records)
    replay = replay_step(build, uid, strange)
    assert (replay.label, replay.agrees) == ("not replayed", None)
