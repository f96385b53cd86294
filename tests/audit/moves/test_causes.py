"""The cause of every pair that moved: each single change, several at once, and what follows for other pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.diff import diff_builds
from evenly.audit.moves.causes import UNEXPLAINED
from evenly.storage.workspace import Workspace
from tests.audit.conftest import STARTED, Little, publish
from tests.few_examples import few

SINGLE = [
    ({"min_words": 4}, "rule", {("check_texts", "rule")}),
    ({"keep_top": 0.5}, "rule", {("align", "rule")}),
    ({"t": 1.0}, "rule", {("preselect", "rule"), ("balance", "rule")}),
    ({"off": ("align",)}, "rule", {("align", "rule")}),
    ({"seed": 8}, "seed", {("preselect", "seed"), ("balance", "seed")}),
    ({"encoder": "encoder-b"}, "model", {("align", "model"), ("recaption", "model"), ("balance", "model")}),
    ({"limit": 15}, "rule", {("collect", "rule")}),
]


def changes(difference):
    return [*difference.entered, *difference.left, *difference.changed]


@pytest.mark.parametrize(("change", "cause", "direct"), SINGLE, ids=[str(change)[:24] for change, *_ in SINGLE])
def test_all_pairs_that_a_single_change_moves_are_attributed_to_it(shared_build, shared, change, cause, direct):
    found = changes(diff_builds(shared, shared_build(), shared_build(**change)))
    assert found
    assert {one.cause for one in found} <= {cause, "knock-on"}
    assert {one.origin for one in found if one.cause == "knock-on"} <= {cause}
    assert {(one.step, one.cause) for one in found if one.cause == cause} <= direct
    assert {one.step for one in found if one.cause == "knock-on"} <= {
        "preselect",
        "deduplicate_exact",
        "align",
        "balance",
    }


def test_pairs_that_a_smaller_pool_lets_in_or_out_are_a_knock_on_of_the_pool(shared_build, shared, little):
    found = changes(diff_builds(shared, shared_build(), shared_build(pool=little.pool[10:])))
    gone = [one for one in found if one.reason == "not_in_pool"]
    assert {(one.step, one.cause) for one in gone} == {("collect", "pool")}
    others = [one for one in found if one not in gone]
    assert {(one.cause, one.origin) for one in others} == {("knock-on", "pool")}
    assert {one.detail.partition("since ")[2] for one in others} == {"collect: other read of collect"}
    assert any(one.detail.startswith("threshold of all pairs ") for one in others if one.step == "align")


@pytest.mark.parametrize(("step", "change"), [("check_texts", {"min_words": 4}), ("align", {"off": ("align",)})])
def test_a_rule_that_judges_each_row_is_the_cause_beside_another_pool_too(shared_build, shared, little, step, change):
    two = (shared_build(), shared_build(pool=little.pool[3:], **change))
    found = [one for one in changes(diff_builds(shared, *two)) if one.step == step]
    assert {one.cause for one in found} == {"rule"}


def test_pairs_that_the_same_limit_takes_of_another_pool_are_a_knock_on(shared_build, shared, little):
    two = (shared_build(limit=15), shared_build(limit=15, pool=little.pool[5:]))
    limited = [one for one in changes(diff_builds(shared, *two)) if one.reason == "limit"]
    assert {(one.step, one.cause, one.origin) for one in limited} == {("collect", "knock-on", "pool")}


def test_a_pair_with_another_picture_is_judged_by_it_and_not_by_the_others(shared_build, shared, little):
    """Its picture is a copy of another's now: the step that compares them differs in nothing."""
    pool = tuple(
        type(row)(row.url, row.caption, 20, row.group) if row.url == "http://p.test/cat2.png" else row
        for row in little.pool
    )
    found = changes(diff_builds(shared, shared_build(), shared_build(pool=pool)))
    (merged,) = [one for one in found if one.step == "deduplicate_exact"]
    assert (merged.cause, merged.origin) == ("data", "")
    assert merged.detail == "download gave it another image_id: other read of download"


