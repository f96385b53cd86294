import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters.caption_repeats import CaptionRepeats, judge_repeats, measure_repeats


def judged(captions, **rule):
    rule = CaptionRepeats(**rule)
    return judge_repeats(measure_repeats(pa.table({"caption": pa.array(captions, pa.string())}), rule), rule)


@pytest.mark.parametrize(
    ("caption", "n", "share"),
    [
        (None, 2, 0),
        ("dog", 2, 0),
        ("a dog and a cat", 2, 0),
        ("a dog a dog", 2, 0.3333),
        ("Dog dog  DOG dog", 2, 0.6667),
        ("a dog and a cat and a bird", 2, 0.1429),
        ("red red red red", 1, 0.75),
        ("a b c a b c", 3, 0.25),
    ],
)
def test_value_is_the_share_of_runs_that_came_before(caption, n, share):
    assert judged([caption], n=n).value.to_pylist() == [share]


def test_what_repeats_itself_goes_and_plain_sentences_stay():
    rewarded = "a dog in the grass in the grass in the grass with the background of the grass in the background"
    plain = "a brown dog lies in the grass in front of a house in the evening"
    assert judged([rewarded, plain]).reason.to_pylist() == ["repeated_words", ""]


def test_threshold_itself_stays():
    assert judged(["a b c a b c"], n=3, max_share=0.25).reason.to_pylist() == [""]


@pytest.mark.parametrize(("rule", "text"), [({"n": 0}, "got 0"), ({"max_share": 30}, "got 30")])
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        CaptionRepeats(**rule)
