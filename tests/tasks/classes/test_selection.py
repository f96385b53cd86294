"""Texts of a description that stay on a build: by train and val pictures, with reasons; test ones choose nothing."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.adapters.class_texts import EvaluationRule
from evenly.flows.cli.classes.description_versions import edited_description, find_version
from evenly.flows.recipe.files import ListingText
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS
from evenly.tasks.classes.describe import accepted
from evenly.tasks.classes.selection import SELECT_TEXTS, select_texts, selection_in_words, selection_rule
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ("zorp", "quib", "vask", "lomu")
TELLING = {"zorp": "long whiskers", "quib": "tall sails", "vask": "green leaves", "lomu": "round wheels"}
NOISE = ("has some thing", "has what is here", "has nice parts")


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


def pictures(parts=("train", "val", "test"), each=8):
    return [
        Picture(name, {TELLING[name]: 1.0, f"{part} {name} {number}": 0.3}, part)
        for name in CLASSES
        for part in parts
        for number in range(each)
    ]


def described(workspace, phrases):
    """The record of texts in a file: the phrases of each class, and a synonym for each."""
    rows = [f"{name},description,{phrase}" for name in phrases for phrase in phrases[name]]
    rows += [f"{name},synonyms,{name} thing" for name in CLASSES]
    file = workspace.root / "texts.csv"
    file.write_text("\n".join(["class,method,phrase", *rows]) + "\n")
    return edited_description(
        Ledger(workspace), ListingText(name="things", text="\n".join(CLASSES)), file, method="description"
    )


def selected(workspace, shown, phrases):
    run = Run(workspace=workspace, seed=7)
    split = publish(workspace, shown)
    record = described(workspace, phrases)
    return select_texts(run, (record,), selection_rule(record, classes=CLASSES, build="some-1", split=split))


NAMED = [replace(picture, shows={**picture.shows, picture.label: 2.0}) for picture in pictures()]
"""Pictures of which the names tell all."""
HELPFUL = {name: [NOISE[0], f"has {TELLING[name]}", *NOISE[1:]] for name in CLASSES}


def verdicts(output, method="description"):
    return [
        (row["class"], row["phrase"], row["verdict"], row["reason"])
        for row in output.tables["descriptions"].to_pylist()
        if row["method"] == method
    ]


def test_texts_that_help_stay_and_each_other_has_its_reason(workspace):
    output = selected(workspace, pictures(), HELPFUL)
    ends = {(verdict, reason) for *_, verdict, reason in verdicts(output)}
    assert ends == {("accepted", ""), ("rejected", "gains_less_than_others")}
    stays = {(name, phrase) for name, phrase, verdict, _ in verdicts(output) if verdict == "accepted"}
    assert len(stays & {(name, f"has {TELLING[name]}") for name in CLASSES}) >= 3
    (about,) = output.notes["selection"]
    assert about["stay"] == len(stays) < about["texts"] == 16
    assert about["accuracy_by_texts"] > about["accuracy_by_names"]
    (sentence,) = selection_in_words(output.notes)
    assert f"by the labels of 32 train and 32 val pictures: {about['stay']} of 16 stay, at most" in sentence


def test_names_are_not_judged(workspace):
    assert {verdict for *_, verdict, _ in verdicts(selected(workspace, pictures(), HELPFUL), "synonyms")} == {
        "accepted"
    }


def test_texts_that_do_not_help_leave_no_descriptions(workspace):
    output = selected(workspace, NAMED, HELPFUL)
    assert {(verdict, reason) for *_, verdict, reason in verdicts(output)} == {("rejected", "no_gain_on_validation")}
    assert "no descriptions" in selection_in_words(output.notes)[0]


def test_texts_of_one_class_are_no_descriptions(workspace):
    output = selected(workspace, pictures(), {"zorp": [f"has {TELLING['zorp']}"]})
    assert [reason for *_, reason in verdicts(output)] == ["too_few_classes_described"]


@pytest.mark.parametrize("parts", [("train", "test"), ("val", "test"), ()])
def test_without_train_or_val_pictures_all_texts_stay(workspace, parts):
    shown = pictures(parts) or [Picture("another", {"moon": 1.0}, "train")]
    output = selected(workspace, shown, HELPFUL)
    assert {verdict for *_, verdict, _ in verdicts(output)} == {"accepted"}
    assert output.notes["selection"] == []
    assert 0 in output.notes["pictures"].values()


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shown=st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), max_size=12))
def test_test_pictures_choose_nothing(tmp_path_factory, shown):
    def chosen(test_pictures):
        workspace = Workspace.at(tmp_path_factory.mktemp("w"))
        return verdicts(selected(workspace, [*pictures(("train", "val")), *test_pictures], HELPFUL))

    others = [
        Picture(name, {TELLING[other]: 1.0, f"test {number}": 0.3}, "test")
        for number, (name, other) in enumerate(shown)
    ]
    assert chosen(others) == chosen([])


def test_the_step_is_found_again_and_made_anew_for_another_description(workspace):
    run, split = Run(workspace=workspace, seed=7), publish(workspace, pictures())
    record = described(workspace, HELPFUL)
    rule = selection_rule(record, classes=CLASSES, build="some-1", split=split)
    first = run_step(run, SELECT_TEXTS, (record,), rule)
    assert run_step(run, SELECT_TEXTS, (record,), rule).key == first.key
    other = described(workspace, dict.fromkeys(CLASSES, NOISE))
    changed = replace(rule, describe=other.key)
    assert SELECT_TEXTS.spec(run, (other,), changed).key != first.key


def chosen_texts(workspace):
    run, split = Run(workspace=workspace, seed=7), publish(workspace, NAMED)
    record = described(workspace, HELPFUL)
    rule = selection_rule(record, classes=CLASSES, build="some-1", split=split)
    return run, split, record, run_step(run, SELECT_TEXTS, (record,), rule)


def test_what_needs_descriptions_is_named_and_not_fitted_where_none_stay(workspace):
    run, split = Run(workspace=workspace, seed=7), publish(workspace, NAMED)
    record = described(workspace, HELPFUL)
    chosen = run_step(
        run, SELECT_TEXTS, (record,), selection_rule(record, classes=CLASSES, build="some-1", split=split)
    )
    texts = accepted(run, chosen).texts()
    assert set(texts) == {"synonyms"}
    rule = EvaluationRule(
        build="some-1",
        list="things",
        classes=CLASSES,
        split=split,
        adapters=("gda", "vcd"),
        describe=chosen.key,
        texts=texts,
    )
    evaluated = run_step(run, EVALUATE_ADAPTERS, (), rule)
    notes = evaluated.notes["notes"]
    assert "vcd is not fitted: no descriptions, and so no class_texts, class_text_labels" in notes
    assert any(note.startswith("texts of description") and "no descriptions" in note for note in notes)
    assert set(run.ledger.table(evaluated, "results")["name"].to_pylist()) == {"zero_shot", "gda"}


def test_the_key_of_a_choice_shows_the_description_with_its_verdicts(workspace):
    run, split = Run(workspace=workspace, seed=7), publish(workspace, NAMED)
    record = described(workspace, HELPFUL)
    chosen = run_step(
        run, SELECT_TEXTS, (record,), selection_rule(record, classes=CLASSES, build="some-1", split=split)
    )
    by_choice, by_list = (find_version(name, root=workspace.root) for name in (chosen.key[:12], "things"))
    assert by_choice.record.key == by_list.record.key == record.key
    assert by_choice.facts()["accepted"] == len(CLASSES) < by_list.facts()["accepted"]
