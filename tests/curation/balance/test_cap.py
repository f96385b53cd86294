"""At most so many pairs of a value are kept, by draws that a larger cap shares."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.balance import cap
from evenly.curation.balance.cap import CAP, CapRule, cap_by, count_values, cut_values, first_drawn, values_over
from evenly.curation.errors import RuleError
from tests.tasks.step_contract import StepContract

VALUES = ["ann"] * 30 + ["bob"] * 7 + [None] * 5 + [""] * 4


def capped(values, most, *, seed=3, parts=1):
    uids = pa.array([f"{number * 7919 % 10_007:032x}" for number in range(len(values))], pa.string())
    values = pa.array(values, pa.string())
    rows = [pa.array(range(part, len(uids), parts), pa.int64()) for part in range(parts)]
    pieces = [(uids.take(places), values.take(places)) for places in rows]
    over = values_over([count_values(piece) for _, piece in pieces], most)
    caps = cut_values(over, [first_drawn(*piece, over, most, seed=seed) for piece in pieces], most)
    return (*cap_by(uids, values, caps, seed=seed), caps)


def kept(values, most, **options):
    return [row for row, stays in enumerate(capped(values, most, **options)[0].kept.to_pylist()) if stays]


def test_a_value_keeps_as_many_as_the_cap_and_no_value_is_kept_whole():
    decisions, threshold, caps = capped(VALUES, 7)
    assert Counter(VALUES[row] for row in kept(VALUES, 7)) == {"ann": 7, "bob": 7, None: 5, "": 4}
    assert Counter(decisions.reason.to_pylist()) == {"": 23, "over_cap": 23}
    assert [(row["value"], row["pairs"], row["kept"]) for row in caps.to_pylist()] == [("ann", 30, 7)]
    for value, reason, drawn, end in zip(VALUES, decisions.reason, decisions.value, threshold, strict=True):
        assert drawn.is_valid == (value is not None)
        assert end.is_valid == (value == "ann")
        if end.is_valid:
            assert (drawn.as_py() < end.as_py()) == (reason.as_py() == "")


def test_of_equal_draws_the_smaller_uids_stay(monkeypatch):
    monkeypatch.setattr(cap, "draws", lambda *, uids, **_: np.full(len(uids), 0.5))
    uids = [number * 7919 % 10_007 for number in range(30)]
    assert [uids[row] for row in kept(["ann"] * 30, 4)] == [uid for uid in uids if uid in sorted(uids)[:4]]


@given(
    values=st.lists(st.sampled_from(["a", "b", "", None]), max_size=40),
    most=st.integers(1, 12),
    parts=st.integers(1, 5),
)
def test_a_larger_cap_holds_every_smaller_one_and_parts_change_nothing(values, most, parts):
    small, large = kept(values, most), kept(values, most + 1)
    assert set(small) <= set(large)
    assert small == kept(values, most, parts=parts)
    counts = Counter(values)
    assert Counter(values[row] for row in small) == {v: n if v is None else min(n, most) for v, n in counts.items()}


def test_the_seed_draws():
    assert kept(VALUES, 7) != kept(VALUES, 7, seed=4)


class TestCap(StepContract):
    judgement = CAP
    rule = CapRule(column="author", most=4)
    others: ClassVar = [CapRule(column="author", most=7), CapRule(column="year", most=4)]
    columns: ClassVar = {"author": ["ann", "bob", None, "ann", "ann"], "year": [2001, 2002, None]}

    def test_a_column_of_numbers_is_capped_too(self, tmp_path):
        self.rule = CapRule(column="year", most=4)
        assert self.decisions(tmp_path / "w")["reason"].to_pylist().count("over_cap") == 32

    def test_a_column_that_is_not_there_is_refused_with_those_that_are(self, tmp_path):
        self.rule = CapRule(column="writer", most=4)
        with pytest.raises(RuleError, match=r"`cap.column` must be .*got 'writer'. There are author, caption, "):
            self.judged(tmp_path / "w")
