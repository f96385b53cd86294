import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.demo.captions import (
    boilerplate_caption,
    caption_phrase,
    foreign_caption,
    good_caption,
    misspelt,
    web_caption,
)
from evenly.demo.names import name_picture
from evenly.demo.pictures.openmoji import list_codes

codes = st.sampled_from(list_codes()).filter(lambda code: name_picture(code).text != "")


@given(codes, st.integers(0, 9))
def test_good_captions_have_three_words_and_the_whole_name(code, seed):
    name = name_picture(code)
    caption = good_caption(name, seed, code)
    assert len(caption.split()) >= 3
    assert name.text in caption


@given(codes, st.integers(0, 9))
def test_a_second_caption_differs_from_the_first(code, seed):
    name = name_picture(code)
    first = web_caption(name, seed, code)
    assert web_caption(name, seed, code, avoid=first) != first


@given(codes)
def test_no_caption_has_a_hash_tag(code):
    assert not re.search(r"#\w", web_caption(name_picture(code), 1, code))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("banana", "a banana"),
        ("ox", "an ox"),
        ("grapes", "grapes"),
        ("women wrestling", "women wrestling"),
        ("flag of Peru", "the flag of Peru"),
        ("one o'clock", "one o'clock"),
        ("Santa Claus", "Santa Claus"),
        ("wine glass", "a wine glass"),
    ],
)
def test_article(phrase, expected):
    assert caption_phrase(phrase) == expected


@given(st.text("abcdefgh ,'", max_size=40).filter(lambda text: re.search("[a-z]", text)), st.integers())
def test_a_misspelling_keeps_all_letters(text, seed):
    assert sorted(misspelt(text, seed)) == sorted(text)


def test_other_languages_are_not_english():
    captions = {foreign_caption(name_picture("1F34C"), seed, "1F34C") for seed in range(40)}
    assert len(captions) > 7
    assert not any(" drawing " in caption for caption in captions)


def test_boilerplate_fills_its_numbers_in():
    captions = {boilerplate_caption(seed, "E000") for seed in range(100)}
    assert not any("{" in caption for caption in captions)
