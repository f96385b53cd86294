import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.filters.caption_boilerplate import (
    BOILERPLATE,
    CaptionBoilerplate,
    judge_boilerplate,
    measure_boilerplate,
    plain_captions,
)

BOILER = [
    *("IMG_1234.jpg", "DSC00012", "Screenshot 2020-01-01 at 10.00", "red_apple.png", "photo 3"),
    *("https://pictures.test/a.png", "www.pictures.test/a", "pictures.test", "123456", "640 x 480"),
    *("0123456789abcdef0123", "Click to enlarge", "click here to view the larger image", "Zoom in", "View full size"),
    *(
        "Stock Photo",
        "royalty-free stock images",
        "Image not found",
        "photo unavailable",
        "The image is no longer available",
        "404",
    ),
    *(
        "no image available",
        '"Untitled".',
        "untitled-3",
        "Alt text",
        "image",
        "thumbnail 2 of 10",
        "N/A",
        "logo",
        "hero image",
    ),
    *("read more", "Share on Facebook", "Advertisement", "\u00a9 2020 A. Nother", "  CLICK\u00a0here "),
]
SAYS_SOMETHING = [
    *("red apple", "Flag: Kenya", "a drawing of a red apple", "IMG_1234.jpg of a dog", "stock photo of a red apple"),
    *("untitled painting of a cat", "photo of 3 dogs", "keycap: 10", "magnifying glass tilted left", "OK", "home"),
    *("picture of a cat", "loading dock", "image of the moon", "copyright", "next to a tree", "default dog", "U.S.A."),
    *("clicking a mouse", "a cat at https://pictures.test", None, ""),
]


def judged(captions, **rule):
    rule = CaptionBoilerplate(**rule)
    return judge_boilerplate(measure_boilerplate(pa.table({"caption": pa.array(captions, pa.string())}), rule), rule)


@pytest.mark.parametrize("caption", BOILER)
def test_boilerplate_goes(caption):
    assert judged([caption]).reason.to_pylist() == ["boilerplate"]


@pytest.mark.parametrize("caption", SAYS_SOMETHING)
def test_what_says_something_stays(caption):
    decisions = judged([caption])
    assert decisions.reason.to_pylist() == [""]
    assert decisions.value.to_pylist() == [0]


def test_a_value_is_the_first_of_the_patterns_that_match():
    captions = ["photo 3", "a dog", "404", None, "logo", "x"]
    alone = [
        next(
            (
                number
                for number, pattern in enumerate(BOILERPLATE, 1)
                if judged([text], patterns=(pattern,)).value[0].as_py()
            ),
            0,
        )
        for text in captions
    ]
    assert judged(captions).value.to_pylist() == alone
    assert max(alone) > 1


def test_patterns_that_cannot_be_joined_are_matched_one_by_one():
    patterns = tuple(rf"{number}\pL{{200}}" for number in range(8))
    with pytest.raises(pa.ArrowInvalid, match="too large"):
        pc.match_substring_regex(pa.array([""]), "|".join(patterns))
    captions = ["1" + "x" * 200, "a dog", "0" + "x" * 200]
    assert judged(captions, patterns=patterns).value.to_pylist() == [2, 0, 1]


def test_white_space_of_any_kind_and_length_is_one_space():
    spaced = [
        "click\there",
        "click \u00a0 here",
        "click\n\nhere",
        "\ufeffclick\u200bhere ",
        "click  here",
        "click here",
    ]
    assert plain_captions(pa.array([*spaced, None, "a dog"])).to_pylist() == ["click here"] * 6 + ["", "a dog"]


def test_value_is_the_number_of_the_first_pattern_that_matches():
    assert judged(["IMG_1234.jpg", "red_apple.png"]).value.to_pylist() == [1, 2]


def test_every_pattern_is_used_by_some_example():
    assert set(judged(BOILER).value.to_pylist()) >= {float(number) for number in range(1, len(BOILERPLATE) + 1)}


def test_own_patterns_replace_the_list():
    decisions = judged(["emoji art", "IMG_1234.jpg"], patterns=(r"emoji.*",))
    assert decisions.reason.to_pylist() == ["boilerplate", ""]


def test_pattern_that_is_none_is_refused():
    with pytest.raises(RuleError, match="RE2 patterns"):
        CaptionBoilerplate(patterns=("(",))
