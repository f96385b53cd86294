import json

import pytest

from evenly.audit import diff
from evenly.audit.diff import count_moves, diff_builds
from evenly.audit.published import PublishedBuild
from evenly.storage.removal.forget import add_forgotten
from tests.audit.outcomes import outcomes


def kept(workspace, manifest) -> set[str]:
    fates = outcomes(PublishedBuild(workspace, manifest))
    return {row["uid"] for row in fates if not row["step"]}


def total(changes) -> int:
    return sum(change.count for change in changes)


def test_a_build_does_not_differ_from_itself(published):
    workspace, manifest = published
    difference = diff_builds(workspace, manifest, manifest)
    assert (difference.entered, difference.left, difference.changed) == ([], [], [])
    assert difference.unchanged == difference.kept_before == difference.kept_after == len(kept(*published))
    assert difference.differs == []
    assert "both are the same build" in difference.to_text()


def test_moves_that_are_known_are_not_counted_again(build, workspace, monkeypatch):
    before, after = build(), build(keep_top=0.5)
    first = count_moves(workspace, before, after)
    assert first == diff_builds(workspace, before, after, examples=0)
    monkeypatch.setattr(diff, "diff_builds", lambda *_, **__: "counted")
    assert count_moves(workspace, dict(before), dict(after)) is first
    assert count_moves(workspace, after, before) == "counted"
    add_forgotten(workspace, [("uid", "a" * 32)])
    assert count_moves(workspace, before, after) == "counted"


@pytest.mark.parametrize(
    ("split", "differs"),
    [
        ({"path": "split.csv", "sha256": "a"}, ["seed", "split"]),
        ({"path": "elsewhere.csv", "sha256": "b"}, ["seed"]),
    ],
)
def test_what_no_step_holds_is_named(published, split, differs):
    workspace, manifest = published
    one = manifest | {"split": {"path": "split.csv", "sha256": "b"}}
    difference = diff_builds(workspace, one, manifest | {"split": split, "seed": 9})
    assert difference.differs == differs
    assert f"differs in {', '.join(differs)}" in difference.to_text()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"keep_top": 0.5}, "rule"),
        ({"min_words": 4}, "rule"),
        ({"off": ("align",)}, "rule"),
        ({"limit": 15}, "rule"),
        ({"seed": 8}, "seed"),
        ({"encoder": "encoder-b"}, "model"),
        ({"keep_top": 0.5, "versions": {"align": 2}}, "code and rule"),
    ],
    ids=str,
)
def test_counts_are_complete_and_the_cause_is_what_was_changed(shared_build, shared, change, cause):
    before, after = shared_build(), shared_build(**change)
    difference = diff_builds(shared, before, after, examples=1)
    a, b = kept(shared, before), kept(shared, after)
    assert (difference.kept_before, difference.kept_after) == (len(a), len(b))
    assert total(difference.entered) == len(b - a)
    assert total(difference.left) == len(a - b)
    assert difference.unchanged + len({e["uid"] for c in difference.changed for e in c.examples}) <= len(a & b)
    assert next(iter(difference.causes)) == cause or cause in difference.causes


def test_the_way_back_swaps_entered_and_left(shared_build, shared):
    before, after = shared_build(), shared_build(seed=8)
    there, back = diff_builds(shared, before, after), diff_builds(shared, after, before)
    assert total(there.entered) == total(back.left)
    assert total(there.left) == total(back.entered)


def test_a_row_that_is_gone_from_the_pool_is_data(shared_build, shared, little):
    before = shared_build()
    gone = min(kept(shared, before))
    urls = PublishedBuild(shared, before).samples(["url", "caption"], f"uid = '{gone}'").to_pylist()[0]
    pool = tuple(row for row in little.pool if (row.url, row.caption) != (urls["url"], urls["caption"]))
    difference = diff_builds(shared, before, shared_build(pool=pool))
    (change,) = [change for change in difference.left if change.cause == "pool"]
    assert (change.step, change.reason, change.count) == ("collect", "not_in_pool", 1)
    assert change.examples[0]["uid"] == gone
    assert all(change.cause in ("pool", "knock-on") for change in (*difference.entered, *difference.left))


def test_other_bytes_at_a_url_are_a_changed_image_by_data(shared_build, shared, little):
    before = shared_build()
    pool = tuple(
        row if row.url != "http://p.test/cat2.png" else type(row)(row.url, row.caption, 777, row.group)
        for row in little.pool
    )
    difference = diff_builds(shared, before, shared_build(pool=pool))
    (change,) = [change for change in difference.changed if change.reason == "other_image"]
    assert (change.step, change.count) == ("download", 1)
    assert change.examples[0]["url"] == "http://p.test/cat2.png"


def test_other_captions_are_counted_with_the_step_that_chose_them(shared_build, shared):
    difference = diff_builds(shared, shared_build(), shared_build(encoder="encoder-b"))
    (change,) = difference.changed
    assert (change.step, change.reason, change.cause) == ("recaption", "other_caption", "model")


def test_text_and_json_hold_counts_examples_and_what_is_not_listed(shared_build, shared):
    difference = diff_builds(shared, shared_build(), shared_build(min_words=4), examples=1)
    text = difference.to_text()
    assert "check_texts (too_few_words)" in text
    assert "caption_length.min_words 2 -> 4" in text
    assert "and 2 more" in text
    assert json.loads(json.dumps(difference.to_dict()))["causes"]["rule"] == 3
