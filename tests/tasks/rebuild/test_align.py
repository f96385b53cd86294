"""Alignment: by the score of the chosen caption, or of the pair's own where none was chosen."""

import pytest

from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.run import Run
from tests.picture_pool import commit, picture, pool_record
from tests.tasks.captions.test_recaption import PAIRS, RULE, collected
from tests.tasks.whole_rebuild import RED

pytestmark = pytest.mark.usefixtures("colour_words")


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3, processes=1)


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
