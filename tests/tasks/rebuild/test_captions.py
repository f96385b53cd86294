"""Captions come from the pair, its merged twins and the concepts of the pool; the best is kept, and aligned."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.curation.decisions import Decisions
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.rebuild.captions import ALIGN, RECAPTION
from evenly.tasks.run import Run
from tests.picture_pool import commit, picture, plain_step, pool_record
from tests.tasks.whole_rebuild import BLUE, COLOURS, GREEN, RED

pytestmark = pytest.mark.usefixtures("colour_words")
RULE = {"captioner": "retrieved_concepts", "candidates": 2, "margin": 0.02}
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
        assert len(retrieved) == RULE["candidates"]
        assert retrieved == sorted(retrieved, reverse=True)
    decisions = run.ledger.decisions(record, ["uid", "value", "caption_score"]).to_pylist()
    originals = {row["uid"]: row["score"] for row in candidates if row["origin"] == "original"}
    for row in decisions:
        assert row["value"] == pytest.approx(row["caption_score"] - originals[row["uid"]], abs=1e-4)


def test_a_margin_that_no_concept_can_reach_leaves_all_captions(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), RULE | {"margin": 2.0})
    assert {origin for _, origin in chosen(run, record).values()} == {"original"}
    assert record.notes == {"rewritten": 0, "clipscore_before": None, "clipscore_after": None}


def test_captions_of_merged_pairs_are_offered_over_several_steps_each_once(run):
    pairs = PAIRS | {"f": ("a blue thing", RED), "g": ("a red pot", RED), "h": ("a red pot", RED)}
    records = merged(run, collected(run, pairs), "deduplicate_exact", {"g": "b", "h": "g"})
    records = merged(run, records, "deduplicate_perceptual", {"f": "c", "b": "a"})
    record = commit(run, RECAPTION, records, RULE | {"margin": 2.0})
    twins = run.ledger.table(record, "candidates", where=pc.field("origin") == "twin").to_pylist()
    assert [(row["uid"], row["caption"]) for row in twins] == [("a", "a red pot"), ("a", "some words")]
    assert set(chosen(run, record)) == {"a", "c", "d", "e"}


def test_a_caption_of_a_twin_is_taken_where_it_fits_better_without_any_margin(run):
    pairs = {"a": ("some words", RED), "b": ("a red pot", RED)}
    records = merged(run, collected(run, pairs), "deduplicate_exact", {"b": "a"})
    assert chosen(run, commit(run, RECAPTION, records, RULE)) == {"a": ("a red pot", "twin")}


def test_more_candidates_than_there_are_concepts_are_all_of_them(run):
    record = commit(run, RECAPTION, collected(run, PAIRS), RULE | {"candidates": 50})
    rows = run.ledger.table(record, "candidates", where=pc.field("origin") == "retrieved")
    assert rows.num_rows == len(PAIRS) * len(COLOURS)


def test_order_of_pairs_says_nothing_about_their_captions(run, tmp_path):
    turned = {new: PAIRS[old] for new, old in zip("abcde", "edcba", strict=True)}
    other = Run(workspace=type(run.workspace).at(tmp_path / "other"), seed=3)
    one = chosen(run, commit(run, RECAPTION, collected(run, PAIRS), RULE))
    two = chosen(other, commit(other, RECAPTION, collected(other, turned), RULE))
    assert [one[uid] for uid in "abcde"] == [two[uid] for uid in "edcba"]


# Alignment: by the score of the chosen caption, or of the pair's own where none was chosen.


def verdicts(run, record):
    return {row["uid"]: row["reason"] for row in run.ledger.decisions(record, ["uid", "reason"]).to_pylist()}


def test_without_recaptioning_the_own_caption_is_held_against_the_picture(run):
    record = commit(run, ALIGN, collected(run, PAIRS), {"min_score": 0.9})
    assert {uid for uid, reason in verdicts(run, record).items() if not reason} == {"a", "d"}
    assert record.reasons == {"low_score": 3}
    assert record.notes == {"threshold": 0.9, "captions_cut": 0}


def test_after_recaptioning_the_chosen_caption_counts(run):
    records = collected(run, PAIRS)
    records.append(commit(run, RECAPTION, records, RULE))
    record = commit(run, ALIGN, records, {"min_score": 0.9})
    assert set(verdicts(run, record).values()) == {""}
    stored = run.ledger.alive(records, ["caption_score"])["caption_score"].to_pylist()
    assert run.ledger.decisions(record, ["value"])["value"].to_pylist() == stored


@pytest.mark.parametrize(("keep_top", "kept"), [(1.0, 5), (0.5, 3), (0.01, 1)])
def test_a_share_keeps_the_best_and_at_least_one(run, keep_top, kept):
    record = commit(run, ALIGN, collected(run, PAIRS), {"keep_top": keep_top})
    assert record.counts["kept"] == kept
    rows = run.ledger.decisions(record, ["verdict", "value"]).to_pylist()
    assert all((row["value"] >= record.notes["threshold"]) == (row["verdict"] == "kept") for row in rows)
    best = sorted((row["value"] for row in rows), reverse=True)[:kept]
    assert sorted((row["value"] for row in rows if row["verdict"] == "kept"), reverse=True) == best


def test_pairs_that_tie_with_the_last_one_stay(run):
    same = dict.fromkeys("abcd", ("a red thing", RED))
    records = collected(run, same)
    pictures = {uid: picture(RED) for uid in same}
    records[-1] = pool_record(run, pictures)
    assert commit(run, ALIGN, records, {"keep_top": 0.25}).counts["kept"] == 4


def test_captions_that_the_encoder_cuts_are_counted_each_once(run):
    long = "a red thing that is far too long"
    pairs = {"a": (long, RED), "b": (long, RED), "c": ("a red thing", RED)}
    assert commit(run, ALIGN, collected(run, pairs), {"keep_top": 1.0}).notes["captions_cut"] == 1
