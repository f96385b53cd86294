import json
import shutil
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from evenly.audit.errors import UnknownSampleError
from evenly.audit.published import PublishedBuild
from evenly.audit.why import explain
from evenly.flows.cli.audit.sample import explain_sample
from evenly.storage.builds import Builds
from evenly.storage.web import shards
from tests.audit.outcomes import outcomes
from tests.storage.web.recorded import record_shards


def uid_that_ended_at(published, step: str) -> str:
    fates = outcomes(PublishedBuild(*published))
    return next(row["uid"] for row in fates if row["step"] == step)


def only(explanation):
    (pair,) = explanation.pairs
    return pair


def test_a_kept_pair_was_seen_and_kept_by_every_deciding_step(published):
    pair = only(explain(*published, uid_that_ended_at(published, "")))
    assert (pair.outcome, pair.step, pair.reason) == ("kept", "", "")
    assert {sight.verdict for sight in pair.steps} == {"kept"}
    assert [sight.step for sight in pair.steps] == [record.name for record in PublishedBuild(*published).deciding]


def test_a_dropped_pair_shows_reason_value_threshold_rule_and_model(published):
    pair = only(explain(*published, uid_that_ended_at(published, "align")))
    last = pair.steps[-1]
    assert (pair.outcome, pair.step, pair.reason) == ("dropped", "align", "low_score")
    assert last.value < last.notes["threshold"]
    assert last.rule == {"keep_top": 0.9}
    assert last.model == "encoder-a"
    assert last.run["flow_run_id"]
    assert last.run["code"].keys() == {"version", "git_sha", "dirty"}


def test_a_failed_download_shows_its_evidence(published):
    pair = only(explain(*published, "http://dead.test/car.png"))
    assert (pair.outcome, pair.reason) == ("failed", "http_404")
    assert pair.steps[-1].columns == {"http_status": 404, "evidence": "HTTP 404"}
    assert pair.image is None


def test_a_picture_is_that_of_the_pairs_own_url_or_of_one_with_bytes(build, workspace, monkeypatch):
    """Of several URLs with the same bytes, records are read until its own is there, few shards at a time."""
    manifest, sizes = build(), []
    pair = only(explain(workspace, manifest, "http://p.test/fox2.png"))
    assert (pair.image["file"], pair.image.keys()) == (None, {"image_id", "file"})
    seen = {"verdict": "kept", "image_id": pair.image["image_id"]}
    others = [{"url": f"http://b.test/{number}", "verdict": "failed"} for number in range(5)]
    mirror = {"url": "http://a.test/copy.png", "tar": "b.tar", "offset": 7, "size": 5, **seen}
    features = {"url": f"features:{pair.image['image_id']}", **seen}
    own = {"url": "http://p.test/fox2.png", "tar": "a.tar", "offset": 512, "size": 5, **seen}
    monkeypatch.setattr(shards, "_TOGETHER", 1)
    read_shards = shards.read_shards

    def noted(*arguments):
        sizes.append(read_shards(*arguments).num_rows)
        return read_shards(*arguments)

    monkeypatch.setattr(shards, "read_shards", noted)
    downloads = workspace.downloads
    for records, tar, n_read in [
        ([[features], others], None, 2),
        ([[features], [mirror, *others], others], "b.tar", 3),
        ([[features], [mirror], [own], others, others], "a.tar", 3),
    ]:
        shutil.rmtree(downloads, ignore_errors=True)
        record_shards(downloads, records)
        sizes.clear()
        image = only(explain(workspace, manifest, "http://p.test/fox2.png")).image
        assert image["file"] == (None if tar is None else str(downloads / tar))
        assert image["offset"] == {None: None, "a.tar": 512, "b.tar": 7}[tar]
        assert (len(sizes), max(sizes) <= 6) == (n_read, True)


def test_a_merged_pair_names_its_twin_with_url_distance_and_fate(published):
    pair = only(explain(*published, "http://near.test/fox2.png"))
    twin = pair.steps[-1].twin
    assert (pair.outcome, pair.reason) == ("merged", "near_duplicate")
    assert twin["url"] == "http://p.test/fox2.png"
    assert twin["path"] == [{"from": pair.uid, "to": twin["uid"], "kind": "perceptual", "distance": 2.0}]
    assert twin["ended"].keys() == {"step", "reason"}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("http://dead.test/car.png", "It is out: `download` failed on it (http_404)."),
        ("http://p.test/fox2.png", "It is in the build and stands for 1 merged into it: all 12 steps kept it."),
    ],
)
def test_the_answer_is_one_sentence_below_the_name(published, asked, sentence):
    explanation = explain(*published, asked)
    assert only(explanation).sentence == sentence
    assert explanation.to_text().splitlines()[1] == sentence
    assert explanation.to_dict()["pairs"][0]["sentence"] == sentence


def test_the_sentence_of_a_merged_or_dropped_pair_has_its_twin_and_what_was_measured(published):
    twin = only(explain(*published, "http://p.test/fox2.png"))
    merged = only(explain(*published, "http://near.test/fox2.png")).sentence
    name = f"{twin.uid}, http://p.test/fox2.png"
    assert merged.startswith(f"It is out: `deduplicate_perceptual` merged it into {name} (near_duplicate, value 2")
    dropped = only(explain(*published, uid_that_ended_at(published, "align"))).sentence
    assert dropped.startswith("It is out: `align` dropped it (low_score, value ")
    assert ", threshold " in dropped


