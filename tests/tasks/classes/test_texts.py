"""Which texts become prototypes, and which stand beside them: contexts, denials, rejections, texts about pairs."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.class_texts import ClassTexts, texts_beside
from evenly.adapters.features import Features
from evenly.adapters.methods.fudd import DifferentialTexts
from evenly.tasks.classes.texts import class_texts, prototypes
from evenly.tasks.run import Run
from tests.labelled_build import DIMENSION, WordEncoder

CLASSES = ["red fox", "grey wolf"]
GENERATED = {
    "description": {"red fox": ["red fox, which has a bushy tail"]},
    "contexts": {"": ["a photo of a {}, at night.", "a drawing of a {}"]},
    "negations": {"": ["a photo without a {}"]},
    "near_misses": {"red fox": ["jackal", "dhole"], "grey wolf": ["jackal"]},
}
RULE = ClassTexts(
    classes=tuple(CLASSES),
    texts=GENERATED,
    contexts=("a drawing of a {}", "an icon of a {}"),
    rejections=("sign",),
)


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    return Run(workspace=workspace, seed=7)


def unit(texts):
    rows = WordEncoder().encode_texts(texts)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_generated_texts_stand_behind_those_by_hand_each_once():
    assert texts_beside(RULE, "contexts") == ["a drawing of a {}", "an icon of a {}", "a photo of a {}, at night."]
    assert texts_beside(RULE, "negations") == ["a photo without a {}"]
    assert texts_beside(RULE, "rejections") == ["sign", "jackal", "dhole"]


def test_each_context_is_a_set_of_prototypes_and_rejections_are_texts_as_they_are(run):
    found = class_texts(run, RULE)
    assert found["context_prototypes"].shape == (3, 2, DIMENSION)
    np.testing.assert_allclose(
        found["context_prototypes"][2], unit([f"a photo of a {name}, at night." for name in CLASSES]), atol=2e-3
    )
    np.testing.assert_allclose(
        found["negation_prototypes"], unit([f"a photo without a {name}" for name in CLASSES]), atol=2e-3
    )
    np.testing.assert_allclose(found["rejection_prototypes"], unit(["sign", "jackal", "dhole"]), atol=2e-3)
    assert found["rejection_names"] == ("sign", "jackal", "dhole")
    assert "pair_texts" not in found


def test_texts_that_say_what_a_class_is_not_or_is_like_make_no_prototypes(run):
    assert list(prototypes(run, RULE)) == ["names", "description"]


def test_without_generated_texts_there_is_what_the_recipe_gives(run):
    found = class_texts(run, replace(RULE, texts={}, contexts=(), rejections=()))
    assert found == {}


def test_texts_about_pairs_know_both_classes_in_the_order_of_the_list(run):
    texts = [["grey wolf", "red fox", "grey wolf, which is grey"], ["red fox", "grey wolf", "red fox, which is red"]]
    found = class_texts(run, replace(RULE, pair_texts=texts))
    assert found["pair_text_classes"].tolist() == [[1, 0], [0, 1]]
    np.testing.assert_allclose(found["pair_texts"], unit([text for _, _, text in texts]), atol=2e-3)
    record = Features(image=unit(["a red fox"]).astype(np.float32), prototypes=prototypes(run, RULE)["names"])
    adapter = DifferentialTexts(k=2).fit(
        Features(image=record.image, prototypes=record.prototypes, **only_pairs(found)), np.zeros(1, np.int64)
    )
    assert adapter.predict(record).tolist() == [0]
    assert adapter.fallback_ == ""


def test_where_no_text_about_a_pair_was_accepted_the_adapter_is_told_so(run):
    found = class_texts(run, replace(RULE, pair_texts=[]))
    assert found["pair_texts"].shape == (0, DIMENSION)
    assert found["pair_text_classes"].shape == (0, 2)
    names = prototypes(run, RULE)["names"]
    adapter = DifferentialTexts().fit(Features(image=names, prototypes=names, **only_pairs(found)), np.arange(2))
    assert adapter.fallback_ == "zero-shot: no pair texts"


def only_pairs(found):
    return {name: found[name] for name in ("pair_texts", "pair_text_classes")}


def test_what_a_selection_is_made_from_names_no_class_and_belongs_to_the_classes_it_was_said_of(run):
    phrases = {"red fox": ["bushy tail", "looks like a grey wolf"], "grey wolf": ["long legs", "bushy tail"]}
    found = class_texts(run, replace(RULE, phrases=phrases))
    assert found["descriptor_text_labels"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(found["descriptor_texts"], unit(["bushy tail", "long legs", "bushy tail"]), atol=2e-3)
    assert "descriptor_texts" not in class_texts(run, RULE)
