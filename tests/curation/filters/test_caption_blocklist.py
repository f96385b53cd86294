import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters.caption_blocklist import BlockedWords, CaptionBlocklist, judge_blocklist, measure_blocklist

LIST = BlockedWords.of(["Foul", "bad  word", "bad apple pie", "stra\u00dfe"])
RULE = CaptionBlocklist(file="words.txt", sha256="0123456789abcdef")


def judged(captions):
    batch = pa.table({"caption": pa.array(captions, pa.string())})
    return judge_blocklist(measure_blocklist(batch, RULE, LIST), RULE)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        (None, 0),
        ("a fouled up dog", 0),
        ("a FOUL dog", 1),
        ("\uff46\uff4f\uff55\uff4c play, foul!", 2),
        ("BAD, word.", 1),
        ("a bad red word", 0),
        ("bad apple", 0),
        ("a bad apple-pie", 1),
        ("hauptSTRASSE strasse", 1),
    ],
)
def test_whole_words_and_phrases_are_found(caption, found):
    decisions = judged([caption])
    assert decisions.value.to_pylist() == [found]
    assert decisions.reason.to_pylist() == ["blocked_words:0123456789ab" if found else ""]


def test_no_phrase_goes_from_one_caption_to_the_next():
    captions = [*["a dog"] * 40, "so bad", "word", "a foul\u0301 dog", "\u0301 foul", None]
    assert judged(captions).value.to_pylist() == [*[0.0] * 43, 1.0, 0.0]


@pytest.mark.parametrize(("entries", "text"), [([], "it has none"), (["fine", "!?"], "number 2")])
def test_a_list_without_words_is_refused(entries, text):
    with pytest.raises(RuleError, match=text):
        BlockedWords.of(entries)


def test_what_is_in_a_list_shows_up_in_no_text_about_it():
    assert "foul" not in repr(LIST).lower()


def test_a_list_must_be_named():
    with pytest.raises(RuleError, match="`file`"):
        CaptionBlocklist(file="")
