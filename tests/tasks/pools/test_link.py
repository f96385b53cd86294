"""A threshold for one record, chosen on one half of the labelled pairs and judged on the other."""

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError
from evenly.curation.errors import RuleError
from evenly.tasks.pools.link import CHOOSES, JUDGED, LINK_RECORDS
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish
from tests.step_outputs import output_of

RULE = {"build": "some-1", "truth": "label", "weights": [0.25, 0.75], "floor": 0.3}


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    return Run(workspace=workspace, seed=7)


def records(n: int, copies: int = 3) -> list[Picture]:
    """`n` things in several pictures and captions each, and some that nobody labelled."""
    known = [
        Picture(
            f"thing {at}",
            {f"thing {at} shape {at * 7}": 1.0, f"noise {at} {copy}": 0.2},
            "",
            f"thing number {at} {copy}",
        )
        for at in range(n)
        for copy in range(copies)
    ]
    return [*known, *(Picture("", {f"other {at}": 1.0}, "", "unlabelled") for at in range(4))]


def test_every_labelled_pair_is_in_one_half_with_all_of_its_record(run):
    publish(run.workspace, records(20))
    output = output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))
    rows = output.tables["records"].to_pylist()
    assert len(rows) == output.notes["pairs"] == 60
    halves = {row["truth"]: row["part"] for row in rows}
    assert all(row["part"] == halves[row["truth"]] for row in rows)
    assert set(halves.values()) == {CHOOSES, JUDGED}
    assert output.notes["pairs_chooses"] + output.notes["pairs_judged"] == 60
    assert output.notes["truth_records"] == 20


def test_the_chosen_cut_is_the_best_of_all_that_were_tried(run):
    publish(run.workspace, records(20))
    output = output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))
    curve, notes = output.tables["curve"].to_pylist(), output.notes
    assert {row["weight"] for row in curve} == set(RULE["weights"])
    assert notes["chosen_ari"] == max(row["ari"] for row in curve)
    assert any(row["weight"] == notes["weight"] and row["ari"] == notes["chosen_ari"] for row in curve)
    assert notes["low"] <= notes["ari"] <= notes["high"]
    assert notes["ari"] > 0.8


def test_linked_records_of_the_judged_half_follow_the_cut(run):
    pictures = records(20)
    publish(run.workspace, [*pictures[:1], *pictures[3:]])  # the first thing alone: no half mirrors itself
    output = output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))
    judged = [row for row in output.tables["records"].to_pylist() if row["part"] == JUDGED]
    linked = {
        (a["uid"], b["uid"]) for a in judged for b in judged if a["uid"] < b["uid"] and a["record"] == b["record"]
    }
    true = {(a["uid"], b["uid"]) for a in judged for b in judged if a["uid"] < b["uid"] and a["truth"] == b["truth"]}
    assert output.notes["precision"] == pytest.approx(len(linked & true) / len(linked))
    assert output.notes["recall"] == pytest.approx(len(linked & true) / len(true))


def test_another_seed_deals_other_halves(run):
    publish(run.workspace, records(20))
    parts = [
        output_of(LINK_RECORDS, Run(workspace=run.workspace, seed=seed), (), LINK_RECORDS.read(RULE))
        .tables["records"]["part"]
        .to_pylist()
        for seed in (1, 2)
    ]
    assert parts[0] != parts[1]


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        (records(1), "at least 2 records, one of them twice, in the half that"),
        (records(20, copies=1), "at least 2 records, one of them twice, in the half that"),
        ([Picture("", {"a": 1.0}, "")], "got 0 records of 0 pairs. Label more pairs"),
    ],
    ids=["one record", "all different", "no label"],
)
def test_too_few_labels_are_said(run, pictures, words):
    publish(run.workspace, pictures)
    with pytest.raises((RuleError, ValueError), match=words):
        output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))


@pytest.mark.parametrize(("lucky", "half"), [(0.9, "chooses"), (0.1, "judged")])
def test_each_half_must_have_two_records(run, monkeypatch, lucky, half):
    publish(run.workspace, records(5))
    monkeypatch.setattr("evenly.tasks.pools.link.unit_hash", lambda *_: lucky)
    with pytest.raises(RuleError, match=f"in the half that {half}; got 0 records of 0 pairs"):
        output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))


def test_a_column_that_is_not_there_lists_those_that_are(run):
    publish(run.workspace, records(3))
    with pytest.raises(
        RuleError, match=r"`truth` must be a column of the sample table; got `isbn`\. Choose one of these: .*label"
    ):
        output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE | {"truth": "isbn"}))


def test_pairs_without_features_are_left_out_and_counted(run, workspace):
    from evenly.storage.feature_store import FeatureStore

    publish(workspace, records(20))
    path = FeatureStore(workspace, WordEncoder.identity, "images").path
    path.rename(path.with_name("gone.lance"))
    half = publish(workspace, records(20)[:40], build="half-1")
    assert half
    output = output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))
    assert (output.notes["pairs"], output.notes["without_features"]) == (40, 20)


def test_features_of_another_encoder_are_refused_and_the_build_is_the_key(run, monkeypatch):
    publish(run.workspace, records(3))
    first = LINK_RECORDS.spec(run, (), LINK_RECORDS.read(RULE))
    publish(run.workspace, records(4), build="other-1")
    assert LINK_RECORDS.spec(run, (), LINK_RECORDS.read(RULE | {"build": "other-1"})).inputs != first.inputs
    assert first.seed == 7
    monkeypatch.setattr(WordEncoder, "identity", "1" * 64)
    with pytest.raises(InvalidFeaturesError, match="must be the encoder of the build"):
        output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE))


def test_a_floor_above_every_cosine_links_nothing(run):
    publish(run.workspace, records(20))
    output = output_of(LINK_RECORDS, run, (), LINK_RECORDS.read(RULE | {"floor": 0.999999}))
    numbers = np.array(output.tables["records"]["record"].to_pylist())
    assert output.notes["recall"] == 0
    assert (
        len(np.unique(numbers[np.array(output.tables["records"]["part"].to_pylist()) == JUDGED]))
        == output.notes["pairs_judged"]
    )
