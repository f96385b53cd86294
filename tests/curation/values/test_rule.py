"""The rule of a value says what it lacks, and comes back from a recipe and a record as it was."""

import json
import re

import pytest
from pydantic import ValidationError

from evenly.curation.encoder_name import EncoderName
from evenly.curation.errors import RuleError
from evenly.curation.steps import STEPS
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.methods import SCORE_FEATURES
from evenly.curation.values.rule import PLACES, NamedBounds, ScorersRule, Value, ValuesRule
from evenly.curation.values.scoring import SCORES
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.problems import describe_problems
from evenly.storage.records import stored_fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "must have min, max or both, or keep_top, or in; got none of them"),
        ({"min": 0.1, "keep_top": 0.5}, "got min, keep_top"),
        ({"among": ("a",), "max": 1.0}, "got max, in"),
        ({"min": 2.0, "max": 1.0}, "`min` must be at most max, 1.0; got 2.0"),
        ({"keep_top": 1.5}, "`keep_top` must be in (0, 1]; got 1.5"),
        ({"among": ()}, "`in` must list at least one value"),
        ({"min": float("nan")}, "`min` must be finite"),
        ({"min": 0.1, "at": "end"}, "`at` must be one of pool, texts, images, pairs; got 'end'"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(fields, message):
    with pytest.raises(RuleError) as refused:
        Value(column="clip", **fields)
    assert message in str(refused.value)


def test_a_recipe_has_a_rule_for_each_place():
    values = {place: {"column": "clip", "at": place, "in": [1, 2]} for place in PLACES}
    curate = Curate.model_validate({"values": values, "download": {}})
    for place, judgement in VALUES.items():
        rule = curate.rule_of(judgement)
        assert rule == ValuesRule(values=(NamedBounds(name=place, column="clip", at=place, among=(1, 2)),))
        assert ValuesRule.load(stored_fields(rule)) == rule
    assert list(VALUES.values()) == [judgement for judgement in STEPS.values() if judgement.rule is ValuesRule]
    assert curate.needing("pictures") == ["image", "values.images"]


def test_a_value_of_pictures_needs_a_download():
    with pytest.raises(ValueError, match=r"values\.sharp must have the pictures"):
        Curate.model_validate({"values": {"sharp": {"column": "s", "min": 1, "at": "images"}}})


@pytest.mark.parametrize("name", ["uid", "value", "colour", "width", "label", "image_size_value"])
def test_a_scorer_is_called_as_no_column_of_pairs_is(name):
    scorer = {"python": "scorers.py:score", "reads": ["caption"], "min": 1}
    with pytest.raises(ValueError, match=rf"values\.{name} must be called as no column of pairs is"):
        Curate.model_validate({"values": {name: scorer}})
    assert Curate.model_validate({"values": {name: {"column": name, "min": 1}}}).values


def test_scorers_come_back_from_a_record_as_they_were():
    scorer = {"python": "scorers.py:score", "reads": ["caption"], "min": 1, "version": "2"}
    rule = Curate.model_validate({"values": {"mine": scorer}}).rule_of(SCORES["pairs"])
    assert rule.scorers[0].version == "2"
    assert ScorersRule.load(json.loads(json.dumps(stored_fields(rule)))) == rule


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"colum": "s", "min": 1},
            r"curate\.values\.mine\.colum` must be a known field.* `column`\? Known: aesthetic, at, .*, in, ",
        ),
        ({"column": "s", "in": 3}, r"`curate\.values\.mine\.in` must be a list; got `3`"),
        (
            {"column": "s", "min": 1, "model": "embedded2"},
            "`model` must go with a method on features; got it beside column",
        ),
        ({"soft_cap": {"of": {"s": 1}}, "min": 1, "model": "embedded2"}, "got it beside soft_cap"),
        ({"normsim_d": {"round": 3}, "min": 0}, r"normsim_d\.round` must be a known field.* `rounds`\? Known: rounds"),
    ],
)
def test_a_line_names_the_field_as_the_recipe_has_it(fields, line):
    content = {"name": "x", "seed": 1, "sources": [{"kind": "csv", "path": "p"}]}
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate(content | {"curate": {"download": {}, "values": {"mine": fields}}})
    (told,) = describe_problems(refused.value, Recipe)
    assert re.search(line, told)


def test_an_encoder_of_a_value_is_among_the_models_and_what_is_stored_is_as_before_without_one():
    values = {"near": {"negclip_loss": {}, "keep_top": 0.3}, "far": {"normsim_d": {}, "min": 0, "model": "embedded2"}}
    curate = Curate.model_validate({"values": values, "download": {}})
    assert curate.models == {"curate.values.far.model": EncoderName(model="embedded2")}
    assert curate.needing("features") == ["values.near", "values.far"]
    near, far = stored_fields(curate.rule_of(SCORE_FEATURES))["methods"]
    assert "model" not in near
    assert far["model"] == {"model": "embedded2"}


def test_what_was_stored_as_among_is_read_again():
    assert Curate.model_validate({"values": {"kind": {"column": "s", "among": ["a"]}}}).values["kind"].among == ("a",)


@pytest.mark.parametrize("name", ["Clip Score", "clip-score"])
def test_a_name_is_a_plain_word(name):
    content = {"name": "x", "seed": 1, "sources": [{"kind": "csv", "path": "p"}]}
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate(content | {"curate": {"values": {name: {"column": "s", "min": 1}}}})
    (told,) = describe_problems(refused.value, Recipe)
    assert "lower-case letters, digits and _; got" in told
