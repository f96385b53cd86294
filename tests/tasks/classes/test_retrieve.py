"""Support sets on a small build: whose captions and pictures are ranked, who is never chosen, and what is counted."""

from collections import Counter

import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError
from evenly.curation.retrieval_sets import RETRIEVED
from evenly.storage.feature_store import FeatureStore
from evenly.tasks.classes.retrieve import RETRIEVE_SUPPORT, prompt_vectors, retrieve, support_arrays
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.labelled_build import Picture, WordEncoder, publish

NAMES = {"cat": ["kitten"], "dog": [], "yak": []}
PICTURES = [
    *(Picture("", {"cat": 1.0, f"a {n}": 0.3}, "", caption=f"a cat number {n}, no kitten") for n in range(5)),
    *(Picture("", {"cat": 1.0, f"b {n}": 0.5}, "", caption=f"one kitten {n}") for n in range(3)),
    *(Picture("", {"dog": 1.0, f"c {n}": 0.3}, "", caption=f"two dogs {n}") for n in range(4)),
    Picture("", {"cat": 1.0, "dog": 1.0}, "", caption="a cat and a dog"),
    Picture("", {"dog": 1.0, "d": 0.3}, "", caption="nothing named"),
    Picture("cat", {"cat": 1.0, "e": 0.2}, "val", caption="a cat to validate"),
    Picture("dog", {"dog": 1.0, "f": 0.2}, "test", caption="a dog to test"),
    Picture("cat", {"cat": 1.0, "g": 0.2}, "train", caption="a cat to train on"),
]
RULE = {
    "build": "some-1",
    "list": "pets",
    "names": NAMES,
    "templates": ["a photo of a {}"],
    "method": "t2t",
    "per_class": 4,
    "min_image_cosine": None,
    "max_duplicate_cosine": None,
    "seed_share": 0.5,
    "against": [],
    "max_evaluation_cosine": 0.99,
}


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    return Run(workspace=workspace, seed=7)


@pytest.fixture
def rule(run):
    split = publish(run.workspace, PICTURES)
    return RULE | {"lists": [{"classes": ["cat", "dog"], "split": split}], "split": split}


def rows_of(output):
    return output.tables["retrieved"].to_pylist()


def captions(output, name, verdict="kept"):
    chosen = [row for row in rows_of(output) if row["class"] == name and row["verdict"] == verdict]
    return [PICTURES[int(row["uid"], 16)].caption for row in chosen]


@pytest.mark.parametrize("method", ["t2t", "t2i", "swat"])
def test_candidates_are_the_pictures_whose_caption_holds_a_name_with_the_first_of_these(run, rule, method):
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"method": method, "per_class": 50}))
    assert output.tables["retrieved"].schema == RETRIEVED
    assert set(captions(output, "cat")) == {
        one.caption for one in PICTURES if {"cat", "kitten"} & {*one.caption.split()}
    } - {"a cat to validate"}
    assert len(captions(output, "cat")) == len(set(captions(output, "cat")))
    assert {row["name"] for row in rows_of(output) if row["class"] == "cat"} == {"cat", "kitten"}
    assert captions(output, "yak") == []
    assert output.notes["short"] == ["cat", "dog", "yak"]


@pytest.mark.parametrize("method", ["t2t", "t2i", "swat", "reco"])
def test_judged_pictures_are_never_chosen_whatever_their_rank(run, rule, method):
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"method": method, "per_class": 50}))
    judged = {"a cat to validate": "validation_picture", "a dog to test": "test_picture"}
    for row in rows_of(output):
        caption = PICTURES[int(row["uid"], 16)].caption
        assert row["reason"] == judged.get(caption, row["reason"])
        assert (caption in judged) <= (row["verdict"] == "dropped")
    assert output.notes["excluded"] == {"test_picture": 1, "validation_picture": 1}


