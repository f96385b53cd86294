"""Captions come from the pair, its merged twins and the concepts of the pool; the best becomes the caption."""

import json
import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.curation.decisions import Decisions
from evenly.features import to_unit_rows
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.captions.recaption import RECAPTION, captioner_rows, say_captioners
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.server import builds
from evenly.tasks.server.artifacts import Artifact
from tests.picture_pool import commit, picture, plain_step, pool_record
from tests.tasks.captions.test_chat_captioners import POOL, recaption, seen
from tests.tasks.whole_rebuild import BLUE, COLOURS, GREEN, RED, ColourWords, open_run
from tests.vision_server import vision_server

pytestmark = pytest.mark.usefixtures("colour_words")


def by_concepts(candidates=2, margin=0.02):
    """The rule that offers concepts."""
    captioner = {"name": "retrieved", "kind": "retrieved", "candidates": candidates, "sentence": "names"}
    return {"captioners": [captioner], "choose": {"by": "score", "margin": margin}}


RULE = by_concepts()
PAIRS = {
    "a": ("a red thing", RED),
    "b": ("some words", RED),  # no colour is named: a concept fits better
    "c": ("a blue thing", GREEN),  # the wrong colour
    "d": ("a green thing", GREEN),
    "e": ("green", BLUE),
}


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3, processes=1)


def collected(run, pairs):
    """The records of steps that gave the pairs, and the concepts of the pool."""
    captions = [caption for caption, _ in pairs.values()]
    decisions = Decisions.keep_all(len(pairs)).to_table(pa.array(sorted(pairs)))
    decisions = decisions.append_column("caption", pa.array(captions, pa.string()))
    collect = plain_step("collect", lambda *_: StepOutput(decisions=decisions))
    concepts = pa.table({"entry": pa.array(range(3), pa.int32()), "concept": list(COLOURS), "count": [2, 2, 1]})
    count = plain_step("count_concepts", lambda *_: StepOutput(tables={"counts": concepts}))
    records = [commit(run, collect, [], {"captions": content_hash(captions)})]
    records.append(commit(run, count, records, {}))
    pictures = {uid: picture(colour, pattern=at) for at, (uid, (_, colour)) in enumerate(pairs.items())}
    embedded = pool_record(run, pictures)
    return [*records, embedded]


def merged(run, records, step, into):
    """A step that merges pairs into others."""

    def compute(_run, before, _rule):
        uids = run.ledger.alive(before, [])["uid"].combine_chunks()
        twins = [into.get(uid) for uid in uids.to_pylist()]
        reasons = ["" if twin is None else "twin" for twin in twins]
        return StepOutput(decisions=Decisions.of(reason=reasons, into=twins).to_table(uids))

    return [*records, commit(run, plain_step(step, compute), records, {"into": into})]


def chosen(run, record):
    columns = ["uid", "chosen_caption", "caption_origin"]
    return {
        row["uid"]: (row["chosen_caption"], row["caption_origin"])
        for row in run.ledger.decisions(record, columns).to_pylist()
    }


def test_a_caption_that_fits_stays_and_one_that_does_not_gives_way_to_a_concept(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), RULE)
    assert chosen(run, record) == {
        "a": ("a red thing", "original"),
        "b": ("red", "retrieved"),
        "c": ("green", "retrieved"),
        "d": ("a green thing", "original"),
        "e": ("blue", "retrieved"),
    }
    assert record.counts["kept"] == len(PAIRS)
    assert record.notes["rewritten"] == 3
    assert record.notes["clipscore_before"] < record.notes["clipscore_after"]


def test_every_caption_that_was_offered_is_stored_with_its_score(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), RULE)
    candidates = run.ledger.table(record, "candidates").to_pylist()
    for uid, (caption, _) in PAIRS.items():
        mine = [row for row in candidates if row["uid"] == uid]
        assert [row["caption"] for row in mine if row["origin"] == "original"] == [caption]
        retrieved = [row["score"] for row in mine if row["origin"] == "retrieved"]
        assert len(retrieved) == 2
        assert retrieved == sorted(retrieved, reverse=True)
    decisions = run.ledger.decisions(record, ["uid", "value", "caption_score"]).to_pylist()
    originals = {row["uid"]: row["score"] for row in candidates if row["origin"] == "original"}
    for row in decisions:
        assert row["value"] == pytest.approx(row["caption_score"] - originals[row["uid"]], abs=1e-4)


def test_a_margin_that_no_concept_can_reach_leaves_all_captions(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), by_concepts(margin=2.0))
    assert {origin for _, origin in chosen(run, record).values()} == {"original"}
    assert record.notes["rewritten"] == 0
    assert record.notes["clipscore_before"] is record.notes["clipscore_after"] is None
    assert record.notes["chosen"] == {"original": len(PAIRS)}
    assert record.notes["offered"] == {"retrieved": 2 * len(PAIRS)}


def test_captions_of_merged_pairs_are_offered_over_several_steps_each_once(run):
    pairs = PAIRS | {"f": ("a blue thing", RED), "g": ("a red pot", RED), "h": ("a red pot", RED)}
    records = merged(run, collected(run, pairs), "deduplicate_exact", {"g": "b", "h": "g"})
    records = merged(run, records, "deduplicate_perceptual", {"f": "c", "b": "a"})
    record = commit(run, RECAPTION, records, by_concepts(margin=2.0))
    twins = run.ledger.table(record, "candidates", where=pc.field("origin") == "twin").to_pylist()
    assert [(row["uid"], row["caption"]) for row in twins] == [("a", "a red pot"), ("a", "some words")]
    assert set(chosen(run, record)) == {"a", "c", "d", "e"}


