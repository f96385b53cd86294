"""Phrases of captions by class: of train pairs of a build alone."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.workspace import Workspace
from evenly.tasks.classes.phrases import FIND_PHRASES, PhrasesRule, find_phrases, phrases_by_class
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.labelled_build import Picture, WordEncoder, publish

CAPTIONS = {
    "owl": ["a barn owl at night", "the barn owl", "a barn owl on a branch", "barn owl asleep"] * 2,
    "ship": ["a ship with a red sail", "the red sail", "red sail at sea", "a red sail"] * 2,
}


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


def pictures(part, captions=CAPTIONS):
    return [
        Picture(name, {name: 1.0, f"{part} {number}": 0.3}, part, caption=caption)
        for name, texts in captions.items()
        for number, caption in enumerate(texts)
    ]


def found(workspace, shown):
    split = publish(workspace, shown)
    rule = PhrasesRule(list="things", classes=tuple(CAPTIONS), build="some-1", split=split)
    return find_phrases(Run(workspace=workspace, seed=7), (), rule)


def test_phrases_of_train_captions_stand_by_class_with_their_counts(workspace):
    output = found(workspace, pictures("train"))
    rows = {(row["class"], row["phrase"]): row for row in output.tables["phrases"].to_pylist()}
    assert (rows["ship", "red sail"]["captions"], rows["ship", "red sail"]["elsewhere"]) == (8, 0)
    assert {name for name, _ in rows} == {"owl", "ship"}
    assert output.notes == {"captions_searched": 16}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions=st.lists(st.sampled_from(["a blue moon", "red sail", "barn owl", "green frog"]), max_size=8))
@pytest.mark.parametrize("part", ["val", "test"])
def test_captions_of_val_and_test_pictures_have_no_say(tmp_path_factory, part, captions):
    others = [*pictures(part), *pictures(part, {"owl": captions, "ship": captions[::-1]})]
    tables = [
        found(Workspace.at(tmp_path_factory.mktemp("w")), [*pictures("train"), *more]).tables["phrases"]
        for more in ([], others)
    ]
    assert tables[0].equals(tables[1])


def test_a_record_gives_the_phrases_of_each_class(workspace):
    run, split = Run(workspace=workspace, seed=7), publish(workspace, pictures("train"))
    rule = PhrasesRule(list="things", classes=tuple(CAPTIONS), build="some-1", split=split)
    assert "red sail" in phrases_by_class(run, run_step(run, FIND_PHRASES, (), rule))["ship"]
