"""Which pairs of classes are taken for each other: by train and val pictures, never by test pictures, or by texts."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError
from evenly.storage.errors import NotFoundError
from evenly.storage.workspace import Workspace
from evenly.tasks.classes.confusable import ConfusableRule, expected_pairs, find_confusable, said
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ["red fox", "grey wolf", "oak tree", "ship", "spoon"]
RULE = ConfusableRule(list="some", classes=tuple(CLASSES), top=2, cover=1.0)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=7)


def confused(a: str, b: str, part: str) -> Picture:
    return Picture(label=a, shows={a: 1.0, b: 0.9}, part=part)


PICTURES = [
    *[confused("red fox", "grey wolf", "train")] * 6,
    *[confused("oak tree", "red fox", "val")] * 3,
    confused("ship", "spoon", "train"),
    *[confused("spoon", "oak tree", "test")] * 20,
]


def found(run: Run, **changes) -> list[tuple[str, str, int]]:
    rows = find_confusable(run, (), replace(RULE, **changes)).tables["pairs"].to_pylist()
    return [(row["first"], row["second"], row["seen"]) for row in rows]


def test_pairs_are_those_of_train_and_val_pictures_in_the_order_of_the_list(run):
    split = publish(run.workspace, PICTURES)
    assert found(run, build="some-1", split=split) == [
        ("red fox", "grey wolf", 6),
        ("red fox", "oak tree", 3),
        ("ship", "spoon", 1),
    ]
    back = found(run, build="some-1", split=split, classes=tuple(CLASSES[::-1]))
    assert back == [("spoon", "ship", 1), ("oak tree", "red fox", 3), ("grey wolf", "red fox", 6)]


def test_the_rarest_pairs_are_left_out_and_counted(run):
    split = publish(run.workspace, PICTURES)
    output = find_confusable(run, (), replace(RULE, build="some-1", split=split, cover=0.9))
    assert [row["seen"] for row in output.tables["pairs"].to_pylist()] == [6, 3]
    assert output.notes == {
        "pairs_asked": 2,
        "pairs_seen": 3,
        "pairs_possible": 10,
        "pairs_by": "the top 2 of 10 train and val pictures of some-1",
    }
    assert said(output.notes).startswith("2 of 10 pairs of classes to tell apart, the most frequent of 3")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shown=st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), max_size=12))
def test_test_pictures_choose_nothing(tmp_path_factory, shown):
    workspace = Workspace.at(tmp_path_factory.mktemp("w"))
    run = Run(workspace=workspace, seed=7)
    others = [picture for picture in PICTURES if picture.part != "test"]
    split = publish(workspace, [*others, *(Picture(a, {a: 1.0, b: 0.4}, "test") for a, b in shown)])
    assert [seen for _, _, seen in found(run, build="some-1", split=split)] == [6, 3, 1]


def test_without_a_build_the_texts_of_the_classes_stand_in(run):
    output = find_confusable(run, (), RULE)
    assert output.notes["pairs_by"] == "the top 2 of 5 class texts"
    assert 3 <= output.notes["pairs_asked"] == output.notes["pairs_seen"] <= 5
    assert output.tables["pairs"]["seen"].to_pylist() != []


def test_a_build_without_pictures_of_the_classes_falls_back_to_texts_and_says_so(run):
    split = publish(run.workspace, PICTURES)
    strangers = ["moon", "river", "stone"]
    output = find_confusable(run, (), replace(RULE, build="some-1", split=split, classes=tuple(strangers)))
    assert output.notes["pairs_by"] == "the top 2 of 3 class texts, for want of train and val pictures of some-1"


def test_a_build_whose_pictures_have_no_features_says_what_it_lacks(run):
    split = publish(run.workspace, PICTURES, features=False)
    with pytest.raises(NotFoundError, match=r"10 of 10 have none\. Run `evenly extract RECIPE`, or name no build"):
        find_confusable(run, (), replace(RULE, build="some-1", split=split))


def test_features_of_another_encoder_are_refused(run, monkeypatch):
    split = publish(run.workspace, PICTURES)
    monkeypatch.setattr(WordEncoder, "identity", "1" * 64)
    with pytest.raises(InvalidFeaturesError, match="must be the encoder of the build"):
        find_confusable(run, (), replace(RULE, build="some-1", split=split))


def test_a_single_class_makes_no_pair(run):
    output = find_confusable(run, (), replace(RULE, classes=("ship",)))
    assert output.notes | {"pairs_by": ""} == {"pairs_asked": 0, "pairs_seen": 0, "pairs_possible": 0, "pairs_by": ""}


def test_a_plan_expects_the_pairs_that_the_step_finds(run):
    split = publish(run.workspace, PICTURES)
    pairs, possible, _ = expected_pairs(run, replace(RULE, build="some-1", split=split))
    assert pairs == [("red fox", "grey wolf"), ("red fox", "oak tree"), ("ship", "spoon")]
    assert possible == 10
