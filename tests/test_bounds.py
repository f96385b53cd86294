"""Bounds of rules are written once: a rule and a recipe refuse the same values."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_type_hints

import pytest
from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ValidationError

from evenly.bounds import FINITE, Bits, LocalPath, Share, Wording, check_bounds


@dataclass(frozen=True, kw_only=True)
class Rule:
    share: Share = 0.5
    bits: Bits | None = 4
    retries: Annotated[int, Ge(0), Le(10)] = 2
    least: Annotated[float, Ge(1), Wording(remedy="Write 3.")] = 1.0
    seconds: Annotated[float, Gt(0)] = 1.0
    score: Annotated[float, FINITE] = 0.0
    law: Literal["v1", "v2"] = "v1"
    scope: Annotated[Literal["image", "pool"], Wording(demand="be image or pool")] = "image"
    names: Annotated[tuple[str, ...], MinLen(1)] = ("a",)

    def __post_init__(self) -> None:
        check_bounds(self, LookupError, remedy="Correct it.")


class Recipe(BaseModel):
    rule: Rule


REFUSED = [
    ({"share": 0}, "`share` must be above 0 and at most 1; got 0. Correct it."),
    ({"share": float("nan")}, "`share` must be above 0 and at most 1; got nan. Correct it."),
    ({"share": 1.5}, "`share` must be above 0 and at most 1; got 1.5. Correct it."),
    ({"bits": 65}, "`bits` must be 0 to 64 bits; got 65. Correct it."),
    ({"retries": 11}, "`retries` must be 0 to 10; got 11. Correct it."),
    ({"least": 0.5}, "`least` must be at least 1; got 0.5. Write 3."),
    ({"seconds": -1}, "`seconds` must be above 0; got -1. Correct it."),
    ({"score": float("inf")}, "`score` must be finite; got inf. Correct it."),
    ({"law": "v3"}, "`law` must be one of v1, v2; got 'v3'. Correct it."),
    ({"scope": "web"}, "`scope` must be image or pool; got 'web'. Correct it."),
]


@pytest.mark.parametrize(("values", "text"), REFUSED, ids=str)
def test_a_rule_and_a_recipe_refuse_the_same_values(values, text):
    with pytest.raises(LookupError) as error:
        Rule(**values)
    assert str(error.value) == text
    with pytest.raises(ValidationError) as refused:
        Recipe(rule=values)
    assert [problem["loc"] for problem in refused.value.errors()] == [("rule", *values)]


@pytest.mark.parametrize("values", [{}, {"bits": None}, {"share": 1}, {"least": 1}, {"retries": 10}, {"bits": 0}])
def test_values_at_the_bounds_are_within(values):
    assert Recipe(rule=values).rule == Rule(**values)


def test_a_rule_without_a_name_is_refused():
    with pytest.raises(LookupError, match=r"`names` must hold at least 1; got \(\)"):
        Rule(names=())


def test_paths_of_a_recipe_are_of_this_machine():
    @dataclass(frozen=True)
    class Place:
        path: LocalPath

    class Holder(BaseModel):
        place: Place

    assert Holder(place={"path": "/data"}).place.path == "/data"
    with pytest.raises(ValidationError, match="must be a path of this machine; got `s3://a`"):
        Holder(place={"path": "s3://a"})


def test_every_bound_of_the_fixture_is_tried():
    tried = {name for values, _ in REFUSED for name in values}
    assert tried == {field.name for field in fields(Rule)} & get_type_hints(Rule).keys() - {"names"}