def test_a_rule_and_what_it_moves_by_all_pairs_are_told_apart_from_a_change_before(shared_build, shared):
    """Of the pairs that go by another share of `align`, those go by the rule that would have gone before, too."""
    before, both = shared_build(), shared_build(min_words=4, keep_top=0.5)
    alone = {pair for one in diff_builds(shared, before, shared_build(keep_top=0.5), examples=99).left
             for pair in uids(one, "align")}  # fmt: skip
    found = [one for one in diff_builds(shared, before, both, examples=99).left if one.step == "align"]
    by_cause = {one.cause: uids(one, "align") for one in found}
    assert by_cause["rule"] <= alone
    assert by_cause.get("knock-on", set()).isdisjoint(alone)
    assert {one.origin for one in found if one.cause == "knock-on"} <= {"rule"}


def uids(change, step):
    return {row["uid"] for row in change.examples if change.step == step}


def test_a_new_version_of_a_step_is_code_and_the_build_says_which_evenly_made_it(shared_build, shared):
    after = shared_build(keep_top=0.5, versions={"align": 2})
    after = after | {"code": {"version": "9.9", "git_sha": "f" * 40, "dirty": False}}
    difference = diff_builds(shared, shared_build(), after)
    assert "code and rule" in {one.cause for one in difference.left}
    assert difference.to_text().count("-> evenly 9.9 (fffffffff)") == 1


@pytest.mark.parametrize(
    "change",
    [{"min_words": 4, "keep_top": 0.5}, pytest.param({"encoder": "encoder-b", "seed": 8}, marks=pytest.mark.slow)],
)
def test_builds_in_partitions_have_the_same_causes(shared_build, shared, tmp_path, change):
    workspace = Workspace.at(tmp_path / "cut")
    cut = [publish(workspace, Little(bits=2).but(**more), STARTED) for more in ({}, change)]
    whole = diff_builds(shared, shared_build(), shared_build(**change), examples=99).to_dict()
    parted = diff_builds(workspace, *cut, examples=99).to_dict()
    assert [parted[kind] for kind in ("entered", "left", "changed")] == [
        whole[kind] for kind in ("entered", "left", "changed")
    ]


@pytest.mark.slow
def test_builds_in_a_bucket_have_the_same_causes(shared_build, shared, stored_workspace):
    change = {"min_words": 4, "keep_top": 0.5}
    stored = [publish(stored_workspace, Little().but(**more), STARTED) for more in ({}, change)]
    here = diff_builds(shared, shared_build(), shared_build(**change), with_metrics=True)
    assert diff_builds(stored_workspace, *stored, with_metrics=True).to_dict() == here.to_dict()


@few(4)
@given(
    change=st.fixed_dictionaries(
        {},
        optional={
            "min_words": st.sampled_from([3, 4]),
            "keep_top": st.sampled_from([0.5, 0.7]),
            "seed": st.sampled_from([8, 9]),
            "encoder": st.just("encoder-b"),
            "t": st.sampled_from([1.0, 5.0]),
        },
    )
)
def test_every_pair_that_moves_has_one_cause_that_the_builds_differ_in(shared_build, shared, change):
    """And the counts of causes are those of the moves, whichever changes come together."""
    difference = diff_builds(shared, shared_build(), shared_build(**change))
    kinds = {"min_words": "rule", "keep_top": "rule", "t": "rule", "seed": "seed", "encoder": "model"}
    given_causes = {kinds[name] for name in change}
    found = changes(difference)
    named = {part for one in found for part in (one.origin or one.cause).split(" and ")}
    assert named <= given_causes
    assert UNEXPLAINED not in {one.cause for one in found}
    assert sum(difference.causes.values()) == sum(one.count for one in found)
    back = diff_builds(shared, shared_build(**change), shared_build())
    assert sum(one.count for one in back.left) == sum(one.count for one in difference.entered)