@pytest.mark.parametrize(("strength", "reason"), [(0.2, "test_picture"), (0.2005, "test_picture"), (0.4, "")])
def test_a_twin_of_a_judged_picture_is_excluded_with_it(run, strength, reason):
    twin = Picture("", {"dog": 1.0, "f": strength}, "", caption="two dogs again")
    split = publish(run.workspace, [*PICTURES, twin])
    rule = RULE | {"lists": [{"classes": ["cat", "dog"], "split": split}], "split": split, "per_class": 50}
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule))
    assert [row["reason"] for row in rows_of(output) if int(row["uid"], 16) == len(PICTURES)] == [reason]


def test_ranks_follow_the_score_of_the_method_and_begin_at_one(run, rule):
    for method, score in (("t2t", "caption_cosine"), ("t2i", "image_cosine"), ("reco", "image_cosine")):
        rows = rows_of(retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"method": method})))
        for name in ("cat", "dog"):
            mine = [row for row in rows if row["class"] == name]
            assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
            assert [row[score] for row in mine] == sorted((row[score] for row in mine), reverse=True)


def test_every_candidate_has_one_verdict_and_the_counts_add_up(run, rule):
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule))
    rows = rows_of(output)
    verdicts = Counter(row["verdict"] for row in rows)
    assert sum(verdicts.values()) == sum(row["candidates"] for row in output.tables["classes"].to_pylist())
    assert verdicts["kept"] == output.notes["kept"] == 8
    assert all(bool(row["reason"]) == (row["verdict"] != "kept") for row in rows)
    assert all((row["into"] is not None) == (row["verdict"] == "merged") for row in rows)
    assert output.notes["reasons"]["beyond_per_class"] == verdicts["dropped"] - 2
    for row in output.tables["classes"].to_pylist():
        assert row["short"] == RULE["per_class"] - row["kept"]


def test_a_picture_of_two_classes_serves_both_and_is_counted_once(run, rule):
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"per_class": 50}))
    assert "a cat and a dog" in captions(output, "cat")
    assert "a cat and a dog" in captions(output, "dog")
    assert output.notes["different_pictures"] == output.notes["kept"] - 1
    assert [row["kept_for_others"] for row in output.tables["classes"].to_pylist()] == [1, 1, 0]


def test_far_pictures_go_and_near_ones_are_merged_by_the_limits_of_swat(run, rule):
    free = retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"method": "swat", "per_class": 50}))
    cosines = {row["uid"]: row["image_cosine"] for row in rows_of(free) if row["class"] == "cat"}
    limit = sorted(cosines.values())[3]
    limited = retrieve(
        run, (), RETRIEVE_SUPPORT.read(rule | {"method": "swat", "per_class": 50, "min_image_cosine": limit})
    )
    far = {row["uid"] for row in rows_of(limited) if row["reason"] == "image_cosine" and row["class"] == "cat"}
    assert far == {uid for uid, cosine in cosines.items() if cosine < limit} - {f"{14:032x}"}
    merged = retrieve(
        run, (), RETRIEVE_SUPPORT.read(rule | {"method": "swat", "per_class": 50, "max_duplicate_cosine": 0.5})
    )
    kept = {row["uid"] for row in rows_of(merged) if row["verdict"] == "kept" and row["class"] == "cat"}
    twins = [row["into"] for row in rows_of(merged) if row["verdict"] == "merged" and row["class"] == "cat"]
    assert twins
    assert set(twins) <= kept


def test_reco_asks_for_no_caption(run, rule):
    output = retrieve(run, (), RETRIEVE_SUPPORT.read(rule | {"method": "reco", "per_class": 3}))
    assert {(row["name"], row["caption_cosine"]) for row in rows_of(output)} == {(None, None)}
    assert "nothing named" in captions(output, "dog")
    assert [row["kept"] for row in output.tables["classes"].to_pylist()] == [3, 3, 3]


