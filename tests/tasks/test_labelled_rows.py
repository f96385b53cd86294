"""What the rows of a build hold: the second backbone wherever something can use it."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from evenly.adapters.evaluation.protocols.experiment import fit_and_evaluate
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.records import read_record
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS, evaluate_adapters
from evenly.tasks.classes.texts import filled_templates
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.run import Run, SecondChoice
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ["cat", "dog"]
PARTS = ("train", "val", "test")
SECOND = "1" * 64
RULE = {"build": "some-1", "list": "things", "classes": CLASSES, "texts": {}, "describe": None, "adapters": ["cooked"]}


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    """A run with a second backbone, on a build whose pictures have their rows by it."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    monkeypatch.setattr("evenly.tasks.encoders._load_second", lambda *_: SimpleNamespace(identity=SECOND))
    pictures = [
        Picture(name, {name: 1.0, f"{part} {number}": 0.8}, part)
        for name in [*CLASSES, "tree"]
        for part in ("train", "val", "test")
        for number in range(4)
    ]
    pictures += [Picture("", {"cat": 0.5, f"b {number}": 0.8}, "") for number in range(3)]  # without a label
    split = publish(workspace, pictures)
    ids = [f"{number:032x}" for number in range(len(pictures))]
    rows = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    rows += 3 * np.repeat(np.eye(4, 8, dtype=np.float32), 12, axis=0)[: len(ids)]
    norms = np.linalg.norm(rows, axis=1)
    FeatureStore(workspace, SECOND, "images").append(ids, (rows / norms[:, None]).astype(np.float16), norms)
    RULE["split"] = split
    return Run(workspace=workspace, seed=7, second=SecondChoice())


@pytest.mark.parametrize(
    ("adapters", "unseen", "made"),
    [
        (["amu"], {}, True),
        (["cooked"], {}, True),
        (["gda"], {}, False),
        (["gda"], {"near": ["tree"], "far": []}, True),
        (["gda"], {"near": [], "far": []}, False),
    ],
)
def test_rows_of_the_second_backbone_are_made_where_something_can_use_them(run, adapters, unseen, made):
    manifest = Builds(run.workspace).read("some-1")
    rows = labelled_rows(run, manifest, EVALUATE_ADAPTERS.read(RULE | {"unseen": unseen}), adapters=adapters)
    assert (rows.features.second is not None) == made
    identity = EVALUATE_ADAPTERS.spec(
        run, (), EVALUATE_ADAPTERS.read(RULE | {"unseen": unseen, "adapters": adapters})
    ).inputs.get("second")
    assert identity == (SECOND if made else None)


def test_the_third_classifier_of_cooked_does_not_depend_on_its_neighbours(run):
    alone = evaluate_adapters(run, (), EVALUATE_ADAPTERS.read(RULE | {"unseen": {"near": ["tree"]}}))
    beside = evaluate_adapters(
        run, (), EVALUATE_ADAPTERS.read(RULE | {"unseen": {"near": ["tree"]}, "adapters": ["amu", "cooked"]})
    )
    tables = [output.tables["ensembles"].to_pandas() for output in (alone, beside)]
    assert set(tables[0]["part"]) == {"zero-shot", "probe on the image features", "probe on the second backbone", "all"}
    assert tables[0].equals(tables[1])
    near = tables[0][tables[0]["set"] == "near"]
    assert len(near) == 4
    assert near["auroc"].between(0, 1).all()


def pool_of(run, rule):
    return labelled_rows(
        run, Builds(run.workspace).read("some-1"), EVALUATE_ADAPTERS.read(RULE | rule), adapters=["nola"]
    )


def test_the_pool_is_the_train_pictures_without_labels_and_those_that_have_none(run):
    rows = pool_of(run, {})
    train = np.flatnonzero(rows.split == "train")
    assert (len(train), len(rows.unlabelled)) == (8, 3)
    assert np.array_equal(rows.features.unlabelled[:8], rows.features.image[train])
    assert np.array_equal(rows.features.unlabelled[8:], rows.unlabelled.image)
    assert np.array_equal(rows.features.unlabelled_second[:8], rows.features.second[train])
    assert rows.features.unlabelled_second.shape == (11, 8)
    judged = rows.features.image[rows.split != "train"]
    assert not (rows.features.unlabelled[:, None] == judged[None]).all(axis=2).any()
    assert np.array_equal(rows.without_train_pool().unlabelled, rows.unlabelled.image)
    sparing = labelled_rows(
        run, Builds(run.workspace).read("some-1"), EVALUATE_ADAPTERS.read(RULE), adapters=["cooked", "grip"]
    )
    assert len(sparing.features.unlabelled) == 11
    assert sparing.features.second is not None
    assert sparing.unlabelled.second is None


