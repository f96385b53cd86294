from dataclasses import replace

import pytest

from audit.published import PublishedBuild
from audit.replay import replay_step
from audit.why import explain


def replays(explanation) -> dict[str, tuple[str, bool | None]]:
    (pair,) = explanation.pairs
    return {sight.step: (sight.replay.label, sight.replay.agrees) for sight in pair.steps}


def test_each_step_says_how_it_was_replayed(published):
    merged = replays(explain(*published, "http://near.test/fox2.png", replay=True))
    assert merged["collect"] == ("recomputed", True)
    assert merged["preselect"] == ("recomputed", True)
    assert merged["download"] == ("observed", None)
    assert merged["check_images"] == ("not replayed", None)
    assert merged["deduplicate_exact"] == ("not replayed", None)
    assert merged["deduplicate_perceptual"] == ("re-checked", True)


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
    pair, sight = sight_of(published, "http://p.test/script.png", "preselect")
    draws = [dict(row, draw=0.123) for row in sight.rows["draws"]]
    assert disagrees(published, pair, replace(sight, rows={"draws": draws}))


@pytest.mark.parametrize("change", [{"verdict": "dropped"}, {"value": 0.01}, {"seed": 99}])
def test_a_draw_step_that_says_something_else_disagrees(published, change):
    pair, sight = sight_of(published, "http://p.test/script.png", "preselect")
    assert disagrees(published, pair, replace(sight, **change))


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


def test_a_made_caption_within_the_margin_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "recaption")
    assert sight.columns["caption_origin"] == "retrieved"
    assert disagrees(published, pair, replace(sight, rule={"margin": 0.9}))


def test_a_uid_that_is_not_of_its_pair_disagrees(published):
    pair, sight = sight_of(published, "http://p.test/script.png", "collect")
    assert disagrees(published, replace(pair, identity={**pair.identity, "caption": "another"}), sight)
