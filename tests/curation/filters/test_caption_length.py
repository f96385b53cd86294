import pyarrow as pa
import pytest

from evenly.curation.errors import ColumnsError, RuleError
from evenly.curation.filters.caption_length import CaptionLength, judge_caption_length, measure_caption_length


def reasons(captions, **rule):
    rule = CaptionLength(**rule)
    values = measure_caption_length(pa.table({"caption": pa.array(captions, pa.string())}), rule)
    return judge_caption_length(values, rule)


@pytest.mark.parametrize(
    ("caption", "words", "reason"),
    [
        (None, 0, "empty_caption"),
        ("", 0, "empty_caption"),
        (" \t\n\u3000", 0, "empty_caption"),
        ("dog", 1, "too_few_words"),
        ("  red   apple ", 2, ""),
        ("red\u00a0apple", 2, ""),
        ("a b c", 3, ""),
        ("a b c d", 4, "too_many_words"),
    ],
)
def test_words_are_counted_and_judged(caption, words, reason):
    decisions = reasons([caption], min_words=2, max_words=3)
    assert decisions.value.to_pylist() == [words]
    assert decisions.reason.to_pylist() == [reason]
    assert decisions.failed.to_pylist() == [False]


def test_there_may_be_no_upper_bound():
    assert reasons(["word " * 1000], max_words=None).reason.to_pylist() == [""]


def test_no_rows_give_no_decisions():
    assert len(reasons([])) == 0


@pytest.mark.parametrize(("low", "high"), [(0, 3), (4, 3)])
def test_impossible_rule_is_refused(low, high):
    with pytest.raises(RuleError, match=f"got {low} to {high}"):
        CaptionLength(min_words=low, max_words=high)


def test_batch_without_captions_is_refused():
    with pytest.raises(ColumnsError, match="column 'caption'"):
        measure_caption_length(pa.table({"text": ["a"]}), CaptionLength())
