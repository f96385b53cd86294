"""Pairs stay by values of the pool: within bounds, among the best share, or among those that are listed."""

import math
from datetime import date
from decimal import Decimal
from typing import ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.align import Align, resolve_threshold
from evenly.curation.errors import RuleError
from evenly.curation.values.judgement import (
    CHECK_IMAGE_VALUES,
    CHECK_POOL_VALUES,
    CHECK_TEXT_VALUES,
    CHECK_VALUES,
    judge_value,
)
from evenly.curation.values.rule import NamedBounds, ValuesRule
from tests.tasks.step_contract import StepContract


def named(name="score", **fields):
    return NamedBounds(name=name, column="column", **fields)


def reasons(values, **rule):
    return judge_value(pa.array(values), named(**rule)).reason.to_pylist()


def test_a_number_stays_within_its_bounds_which_belong_to_them():
    assert reasons([0.1, 0.28, 0.5, 0.9, 0.91], min=0.28, max=0.9) == ["low_score", "", "", "", "high_score"]


def test_a_null_and_a_nan_fail_each_for_its_own_reason():
    decisions = judge_value(pa.array([None, math.nan, 1.0]), named(min=0.0))
    assert decisions.reason.to_pylist() == ["null_score", "nan_score", ""]
    assert decisions.failed.to_pylist() == [True, True, False]


@pytest.mark.parametrize(
    ("values", "bounds"), [([None, 0.0, 1.0, math.nan], {"min": 0.5}), (["", "0", "1", "n/a"], {"min": 0.5})]
)
def test_a_pair_without_a_value_is_kept_where_that_is_said(values, bounds):
    decisions = judge_value(pa.array(values), named(**bounds, missing="keep"))
    assert decisions.reason.to_pylist()[:3] == ["", "low_score", ""]
    assert decisions.failed.to_pylist() == [False, False, False, True]
    assert reasons([None, "en", "de"], among=("en",), missing="keep") == ["", "", "other_score"]


def test_a_list_stays_by_any_value_that_it_holds():
    lists = [["red cup", "wet fox"], ["blue cup"], [], None, ["wet fox"]]
    chosen = [reasons(values, among=("red cup", "wet fox")) for values in (lists, pa.array([[], *lists]).slice(1))]
    assert chosen == [["", "other_score", "other_score", "null_score", ""]] * 2


def test_numbers_of_tables_of_text_are_read_empty_cells_are_nulls_and_other_texts_fail():
    values = ["0.5", " 1e-3", "", "n/a", "NaN", None, "-inf", "0x10", "1_000"]
    wanted = ["", "low_score", "null_score", "text_score", "nan_score", "null_score", "low_score"]
    assert reasons(values, min=0.1) == [*wanted, "text_score", "text_score"]


@pytest.mark.parametrize(
    ("values", "listed", "kept"),
    [
        (["en", "de", None], ("en",), ["en"]),
        ([1, 2, 3], (1, 3), [1, 3]),
        ([True, False], (True,), [True]),
        ([0.5, 0.25], (0.25,), [0.25]),
    ],
)
def test_a_value_of_any_type_may_be_listed(values, listed, kept):
    assert [value for value, reason in zip(values, reasons(values, among=listed), strict=True) if not reason] == kept


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float16(), pa.float32(), pa.bool_(), pa.decimal128(5, 2)])
def test_every_type_of_number_has_bounds(kind):
    values = [bool(n) if pa.types.is_boolean(kind) else Decimal(n) if pa.types.is_decimal(kind) else n for n in (0, 1)]
    assert judge_value(pa.array(values, kind), named(min=1.0)).reason.to_pylist() == ["low_score", ""]


def test_dictionaries_are_read_as_what_they_stand_for():
    assert reasons(pa.array(["a", "b"]).dictionary_encode(), among=("b",)) == ["other_score", ""]


@pytest.mark.parametrize(
    ("values", "rule", "message"),
    [
        ([date(2026, 1, 1)], {"min": 0.5}, "must hold numbers for min; got date32[day]"),
        ([1, 2], {"among": ("one",)}, "must list values as 'column' holds them, int64; got ['one']"),
    ],
)
def test_another_type_is_refused_in_words(values, rule, message):
    with pytest.raises(RuleError, match=r"values\.score") as refused:
        reasons(values, **rule)
    assert message in str(refused.value)


@given(
    scores=st.lists(st.one_of(st.none(), st.just(math.nan), st.integers(0, 9).map(float)), max_size=60),
    share=st.floats(0.01, 1.0),
)
def test_the_best_share_is_that_of_align(scores, share):
    finite = pa.array([score for score in scores if score is not None and not math.isnan(score)], pa.float64())
    threshold = resolve_threshold(finite, Align(keep_top=share))
    decisions = judge_value(pa.array(scores, pa.float64()), named(keep_top=share), threshold)
    for score, reason in zip(scores, decisions.reason.to_pylist(), strict=True):
        if score is not None and not math.isnan(score):
            assert reason == ("" if score >= threshold else "below_top_score")


class TestBounds(StepContract):
    judgement = CHECK_POOL_VALUES
    rule = ValuesRule(values=(NamedBounds(name="worth", column="clip", min=0.3, at="pool"),))
    others: ClassVar = [ValuesRule(values=(NamedBounds(name="worth", column="clip", max=0.5, at="pool"),))]
    columns: ClassVar = {"clip": [0.1, 0.3, None, 0.9, 0.31]}


class TestTexts(StepContract):
    judgement = CHECK_TEXT_VALUES
    rule = ValuesRule(values=(NamedBounds(name="language", column="tongue", among=("en", "de"), at="texts"),))
    others: ClassVar = [ValuesRule(values=(NamedBounds(name="language", column="tongue", among=("fr",), at="texts"),))]
    columns: ClassVar = {"tongue": ["en", "fr", None]}


class TestTables(StepContract):
    judgement = CHECK_IMAGE_VALUES
    rule = ValuesRule(values=(NamedBounds(name="worth", column="clip", max=0.5, at="images"),))
    others: ClassVar = [ValuesRule(values=(NamedBounds(name="worth", column="clip", keep_top=0.5, at="images"),))]
    columns: ClassVar = {"clip": ["0.1", "n/a", "0.9"]}


class TestShares(StepContract):
    judgement = CHECK_VALUES
    rule = ValuesRule(
        values=(
            NamedBounds(name="worth", column="clip", keep_top=0.4),
            NamedBounds(name="language", column="tongue", among=("en", "de")),
        )
    )
    others: ClassVar = [ValuesRule(values=(NamedBounds(name="worth", column="clip", keep_top=0.7),))]
    columns: ClassVar = {"clip": [0.1, 0.3, None, 0.9, 0.31, 0.5, 0.77], "tongue": ["en", "de", "fr", "en"]}

    def test_what_a_share_keeps_does_not_depend_on_the_other_values(self, tmp_path):
        kept = {}
        for number, values in enumerate(([0], [1], [0, 1])):
            self.rule = ValuesRule(values=[type(self).rule.values[place] for place in values])
            decisions = self.decisions(tmp_path / str(number))
            kept[number] = {row["uid"] for row in decisions.to_pylist() if row["verdict"] == "kept"}
        assert kept[2] == kept[0] & kept[1]

    def test_a_column_that_is_not_there_is_refused_with_those_that_are(self, tmp_path):
        self.rule = ValuesRule(values=(NamedBounds(name="worth", column="clap", min=0.1),))
        with pytest.raises(RuleError, match=r"`values.worth.column` must be .*got 'clap'. There are caption, clip, "):
            self.judged(tmp_path / "w")
