"""The rule of a value says what it lacks, and comes back from a recipe and a record as it was."""

import json

import pytest

from evenly.curation.errors import RuleError
from evenly.curation.steps import STEPS
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.rule import PLACES, NamedBounds, ScorersRule, Value, ValuesRule
from evenly.curation.values.scoring import SCORES
from evenly.flows.recipe.curation import Curate
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


def test_a_name_is_a_plain_word():
    with pytest.raises(ValueError, match="Clip Score"):
        Curate.model_validate({"values": {"Clip Score": {"column": "s", "min": 1}}})