def test_pictures_near_those_of_an_evaluation_set_are_excluded(run, rule, tmp_path):
    store = FeatureStore(run.workspace, WordEncoder.identity, "images")
    np.savez(tmp_path / "val.npz", features=store.read([f"{8:032x}"])[0].astype(np.float32))
    output = retrieve(
        run,
        (),
        RETRIEVE_SUPPORT.read(
            rule | {"per_class": 50, "against": [str(tmp_path / "val.npz")], "max_evaluation_cosine": 0.998}
        ),
    )
    assert {row["uid"] for row in rows_of(output) if row["reason"] == "evaluation_set"} == {f"{8:032x}"}
    assert output.notes["excluded"]["evaluation_set"] == 1


def test_prototypes_are_unit_vectors_of_texts_and_of_the_kept_pictures(run, rule):
    table = retrieve(run, (), RETRIEVE_SUPPORT.read(rule)).tables["prototypes"].to_pylist()
    assert [(row["class"], row["kind"]) for row in table] == [
        *(("cat", "text"), ("cat", "image"), ("dog", "text"), ("dog", "image"), ("yak", "text"))
    ]
    lengths = [np.linalg.norm(row["vector"]) for row in table]
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
    texts = prompt_vectors(run, [["cat", "kitten"]], ["a photo of a {}", "a bad photo of a {}"])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-3)


def test_another_split_build_or_set_is_another_key_and_the_seed_is_not(run, rule, tmp_path):
    def key(run, **changes):
        return RETRIEVE_SUPPORT.spec(run, (), RETRIEVE_SUPPORT.read(rule | changes)).key

    first = key(run)
    assert key(Run(workspace=run.workspace, seed=8)) == first
    assert key(run, per_class=5) != first
    split = tmp_path / "other.csv"
    split.write_text("key,part\nhttp://p.test/x,test\n")
    assert key(run, lists=[{"classes": ["cat"], "split": str(split)}]) != first
    np.savez(tmp_path / "val.npz", features=np.eye(3, 16))
    one = key(run, against=[str(tmp_path / "val.npz")])
    np.savez(tmp_path / "val.npz", features=np.eye(4, 16))
    assert key(run, against=[str(tmp_path / "val.npz")]) != one


def test_features_of_another_encoder_are_refused(run, rule, monkeypatch):
    monkeypatch.setattr(WordEncoder, "identity", "1" * 64)
    with pytest.raises(InvalidFeaturesError, match="must be the encoder of the build"):
        retrieve(run, (), RETRIEVE_SUPPORT.read(rule))


# The same as arrays that adapters are fitted on.


def test_arrays_hold_what_was_kept_with_its_class_and_the_judged_parts(run, rule):
    record = run_step(run, RETRIEVE_SUPPORT, (), RETRIEVE_SUPPORT.read(rule))
    arrays = support_arrays(run, record)
    kept = run.ledger.table(record, "retrieved").to_pylist()
    kept = [row for row in kept if row["verdict"] == "kept"]
    assert arrays["train_labels"].tolist() == [list(NAMES).index(row["class"]) for row in kept]
    assert len(arrays["train_features"]) == len(arrays["train_caption_features"]) == len(arrays["train_norms"]) == 8
    assert len(arrays["unlabelled_features"]) == len({row["image_id"] for row in kept})
    assert (arrays["val_labels"].tolist(), arrays["test_labels"].tolist()) == ([0], [1])
    assert arrays["class_text_labels"].tolist() == [0, 0, 1, 2]
    assert arrays["prototypes"].shape == (3, 16)
    assert arrays["encoder"].tolist() == ["embedded", "", WordEncoder.identity]


def test_a_list_that_retrieved_nothing_has_empty_arrays_and_no_judged_parts(run, rule):
    publish(run.workspace, [Picture("", {"moon": 1.0}, "", caption="the moon")], build="some-2")
    nothing = rule | {"build": "some-2", "names": {"yak": []}, "lists": []}
    arrays = support_arrays(run, run_step(run, RETRIEVE_SUPPORT, (), RETRIEVE_SUPPORT.read(nothing)))
    assert (len(arrays["train_features"]), len(arrays["unlabelled_features"])) == (0, 0)
    assert not [name for name in arrays if name.startswith(("val", "test"))]
