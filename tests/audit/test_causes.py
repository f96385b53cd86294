"""What differs between two runs of a step, in words: each kind, several at once, nested rules, nothing recorded."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.diff import Causes


@dataclass(frozen=True)
class Run:
    """As much of a step record as is compared."""

    name: str
    version: int = 1
    rule: dict = field(default_factory=dict)
    model: str | None = None
    seed: int | None = None
    inputs: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)


def causes(before: list[Run], after: list[Run]) -> Causes:
    return Causes(SimpleNamespace(records=before), SimpleNamespace(records=after))


@pytest.mark.parametrize(
    ("before", "after", "name", "detail"),
    [
        ({"version": 1}, {"version": 2}, "code", "step version 1 -> 2"),
        ({"rule": {"t": 3}}, {"rule": {"t": 4}}, "rule", "t 3 -> 4"),
        ({"rule": {}}, {"rule": {"t": 4}}, "rule", "t none -> 4"),
        ({"rule": {"t": None}}, {"rule": {"t": 0}}, "rule", "t none -> 0"),
        ({"model": "a" * 40}, {"model": None}, "model", f"{'a' * 16} -> none"),
        ({"seed": 7}, {"seed": 8}, "seed", "7 -> 8"),
        ({"seed": 7}, {"seed": None}, "seed", "7 -> None"),
        ({"inputs": {"file": "1"}}, {"inputs": {"file": "2"}}, "data", "other file of align"),
        ({"inputs": {}}, {"inputs": {"file": "2"}}, "data", "other file of align"),
    ],
)
def test_each_thing_that_may_differ_is_a_cause_of_its_own(before, after, name, detail):
    found = causes([Run("align", **before)], [Run("align", **after)]).of("align")
    assert (found.name, found.detail) == (name, detail)


def test_several_causes_are_joined_in_a_fixed_order():
    before = Run("align", rule={"t": 1}, seed=1, model="a", inputs={"file": "1"})
    after = Run("align", rule={"t": 2}, seed=2, model="b", inputs={"file": "2"}, version=2)
    found = causes([before], [after]).of("align")
    assert found.name == "code and rule and model and seed and data"
    assert found.detail == "step version 1 -> 2; t 1 -> 2; a -> b; 1 -> 2; other file of align"


def test_nested_rules_are_told_by_their_dotted_names_and_only_where_they_differ():
    before = {"caption_length": {"min_words": 2, "max_words": 9}, "size": {"a": {"b": 1}}, "same": [1]}
    after = {"caption_length": {"min_words": 3, "max_words": 9}, "size": {"a": {"b": 2, "c": 0}}, "same": [1]}
    detail = causes([Run("check", rule=before)], [Run("check", rule=after)]).of("check").detail
    assert detail == "caption_length.min_words 2 -> 3, size.a.b 1 -> 2, size.a.c none -> 0"


@pytest.mark.parametrize(("before", "after", "how"), [([], ["align"], "on"), (["align"], [], "off")])
def test_a_step_that_only_one_build_has_was_switched(before, after, how):
    common = [Run("collect")]
    found = causes([*common, *map(Run, before)], [*common, *map(Run, after)])
    assert (found.of("align").name, found.of("align").detail) == ("rule", f"step switched {how}")
    (_, row) = found.steps()
    assert row["differs"] == {"rule": f"step switched {how}"}


def test_what_a_step_was_given_is_upstream_and_every_step_before_that_differs_is_named():
    before = [
        Run("collect", inputs={"f": "1"}),
        Run("texts", rule={"t": 1}),
        Run("mix"),
        Run("align", inputs={"collect": "a"}),
    ]
    after = [
        Run("collect", inputs={"f": "2"}),
        Run("texts", rule={"t": 2}),
        Run("mix"),
        Run("align", inputs={"collect": "b"}),
    ]
    found = causes(before, after).of("align")
    assert found.name == "upstream"
    assert found.detail == "collect: other f of collect. texts: t 1 -> 2"


def test_a_step_of_neither_build_was_not_switched():
    found = causes([Run("texts", seed=1)], [Run("texts", seed=2)]).of("align")
    assert (found.name, found.detail) == ("upstream", "texts: 1 -> 2")


def test_a_step_after_it_is_no_cause():
    before, after = [Run("texts"), Run("align", rule={"t": 1})], [Run("texts"), Run("align", rule={"t": 2})]
    found = causes(before, after).of("texts")
    assert found.name == "upstream"
    assert found.detail == "the steps before decided otherwise, with nothing recorded that explains it"


def test_rows_kept_are_none_where_a_step_did_not_run_or_judged_nothing():
    before = [Run("collect", counts={"kept": 4, "dropped": 1}), Run("count")]
    after = [Run("collect", counts={"dropped": 5}), Run("count"), Run("align", counts={"kept": 2})]
    rows = causes(before, after).steps()
    assert [(row["step"], row["kept_before"], row["kept_after"]) for row in rows] == [
        ("collect", 4, 0),
        ("count", None, None),
        ("align", None, 2),
    ]


def test_a_pair_that_never_arrived_is_data():
    found = causes([], []).of_absence()
    assert (found.name, found.detail) == ("data", "the pair is not in the pool of that build")


RULES = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(before=st.dictionaries(st.sampled_from("abc"), RULES), after=st.dictionaries(st.sampled_from("abc"), RULES))
def test_rules_that_differ_are_said_to_and_equal_ones_are_not(before, after):
    (row,) = causes([Run("align", rule=before)], [Run("align", rule=after)]).steps()
    assert ("rule" in row["differs"]) == (before != after)
    back = causes([Run("align", rule=after)], [Run("align", rule=before)]).steps()[0]["differs"]
    assert back.keys() == row["differs"].keys()


def test_a_default_that_is_not_stored_is_named():
    before, after = Run("deduplicate_captions"), Run("deduplicate_captions", rule={"min_jaccard": 0.9})
    assert causes([before], [after]).of("deduplicate_captions").detail == "min_jaccard 0.8 -> 0.9"