def test_a_caption_of_a_twin_is_taken_where_it_fits_better_without_any_margin(run):
    pairs = {"a": ("some words", RED), "b": ("a red pot", RED)}
    records = merged(run, collected(run, pairs), "deduplicate_exact", {"b": "a"})
    assert chosen(run, commit(run, RECAPTION, records, RULE)) == {"a": ("a red pot", "twin")}


def test_captions_are_compared_with_the_other_texts_that_their_picture_had(run):
    pairs = {"a": ("some words", RED), "b": ("a red pot", RED), "c": ("a blue thing", BLUE)}
    records = merged(run, collected(run, pairs), "deduplicate_exact", {"b": "a"})
    rows = run.ledger.table(commit(run, RECAPTION, records, RULE), "candidates").to_pylist()
    for row in rows:
        texts = {"a": ["some words", "a red pot"], "c": ["a blue thing"]}[row["uid"]]
        others = [text for text in texts if text != row["caption"]]
        expected = None
        if others:
            vectors = to_unit_rows(ColourWords().encode_texts([row["caption"], *others]))[0].astype(np.float64)
            nearest = (vectors[1:] @ vectors[0]).max()
            expected = pytest.approx(2 / (1 / (2.5 * row["score"]) + 1 / nearest), abs=1e-3)
        assert row["ref_clip_score"] == expected
    assert {row["ref_clip_score"] is None for row in rows} == {True, False}


def test_more_candidates_than_there_are_concepts_are_all_of_them(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), by_concepts(candidates=50))
    rows = run.ledger.table(record, "candidates", where=pc.field("origin") == "retrieved")
    assert rows.num_rows == len(PAIRS) * len(COLOURS)


def test_order_of_pairs_says_nothing_about_their_captions(run, tmp_path):
    turned = {new: PAIRS[old] for new, old in zip("abcde", "edcba", strict=True)}
    other = Run(workspace=type(run.workspace).at(tmp_path / "other"), seed=3)
    one = chosen(run, commit(run, RECAPTION, collected(run, PAIRS), RULE))
    two = chosen(other, commit(other, RECAPTION, collected(other, turned), RULE))
    assert [one[uid] for uid in "abcde"] == [two[uid] for uid in "edcba"]


NOTES = {
    "offered": {"seen": 80, "tags": 3},
    "refused": {"seen": {"http_503": 5, "not_json": 15}, "tags": {"no_tags": 1}},
    "chosen": {"original": 60, "seen": 1200},
    "accounts": {"seen": {"limit_usd": None, "spent_usd": 1.5}},
}


@pytest.fixture
def lines(monkeypatch) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    monkeypatch.setattr("evenly.tasks.progress.log_line", lambda text, level: found.append((level, text)) or True)
    return found


def test_each_captioner_is_a_row_with_its_reasons_and_cost():
    seen_row, tags_row = captioner_rows(NOTES)
    assert seen_row == {
        "captioner": "seen",
        "offered": 80,
        "refused": 20,
        "reasons": "http_503 5, not_json 15",
        "chosen": 1200,
        "cost_usd": 1.5,
    }
    assert (tags_row["chosen"], tags_row["cost_usd"]) == (0, None)
    assert captioner_rows({"threshold": 0.2}) == []


def test_more_than_a_fifth_refused_is_a_warning(lines):
    say_captioners(Progress(), NOTES)
    assert lines == [
        (logging.INFO, "captions seen: 80 offered, 20 refused (http_503 5, not_json 15), 1,200 chosen"),
        (logging.WARNING, "captions tags: 3 offered, 1 refused (no_tags 1), 0 chosen"),
    ]


@pytest.mark.usefixtures("colour_words")
@pytest.mark.parametrize(("every", "level"), [(1, logging.WARNING), (9, logging.INFO)])
def test_a_run_says_it_when_its_captions_are_chosen(tmp_path, lines, every, level):
    run = open_run(tmp_path / "w", POOL)
    with vision_server(fault="malformed", every=every) as server:
        recaption(replace(run, progress=Progress()), [seen(server)])
    refused = "4 refused (not_json 4)" if every == 1 else "0 refused"
    assert [(one, text.split(",")[1].strip()) for one, text in lines if text.startswith("captions seen")] == [
        (level, refused)
    ]


def test_a_server_is_left_a_table_of_captioners_beside_the_funnel(rebuilt, monkeypatch):
    left: list[Artifact] = []
    monkeypatch.setattr(builds, "is_watched", lambda: True)
    monkeypatch.setattr(builds, "name_run", lambda *_: None)
    monkeypatch.setattr(builds, "emit", lambda *_: None)
    monkeypatch.setattr(builds, "leave_artifacts", left.extend)
    builds.show_build(rebuilt.run, builds.published(rebuilt.run, rebuilt.manifest, previous=None, max_change=None))
    (table,) = [json.loads(artifact.data) for artifact in left if artifact.key == "whole-captions"]
    notes = rebuilt.record("recaption").notes
    assert table == [
        {"captioner": "retrieved", "offered": notes["offered"]["retrieved"], "refused": 0, "reasons": ""}
        | {"chosen": notes["chosen"].get("retrieved", 0), "cost_usd": None}
    ]