def test_without_a_build_the_latest_of_each_recipe_is_asked(build, workspace, little):
    dead = "http://dead.test/car.png"
    other = tuple(row for row in little.pool if row.url != dead)
    first, second = build(), build(name="other", pool=other)
    for manifest in (first, second):
        Builds(workspace).promote(manifest["build"], recipe=manifest["recipe_name"])
    place = {"root": workspace.root, "replay": False}
    assert explain_sample("http://p.test/fox2.png", build=None, **place).build == second["build"]
    assert explain_sample(dead, build=None, **place).build == first["build"]
    for named in (second["build"], "other-latest"):
        with pytest.raises(UnknownSampleError, match=second["build"]):
            explain_sample(dead, build=named, **place)


def test_a_twin_lists_the_pairs_merged_into_it(published):
    merged = only(explain(*published, "http://near.test/fox2.png"))
    twin = only(explain(*published, merged.steps[-1].twin["uid"]))
    assert twin.merged == 1
    assert twin.merged_examples[0]["uid"] == merged.uid


def test_draws_and_matches_name_the_concepts(published):
    pair = only(explain(*published, uid_that_ended_at(published, "balance")))
    rows = {sight.step: sight.rows for sight in pair.steps}
    entry = rows["balance"]["draws"][0]
    assert rows["match_concepts"]["matches"] == [{"entries": [entry["entry"]]}]
    assert entry["draw"] >= entry["p"]
    assert entry["deciding"] is False


def test_a_recaptioned_pair_shows_both_captions_with_scores(published):
    build = PublishedBuild(*published)
    rows = build.samples(["uid", "caption", "chosen_caption"]).to_pylist()
    row = next(row for row in rows if row["chosen_caption"] not in (None, row["caption"]))
    explanation = explain(*published, row["uid"])
    candidates = next(sight.rows["candidates"] for sight in only(explanation).steps if sight.step == "recaption")
    assert {item["origin"] for item in candidates} == {"original", "retrieved"}
    assert f"new caption {row['chosen_caption']}" in explanation.to_text()


def test_a_url_gives_all_its_pairs(published):
    explanation = explain(*published, "http://p.test/fox0.png")
    assert {pair.identity["caption"] for pair in explanation.pairs} == {"one red fox 0", "the same fox again"}


def test_every_arrival_of_a_doubled_row_is_told(published):
    pair = only(explain(*published, "http://p.test/tree.png"))
    assert [arrival["verdict"] for arrival in pair.arrivals] == ["kept", "merged"]
    assert pair.arrivals[1]["reason"] == "same_pair"


def test_a_pair_beyond_the_limit_is_explained_by_its_arrival(shared_build, shared, published):
    limited = shared_build(limit=3)
    beyond = PublishedBuild(*published).samples(["uid"])["uid"].to_pylist()
    known = set(PublishedBuild(shared, limited).samples(["uid"])["uid"].to_pylist())
    pair = only(explain(shared, limited, next(uid for uid in beyond if uid not in known)))
    assert (pair.outcome, pair.step, pair.reason) == ("dropped", "collect", "limit")
    assert pair.steps == ()


@pytest.mark.parametrize("asked", ["0" * 32, "http://nowhere.test/", "", "' OR 1=1 --", "\x1b[31m"])
def test_what_the_build_never_saw_is_said_with_the_build_and_the_rows_without_a_uid(published, asked):
    with pytest.raises(UnknownSampleError, match=f"build `{published[1]['build']}`; it knows none by") as error:
        explain(*published, asked)
    assert "among the 1 pool rows without a uid that `collect` refused: 1 of web (no_url)." in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_build_that_refused_no_row_never_saw_what_it_does_not_know(build, workspace, little):
    manifest = build(pool=little.pool[:-1])
    with pytest.raises(UnknownSampleError, match=f"build `{manifest['build']}`; it never saw `c0007`"):
        explain(workspace, manifest, "c0007")


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_no_question_finds_what_was_not_asked_for(published, asked):
    with pytest.raises(UnknownSampleError):
        explain(*published, f"{asked}' OR uid <> '{asked}")


def test_text_cannot_act_on_a_terminal_and_json_holds_all(published):
    explanation = explain(*published, "http://p.test/script.png", replay=True)
    text = explanation.to_text()
    assert "<script>alert('fox')</script> a fox \\x1b[31mred\\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert json.loads(json.dumps(explanation.to_dict()))["pairs"][0]["identity"]["caption"].endswith("\u202e")


def test_rich_shows_the_same_text_and_reads_no_markup(published):
    explanation = explain(*published, "http://p.test/script.png")
    stream = StringIO()
    Console(file=stream, width=400, color_system=None).print(explanation)
    assert stream.getvalue().split() == explanation.to_text().split()


def test_a_build_with_steps_switched_off_is_explained_by_those_that_ran(shared_build, shared):
    manifest = shared_build(off=("recaption", "deduplicate_exact", "deduplicate_perceptual", "preselect"))
    pair = explain(shared, manifest, "http://p.test/fox0.png", replay=True).pairs[0]
    assert "recaption" not in [sight.step for sight in pair.steps]