def test_a_picture_without_a_label_in_a_group_of_a_judged_one_is_in_no_pool(run, monkeypatch):
    from evenly.tasks import labelled_rows as module

    kept_with_groups = module.kept_with_groups

    def grouped(run, manifest):
        kept, groups = kept_with_groups(run, manifest)
        uids = kept["uid"].to_pylist()
        for unlabelled, judged in ((36, 8), (37, 24)):  # a test picture of a class, a picture of the unseen set
            groups[uids.index(f"{unlabelled:032x}")] = groups[uids.index(f"{judged:032x}")]
        return kept, groups

    monkeypatch.setattr(module, "kept_with_groups", grouped)
    assert len(pool_of(run, {"unseen": {"near": ["tree"]}}).unlabelled) == 1
    assert len(pool_of(run, {}).unlabelled) == 2


def test_an_evaluation_says_what_its_pool_is(run):
    notes = evaluate_adapters(run, (), EVALUATE_ADAPTERS.read(RULE | {"adapters": ["gda_em"]})).notes["notes"]
    assert "unlabelled pool: 8 train pictures, labels hidden, and 3 without a label" in notes
    assert not any(
        "unlabelled pool" in note for note in evaluate_adapters(run, (), EVALUATE_ADAPTERS.read(RULE)).notes["notes"]
    )


def test_the_card_of_an_adapter_that_judges_by_descriptions_has_their_words(run, monkeypatch):
    monkeypatch.setattr("evenly.tasks.adapters.fit.fit_and_evaluate", partial(fit_and_evaluate, guard=False))
    texts = {"description": {"dog": ["dog, which has a tail", "dog, which barks"], "cat": ["cat, which has whiskers"]}}
    evaluate_adapters(run, (), EVALUATE_ADAPTERS.read(RULE | {"texts": texts, "adapters": ["vcd"], "describe": "d"}))
    cards = [read_record(path) for path in (run.workspace.adapters / "some-1" / "things").glob("vcd-*.json")]
    words = ["cat, which has whiskers", "dog, which has a tail", "dog, which barks"]
    assert [(card["adapter"], card["class_texts"]) for card in cards] == [("vcd", words)] * 2


SYNONYMS = {"synonyms": {"cat": ["tomcat", "feline"], "dog": ["hound"]}}


@pytest.fixture
def captioned(workspace, monkeypatch):
    """Captions that say "hound" in train, and "feline" in the test pictures alone."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    said = {"cat": {"train": "a tomcat", "val": "a cat", "test": "a feline"}, "dog": dict.fromkeys(PARTS, "one Hound")}
    pictures = [
        Picture(name, {name: 1.0, f"{part} {number}": 0.8}, part, caption=said[name][part])
        for name in CLASSES
        for part in PARTS
        for number in range(4 if part == "test" else 2)
    ]
    return RULE | {"split": publish(workspace, pictures), "texts": SYNONYMS}


@pytest.mark.parametrize("templates", [[], ["a photo of a {}", "an icon of a {}"]])
def test_classes_go_by_the_names_that_captions_say_most_often_but_for_those_of_test_pictures(
    captioned, workspace, templates
):
    run = Run(workspace=workspace, seed=7)
    rule = captioned | {"frequent_names": "relaxed", "templates": templates}
    rows = labelled_rows(run, Builds(workspace).read("some-1"), EVALUATE_ADAPTERS.read(rule), adapters=["gda"])
    expected = filled_templates(run, ["cat", "hound"], templates or ["{}"])  # of "cat" and "tomcat" the first
    np.testing.assert_allclose(rows.prototypes["frequent_names"], expected, atol=1e-6)
    assert next(iter(rows.prototypes)) == "names"
    assert "frequent names (relaxed), by 8 captions: hound for dog" in rows.notes
    plain = labelled_rows(run, Builds(workspace).read("some-1"), EVALUATE_ADAPTERS.read(captioned), adapters=["gda"])
    assert "frequent_names" not in plain.prototypes
