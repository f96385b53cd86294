"""What differs between two runs of a step, in words: each kind, several at once, nested rules, nothing recorded."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.moves.differences import StepDifferences


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


def differences(before: list[Run], after: list[Run]) -> StepDifferences:
    return StepDifferences(SimpleNamespace(records=before), SimpleNamespace(records=after))


@pytest.mark.parametrize(
    ("before", "after", "name", "detail"),
    [
        ({"version": 1}, {"version": 2}, "code", "step version 1 -> 2"),
        ({"rule": {"t": 3}}, {"rule": {"t": 4}}, "rule", "t 3 -> 4"),
        ({"rule": {}}, {"rule": {"t": 4}}, "rule", "t none -> 4"),
        ({"rule": {"t": None}}, {"rule": {"t": 0}}, "rule", "t none -> 0"),
        ({"model": "a" * 40}, {"model": None}, "model", f"{'a' * 16} -> none"),
        ({"rule": {"prompt": "Name it."}}, {"rule": {"prompt": "Say it."}}, "model", "prompt Name it. -> Say it."),
        ({"seed": 7}, {"seed": 8}, "seed", "7 -> 8"),
        ({"seed": 7}, {"seed": None}, "seed", "7 -> None"),
        ({"inputs": {"file": "1"}}, {"inputs": {"file": "2"}}, "data", "other file of align"),
        ({"inputs": {}}, {"inputs": {"file": "2"}}, "data", "other file of align"),
    ],
)
def test_each_thing_that_may_differ_has_a_name_of_its_own(before, after, name, detail):
    assert differences([Run("align", **before)], [Run("align", **after)]).by_cause("align") == {name: detail}


def test_files_that_collect_reads_are_the_pool():
    before, after = Run("collect", inputs={"source 0": "1"}), Run("collect", inputs={"source 0": "2"})
    assert differences([before], [after]).by_cause("collect") == {"pool": "other source 0 of collect"}


def test_several_are_named_in_a_fixed_order():
    before = Run("align", rule={"t": 1}, seed=1, model="a", inputs={"file": "1"})
    after = Run("align", rule={"t": 2}, seed=2, model="b", inputs={"file": "2"}, version=2)
    found = differences([before], [after]).by_cause("align")
    assert list(found) == ["code", "rule", "model", "seed", "data"]
    assert list(found.values()) == ["step version 1 -> 2", "t 1 -> 2", "a -> b", "1 -> 2", "other file of align"]


def test_nested_rules_are_told_by_their_dotted_names_and_only_where_they_differ():
    before = {"caption_length": {"min_words": 2, "max_words": 9}, "size": {"a": {"b": 1}}, "same": [1]}
    after = {"caption_length": {"min_words": 3, "max_words": 9}, "size": {"a": {"b": 2, "c": 0}}, "same": [1]}
    detail = differences([Run("check", rule=before)], [Run("check", rule=after)]).by_cause("check")["rule"]
    assert detail == "caption_length.min_words 2 -> 3, size.a.b 1 -> 2, size.a.c none -> 0"


def test_the_prompt_of_one_of_several_captioners_is_a_prompt():
    before, after = ({"captioners": [{"kind": "seen", "prompt": words, "samples": 1}]} for words in ("a", "b"))
    found = differences([Run("recaption", rule=before)], [Run("recaption", rule=after)]).by_cause("recaption")
    assert found == {"model": "captioners.0.prompt a -> b"}


@pytest.mark.parametrize(("before", "after", "how"), [([], ["align"], "on"), (["align"], [], "off")])
def test_a_step_that_only_one_build_has_was_switched(before, after, how):
    common = [Run("collect")]
    found = differences([*common, *map(Run, before)], [*common, *map(Run, after)])
    assert found.by_cause("align") == {"rule": f"step switched {how}"}
    (_, row) = found.rows()
    assert row["differs"] == {"rule": f"step switched {how}"}


def test_what_the_steps_before_gave_is_no_difference_of_a_step():
    before, after = [Run("mix"), Run("align", inputs={"mix": "a"})], [Run("mix"), Run("align", inputs={"mix": "b"})]
    assert differences(before, after).by_cause("align") == {}
    assert differences(before, after).by_cause("texts") == {}


def test_rows_kept_are_none_where_a_step_did_not_run_or_judged_nothing():
    before = [Run("collect", counts={"kept": 4, "dropped": 1}), Run("count")]
    after = [Run("collect", counts={"dropped": 5}), Run("count"), Run("align", counts={"kept": 2})]
    rows = differences(before, after).rows()
    assert [(row["step"], row["kept_before"], row["kept_after"]) for row in rows] == [
        ("collect", 4, 0),
        ("count", None, None),
        ("align", None, 2),
    ]


RULES = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(before=st.dictionaries(st.sampled_from("abc"), RULES), after=st.dictionaries(st.sampled_from("abc"), RULES))
def test_rules_that_differ_are_said_to_and_equal_ones_are_not(before, after):
    (row,) = differences([Run("align", rule=before)], [Run("align", rule=after)]).rows()
    assert ("rule" in row["differs"]) == (before != after)
    back = differences([Run("align", rule=after)], [Run("align", rule=before)]).rows()[0]["differs"]
    assert back.keys() == row["differs"].keys()


def test_a_default_that_is_not_stored_is_named():
    before, after = Run("deduplicate_captions"), Run("deduplicate_captions", rule={"min_jaccard": 0.9})
    assert differences([before], [after]).by_cause("deduplicate_captions") == {"rule": "min_jaccard 0.8 -> 0.9"}
