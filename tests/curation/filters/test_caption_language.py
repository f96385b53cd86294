import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters.caption_language import (
    CaptionLanguage,
    _rounded,
    judge_language,
    measure_language,
    measure_languages,
)


def judged(captions, **rule):
    rule = CaptionLanguage(**rule)
    return judge_language(measure_language(pa.table({"caption": pa.array(captions, pa.string())}), rule), rule)


ENGLISH = ["red apple", "a drawing of a red apple", "Flag: Kenya", "a photo of the black dog", "grinning face", "tiger"]
FOREIGN = ["\u8d64\u3044\u308a\u3093\u3054", "eine Zeichnung von einem Apfel", "une pomme rouge sur la table"]
FOREIGN += [
    "el perro negro en la calle",
    "\u043a\u0440\u0430\u0441\u043d\u043e\u0435 \u044f\u0431\u043b\u043e\u043a\u043e",
]


def test_english_stays_and_other_languages_go():
    assert judged(ENGLISH).reason.to_pylist() == [""] * len(ENGLISH)
    assert judged(FOREIGN).reason.to_pylist() == ["wrong_language"] * len(FOREIGN)


def test_wanted_languages_can_be_others():
    decisions = judged(["eine Zeichnung von einem Apfel", "a drawing of an apple"], languages=("de", "fr"))
    assert decisions.verdict.to_pylist() == ["kept", "dropped"]


def test_confidence_is_a_rounded_share_and_above_half_when_likeliest():
    (value,) = judged(["a drawing of a red apple"]).value.to_pylist()
    assert 0.5 < value <= 1
    assert value == round(value, 4)


def test_confidences_are_rounded_as_python_rounds():
    halves = np.arange(20_001) / 20_000  # the exact numbers lie on either side of half a digit
    shares = np.concatenate([halves, np.nextafter(halves, 0), np.nextafter(halves, 1), [1e-9, 0.123449999999, 1 / 3]])
    assert _rounded(shares).tolist() == [round(share, 4) for share in shares.tolist()]


def test_nothing_to_judge_by_stays_without_value():
    decisions = judged([None, "", "123", "!?"])
    assert decisions.value.to_pylist() == [None] * 4
    assert decisions.reason.to_pylist() == [""] * 4


def test_value_does_not_depend_on_the_other_rows():
    alone = [judged([caption]).value.to_pylist()[0] for caption in ENGLISH]
    assert judged(ENGLISH + FOREIGN + ENGLISH).value.to_pylist()[: len(ENGLISH)] == alone


def detected(captions, **rule):
    return measure_languages(pa.table({"caption": pa.array(captions, pa.string())}), CaptionLanguage(**rule))


def test_a_kept_caption_is_taken_to_be_in_the_likeliest_wanted_language():
    chinese = "\u9ed1\u8272\u7684\u72d7\u5728\u8349\u5730\u4e0a"
    captions = ["a drawing of an apple", chinese, "eine Zeichnung von einem Apfel", "123", None, chinese]
    found = detected(captions, languages=("en", "zh"))
    assert found["detected_language"].to_pylist() == ["en", "zh", "de", None, None, "zh"]
    unsure = "tiger"
    value = detected([unsure]).to_pylist()[0]["value"]
    assert detected([unsure], min_confidence=value)["detected_language"].to_pylist() == ["en"]
    assert detected([unsure], min_confidence=min(1, value + 0.01))["detected_language"].to_pylist() != ["en"]


def test_a_language_comes_beside_the_same_value():
    batch = pa.table({"caption": pa.array([*ENGLISH, *FOREIGN, None], pa.string())})
    assert measure_languages(batch, CaptionLanguage())["value"].combine_chunks() == measure_language(
        batch, CaptionLanguage()
    )


def test_threshold_moves_without_measuring_again():
    values = pa.array([0.2, 0.6, None])
    assert judge_language(values, CaptionLanguage(min_confidence=0.5)).reason.to_pylist() == ["wrong_language", "", ""]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"languages": ("xx",)}, "some of ar"),
        ({"languages": ()}, "some of"),
        ({"languages": ("en",), "among": ("en",)}, "another language"),
        ({"min_confidence": 2}, "got 2"),
    ],
)
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        CaptionLanguage(**rule)


def test_language_that_langid_does_not_know_is_refused():
    with pytest.raises(RuleError, match=r"langid knows; got \['qq'\]"):
        judged(["a"], among=("en", "qq"))
