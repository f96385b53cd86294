from dataclasses import replace

import pytest

from evenly.audit.published import PublishedBuild
from evenly.audit.replay import replay_step
from evenly.audit.why import explain


def replays(explanation) -> dict[str, tuple[str, bool | None]]:
    (pair,) = explanation.pairs
    return {sight.step: (sight.replay.label, sight.replay.agrees) for sight in pair.steps}


def test_each_step_says_how_it_was_replayed(published):
    kept = next(row["uid"] for row in PublishedBuild(*published).outcomes().to_pylist() if not row["step"])
    assert replays(explain(*published, kept, replay=True)) == {
        "collect": ("recomputed", True),
        "check_texts": ("recomputed", True),
        "match_concepts": ("recomputed", True),
        "preselect": ("recomputed", True),
        "download": ("observed", None),
        "check_images": ("recomputed", True),
        "deduplicate_exact": ("not replayed", None),
        "deduplicate_perceptual": ("not replayed", None),
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


def test_a_step_that_this_code_cannot_compute_is_not_replayed(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "check_texts")
    strange = replace(sight, rule={"filter_of_another_time": {}})
    replay = replay_step(PublishedBuild(*published), pair, strange)
    assert (replay.label, replay.agrees) == ("not replayed", None)
    assert replay_step(PublishedBuild(*published), pair, replace(sight, step="new_step")).label == "not replayed"


def test_every_pair_of_an_honest_build_agrees(published):
    for uid in PublishedBuild(*published).samples(["uid"])["uid"].to_pylist():
        explanation = explain(*published, uid, replay=True)
        assert explanation.agrees, explanation.to_text()


def test_without_replay_nothing_is_claimed(published):
    (pair,) = explain(*published, "http://near.test/fox2.png").pairs
    assert {sight.replay for sight in pair.steps} == {None}


def sight_of(published, asked: str, step: str):
    (pair,) = explain(*published, asked).pairs
    return pair, next(sight for sight in pair.steps if sight.step == step)


def disagrees(published, pair, sight) -> bool:
    return replay_step(PublishedBuild(*published), pair, sight).agrees is False


def test_a_draw_that_was_tampered_with_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/flag0.png", "preselect")
    for change in ({"draw": 0.123}, {"draw": None}, {"entry": "cat"}):
        draws = [row | change for row in sight.rows["draws"]]
        assert disagrees(published, pair, replace(sight, rows={"draws": draws}))


@pytest.mark.parametrize(
    "change", [{"verdict": "failed"}, {"reason": "other_text"}, {"value": 0.01}, {"seed": 99}, {"rule": {"t": 1.0}}]
)
def test_a_draw_step_that_says_something_else_disagrees(published, change):
    pair, sight = sight_of(published, "http://p.test/flag0.png", "preselect")
    claimed = replace(sight, **change)
    if change == {"verdict": "failed"}:
        claimed = replace(sight, verdict="dropped" if sight.verdict == "kept" else "kept")
    assert disagrees(published, pair, claimed)


@pytest.mark.parametrize(
    "balance",
    [
        {"law": "v2"},
        {"texts": "one_per_image"},
        {"language": "group", "reference": "g0"},
        {"tail_share": 0.5},
        {"target": 9},
    ],
)
def test_each_way_to_balance_is_replayed(shared_build, shared, balance):
    published = shared, shared_build(balance=balance)
    for uid in PublishedBuild(*published).samples(["uid"])["uid"].to_pylist():
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
    for pair, sight, pick in zip(pairs, steps, picks, strict=True):
        assert disagrees(published, pair, replace(sight, rows=sight.rows | {"texts": [pick | {"draw": 0.5}]}))


def test_a_score_on_the_wrong_side_of_the_threshold_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "align")
    assert disagrees(published, pair, replace(sight, notes={"threshold": 0.999999}))


def test_a_twin_with_other_bytes_disagrees(published):
    pair, sight = sight_of(published, "http://copy.test/fox1.png", "deduplicate_exact")
    if sight.twin is None:
        pair, sight = sight_of(published, "http://p.test/fox1.png", "deduplicate_exact")
    other = explain(*published, "http://p.test/cat2.png").pairs[0].uid
    assert disagrees(published, pair, replace(sight, twin={**sight.twin, "uid": other}))


def test_a_twin_without_edges_or_beyond_the_rule_disagrees(published):
    pair, sight = sight_of(published, "http://near.test/fox2.png", "deduplicate_perceptual")
    assert disagrees(published, pair, replace(sight, twin={**sight.twin, "path": []}))
    assert disagrees(published, pair, replace(sight, rule={"max_distance": 1}))


def test_a_chosen_caption_that_is_no_candidate_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "recaption")
    assert disagrees(published, pair, replace(sight, columns={**sight.columns, "chosen_caption": "another"}))


def test_another_margin_gives_another_caption(published):
    build = PublishedBuild(*published)
    rewritten = build.samples(["uid"], "caption_origin = 'retrieved'")["uid"].to_pylist()
    pair, sight = sight_of(published, rewritten[0], "recaption")
    assert disagrees(published, pair, replace(sight, rule={"choose": sight.rule["choose"] | {"margin": 0.99}}))


@pytest.mark.parametrize("step", ["check_texts", "check_images", "match_concepts"])
def test_a_verdict_that_the_pair_does_not_bear_out_disagrees(published, step):
    pair, sight = sight_of(published, "http://p.test/cat2.png", step)
    claimed = replace(sight, verdict="dropped", reason="too_few_words", rows={})
    assert disagrees(published, pair, claimed)


def test_a_pair_without_a_concept_may_have_been_kept_where_the_rule_says_so(published):
    pair, sight = sight_of(published, "http://p.test/cat2.png", "match_concepts")
    pair = replace(pair, identity={**pair.identity, "caption": "nothing that the list names"})
    kept = replace(sight, verdict="kept", rows={})
    assert disagrees(published, pair, kept)
    assert not disagrees(published, pair, replace(kept, rule={**sight.rule, "unmatched": "keep"}))


def test_a_probability_that_does_not_follow_from_the_counts_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/flag0.png", "preselect")
    rows = [dict(row, p=row["p"] / 2) for row in sight.rows["draws"]]
    replay = replay_step(PublishedBuild(*published), pair, replace(sight, rows={"draws": rows}))
    assert (replay.label, replay.agrees) == ("re-checked", False)


def test_a_uid_that_is_not_of_its_pair_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "collect")
    assert disagrees(published, replace(pair, identity={**pair.identity, "caption": "another"}), sight)
