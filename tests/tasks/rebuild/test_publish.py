"""A build is visible once, whole, under the name of its content; `latest` moves where the guard agrees."""

import json
from dataclasses import replace

import pytest

from evenly.storage.builds import Builds
from evenly.storage.samples import Samples
from evenly.tasks.rebuild import publish as module
from evenly.tasks.rebuild.publish import RECORDED
from tests.tasks.whole_rebuild import ColourWords, publish

pytestmark = pytest.mark.usefixtures("colour_words")


def said(capsys) -> str:
    return capsys.readouterr().err


def loud(run):
    return replace(run, progress=replace(run.progress, quiet=False))


def test_the_manifest_says_what_every_step_was_and_how_many_rows_there_are(rebuilt):
    manifest = rebuilt.manifest
    assert [step["key"] for step in manifest["steps"]] == [record.key for record in rebuilt.records]
    assert all(step.keys() == set(RECORDED) for step in manifest["steps"])
    assert manifest["samples"]["rows"] == rebuilt.record("collect").counts["kept"]
    assert (manifest["samples"]["kept"], manifest["samples"]["last"]) == (rebuilt.records[-1].counts["kept"], "balance")
    assert manifest["encoder"] == {"model": "embedded", "pretrained": None, "identity": ColourWords.identity}
    assert manifest["build"] == f"whole-{manifest['content_hash'][:12]}"
    assert manifest == json.loads(json.dumps(manifest))


def test_publishing_the_same_again_changes_nothing(copied):
    copy = copied()
    samples = Samples(copy.run.workspace, "whole")
    before = sorted(path.name for path in samples.path.rglob("*"))
    again = publish(copy.run, copy.records)
    assert again == copy.manifest
    assert sorted(path.name for path in samples.path.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [{"recipe": {"name": "whole", "note": 1}}, {"limit": 3}, {"split": {"path": "split.csv", "sha256": "ab"}}],
    ids=["recipe", "limit", "split"],
)
def test_what_no_step_holds_is_part_of_the_content(copied, change):
    copy = copied()
    manifest = publish(copy.run, copy.records, **change)
    assert manifest["content_hash"] != copy.manifest["content_hash"]
    assert manifest["split"] == change.get("split")
    assert publish(replace(copy.run, seed=99), copy.records)["content_hash"] != copy.manifest["content_hash"]


def test_a_run_that_is_killed_before_the_manifest_shows_no_build(copied, monkeypatch):
    copy = copied()

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Builds, "publish", die)
    with pytest.raises(KeyboardInterrupt):
        publish(copy.run, copy.records, name="other")
    builds = Builds(copy.run.workspace)
    assert builds.names() == [copy.manifest["build"]]
    assert (builds.alias("whole-latest"), builds.alias("other-latest")) == (copy.manifest["build"], None)
    monkeypatch.undo()
    manifest = publish(copy.run, copy.records, name="other")
    assert builds.alias("other-latest") == manifest["build"]
    assert (
        Samples(copy.run.workspace, "other").read(manifest["samples"]["version"]).num_rows
        == manifest["samples"]["rows"]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_change": None}, "not promoted, since it holds a pool as it is"),
        ({"limit": 4}, "not promoted, since --limit took a part of the pool"),
        ({"limit": 4, "max_change": None}, "not promoted, since it holds a pool as it is"),
    ],
)
def test_a_trial_and_a_pool_as_it_is_are_not_promoted(copied, capsys, options, words):
    copy = copied()
    manifest = publish(loud(copy.run), copy.records, **options)
    assert f"{manifest['build']}: {words}" in said(capsys)
    assert Builds(copy.run.workspace).alias("whole-latest") == copy.manifest["build"]


def drift(copy, monkeypatch, share: float, max_change: float) -> str | None:
    """Publish a build whose share of kept pairs is another, and say which one is latest."""
    kept = module._kept_share
    monkeypatch.setattr(
        module,
        "_kept_share",
        lambda one: kept(copy.manifest) + (0 if one["build"] == copy.manifest["build"] else share),
    )
    publish(loud(copy.run), copy.records, recipe={"name": "whole", "share": share}, max_change=max_change)
    return Builds(copy.run.workspace).alias("whole-latest")


@pytest.mark.parametrize("share", [0.25, -0.25])
def test_the_guard_holds_a_build_that_keeps_another_share_either_way(copied, monkeypatch, capsys, share):
    copy = copied()
    assert drift(copy, monkeypatch, share, 0.2) == copy.manifest["build"]
    told = said(capsys)
    assert f"differs by 0.25 from `{copy.manifest['build']}` (guard.max_change is 0.2)" in told
    (held,) = {row["build"] for row in Builds(copy.run.workspace).rows()} - {copy.manifest["build"]}
    assert f"Look with `evenly diff {copy.manifest['build']} {held}`. Run `evenly promote {held}` or correct" in told


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_a_change_that_the_guard_allows_to_its_end_is_promoted(copied, monkeypatch, share):
    copy = copied()
    assert drift(copy, monkeypatch, share, 0.25 + 1e-9) != copy.manifest["build"]


def test_the_first_build_of_a_recipe_is_promoted_whatever_it_keeps(copied):
    copy = copied()
    first = publish(copy.run, copy.records, name="first", max_change=0.0)
    builds = Builds(copy.run.workspace)
    assert builds.alias("first-latest") == first["build"]
    assert builds.alias("whole-latest") == copy.manifest["build"]


def test_a_build_that_was_rolled_back_is_promoted_again_by_its_own_rebuild(copied):
    copy = copied()
    builds = Builds(copy.run.workspace)
    second = publish(copy.run, copy.records, recipe={"name": "whole", "second": True})
    assert builds.alias("whole-latest") == second["build"]
    publish(copy.run, copy.records)
    assert builds.alias("whole-latest") == copy.manifest["build"]
