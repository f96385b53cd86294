import unicodedata

import pytest

from evenly.demo.names import name_picture, same_subject, toneless
from evenly.demo.pictures.openmoji import list_codes


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1F34C", "banana"),
        ("1F1F5-1F1EA", "flag of Peru"),
        ("1F3F4-E0075-E0073-E0074-E0078-E007F", "flag of Texas"),
        ("1F3F4-E0067-E0062-E0065-E006E-E0067-E007F", "flag of England"),
        ("0023-FE0F-20E3", "keycap hash"),
        ("1F468-200D-1F468-200D-1F466", "family of man, man and boy"),
        ("1F468-1F3FB-200D-1F9B2", "bald man, light skin tone"),
        ("1F469-1F3FB-200D-1F91D-200D-1F468-1F3FD", "woman and man holding hands, light and medium skin tones"),
        ("1F3FB", "light skin tone"),
        ("1FAD9-200D-1F7E5", "red jar"),
        ("2B21-FE0F-200D-1F7E6", "blue hexagon"),
        ("2605", "black star"),
        ("1F468-200D-1FAA9", "man with mirror ball"),
        ("E000", ""),
    ],
)
def test_name(code, text):
    assert name_picture(code).text == text


def test_every_picture_outside_private_use_has_a_printable_name():
    for code in list_codes():
        is_private = unicodedata.category(chr(int(code.split("-")[0], 16))) == "Co"
        name = name_picture(code)
        assert bool(name.text) != is_private
        assert name.text.isprintable()
        assert "symbol 1" not in name.text


def test_synonyms_and_other_languages_come_along():
    name = name_picture("1F32D")
    assert name.synonyms == ("hotdog",)
    assert name_picture("1F34C").foreign["es"] == "plátano"


@pytest.mark.parametrize(
    ("code", "base"), [("1F44D-1F3FB", "1F44D"), ("1F44D", "1F44D"), ("1F468-1F3FC-200D-1F33E", "1F468-200D-1F33E")]
)
def test_toneless(code, base):
    assert toneless(code) == base


@pytest.mark.parametrize(
    "variant", ["1F3C3", "1F3C3-1F3FF", "1F3C3-200D-2640-FE0F", "1F3C3-1F3FB-200D-2642-FE0F-200D-27A1-FE0F"]
)
def test_all_runners_are_one_subject(variant):
    assert same_subject(variant) == "1F3C3"


def test_farmers_of_any_gender_are_one_subject():
    assert {same_subject(code) for code in ("1F468-200D-1F33E", "1F469-1F3FF-200D-1F33E")} == {"1F9D1-200D-1F33E"}
