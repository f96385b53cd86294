import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters.caption_characters import CaptionCharacters, judge_characters, measure_characters


def judged(captions, **rule):
    rule = CaptionCharacters(**rule)
    return judge_characters(measure_characters(pa.table({"caption": pa.array(captions, pa.string())}), rule), rule)


@pytest.mark.parametrize(
    ("caption", "characters", "reason"),
    [
        (None, 0, "too_few_characters"),
        ("a cat", 5, "too_few_characters"),
        ("a cat ", 6, ""),
        ("\U0001f408 cats", 6, ""),
        ("a" * 9, 9, "too_many_characters"),
    ],
)
def test_code_points_are_counted_and_judged(caption, characters, reason):
    decisions = judged([caption], max_characters=8)
    assert decisions.value.to_pylist() == [characters]
    assert decisions.reason.to_pylist() == [reason]


def test_there_is_no_upper_bound_unless_it_is_given():
    assert judged(["a" * 100_000]).reason.to_pylist() == [""]


@pytest.mark.parametrize(("low", "high"), [(0, 3), (4, 3), (4, 0)])
def test_impossible_rule_is_refused(low, high):
    with pytest.raises(RuleError, match=f"got {low} to {high}"):
        CaptionCharacters(min_characters=low, max_characters=high)
